#include "proxy/identity/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

static const struct image_host host = {.node_name = "n1", .wall_ns = 1000000};

/* A record as the kernel would make it. */
static struct abi_process record;

static void fill(const char *path, const char *cwd, const char *file, const char *args,
                 size_t args_len)
{
    __u8 *at = record.text;

    memset(&record, 0, sizeof(record));
    record.kind = ABI_PROCESS_EXEC;
    record.pid = 77;
    record.start_ns = 12345;
    record.ppid = 1;
    record.parent_start_ns = 1;
    at = mempcpy(at, path, record.path_len = (__u16)strlen(path));
    at = mempcpy(at, cwd, record.cwd_len = (__u16)strlen(cwd));
    at = mempcpy(at, file, record.file_len = (__u16)strlen(file));
    memcpy(at, args, record.args_len = (__u16)args_len);
}

static const struct {
    const char *name;
    const char *path, *file;
    uint32_t flags;
    const char *binary;
} binaries[] = {
    {"the real path", "/usr/bin/mawk", "/usr/bin/awk", 0, "/usr/bin/mawk"},
    {"no path: as it was called", "", "./awk", 0, "./awk"},
    {"neither", "", "", 0, ""},
    {"unlinked", "/tmp/x", "x", ABI_PROCESS_DELETED, "/tmp/x (deleted)"},
};

static void an_exec_tells_the_image(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(binaries); i++) {
        CLEANUP(process_unref) struct process *process = NULL;

        print_message("  %s\n", binaries[i].name);
        fill(binaries[i].path, "/home", binaries[i].file, "awk\0a b\0", 8);
        record.flags = binaries[i].flags;
        process = image_exec(&host, &record);
        assert_non_null(process);
        assert_string_equal(process->binary, binaries[i].binary);
        assert_string_equal(process->cwd, "/home");
        assert_string_equal(process->arguments, "\"a b\"");
        assert_false(process->arguments_cut);
        assert_string_equal(process->exec_id, "bjE6MTIzNDU6Nzc=");
        assert_string_equal(process->parent_exec_id, "bjE6MTox");
        assert_int_equal(process->start_time_ns, 1012345);
        assert_null(process->parent);
    }
}

static void a_process_without_parent_has_no_parents_id(void **state)
{
    CLEANUP(process_unref) struct process *process = NULL;

    (void)state;
    fill("/init", "/", "/init", "init", 5);
    record.ppid = 0;
    record.flags = ABI_PROCESS_ARGS_CUT;
    process = image_exec(&host, &record);
    assert_non_null(process);
    assert_string_equal(process->parent_exec_id, "");
    assert_true(process->arguments_cut);
}

static void a_record_is_as_long_as_it_says(void **state)
{
    const size_t head = offsetof(struct abi_process, text);

    (void)state;
    fill("/a", "/", "a", "a", 2);
    assert_true(image_is_whole(&record, sizeof(record)));
    assert_true(image_is_whole(&record, head + 6));
    assert_false(image_is_whole(&record, head + 5));
    assert_false(image_is_whole(&record, head - 1));
    assert_false(image_is_whole(&record, 0));
    record.path_len = record.cwd_len = record.file_len = record.args_len = UINT16_MAX;
    assert_false(image_is_whole(&record, sizeof(record)));
    assert_null(image_exec(&host, &record)); /* and reads nothing beyond its end either */
}

static void a_fork_gets_its_texts_when_asked(void **state)
{
    CLEANUP(process_unref) struct process *parent = NULL;
    CLEANUP(process_unref) struct process *child = NULL;

    (void)state;
    fill("/bin/sh", "/home", "sh", "sh\0-c\0x\0", 8);
    parent = image_exec(&host, &record);
    assert_non_null(parent);
    record.pid = 78;
    record.start_ns = 99999;
    child = image_fork(&record, parent);
    assert_non_null(child);
    assert_null(child->binary);
    assert_true(image_complete(&host, child));
    assert_true(image_complete(&host, child));
    assert_string_equal(child->binary, "/bin/sh");
    assert_string_equal(child->arguments, "-c x");
    assert_string_equal(child->cwd, "/home");
    assert_int_equal(child->pid, 78);
    assert_ptr_equal(child->parent, parent);
    assert_string_equal(child->parent_exec_id, parent->exec_id);
    assert_string_not_equal(child->exec_id, parent->exec_id);
}

static void a_chain_of_parents_ends(void **state)
{
    CLEANUP(process_unref) struct process *process = NULL;
    const struct process *ancestor;
    size_t ancestors = 0;

    (void)state;
    fill("/bin/sh", "/", "sh", "sh", 3);
    process = image_exec(&host, &record);
    for (uint32_t i = 0; i < 10 * IMAGE_ANCESTORS_MAX; i++) {
        struct process *child;

        record.pid = 1000 + i;
        child = image_fork(&record, process);
        assert_non_null(child);
        assert_true(image_complete(&host, child));
        assert_int_equal(child->parent->pid, process->pid);
        assert_string_equal(child->parent->exec_id, process->exec_id);
        assert_string_equal(child->parent->binary, "/bin/sh");
        process_unref(&process);
        process = child;
    }
    for (ancestor = process->parent; ancestor; ancestor = ancestor->parent)
        ancestors++;
    assert_in_range(ancestors, 1, IMAGE_ANCESTORS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exec_tells_the_image),
        cmocka_unit_test(a_process_without_parent_has_no_parents_id),
        cmocka_unit_test(a_record_is_as_long_as_it_says),
        cmocka_unit_test(a_fork_gets_its_texts_when_asked),
        cmocka_unit_test(a_chain_of_parents_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
