/* kernel_kept: an agent is killed in the middle of a head; the next one hears all of it, and goes
 * on with the same programs. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kept.h"
#include "sallyport.skel.h"

/* ---- agents, as far as they matter here ---- */

static void begin_agent(void)
{
    kept_begin_agent();
    fx.net = keeper_net_next(fx.keeper, NULL);
    if (!fx.net)
        assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
    spoken_begin();
    register_spoken(NULL);
}

static void end_agent(void)
{
    backend_leave(backend);
    spoken_end();
    kept_end_agent();
}

static uint32_t program_id(void)
{
    int map = bpf_map__fd(keeper_bpf(fx.keeper)->maps.enrolled);
    uint32_t id = 0, len = 1;

    assert_int_equal(bpf_prog_query(map, BPF_SK_MSG_VERDICT, 0, NULL, &id, &len), 0);
    return id;
}

/* ---- who speaks meanwhile ---- */

static int said_pipe[2], go_pipe[2];
static const char *const sends[] = {"GET / HTTP/1.1\r\nHo", "st: a\r\n\r", "\n",
                                    "GET /b HTTP/1.1\r\nHost: b\r\n\r\n"};

static int speak_when_told(int fd, const void *arg)
{
    char byte = 'x';

    (void)arg;
    for (size_t i = 0; i < ARRAY_SIZE(sends); i++) {
        int code = send_all(fd, sends[i], strlen(sends[i]), SIZE_MAX);

        if (code < 0)
            return code;
        if (write(said_pipe[1], &byte, 1) != 1 || read(go_pipe[0], &byte, 1) != 1)
            return -EPIPE;
    }
    return 0;
}

static void *run_speaker(void *arg)
{
    *(struct report *)arg = speak(speak_when_told, NULL, (struct span){0});
    return NULL;
}

static void wait_for_send(void)
{
    char byte;

    assert_int_equal(read(said_pipe[0], &byte, 1), 1);
}

static void let_it_go_on(void)
{
    assert_int_equal(write(go_pipe[1], "x", 1), 1);
}

static void what_is_said_between_agents_is_heard(void **state)
{
    struct report report;
    pthread_t thread;
    char all[256] = "";
    uint32_t program;

    (void)state;
    begin_agent();
    program = program_id();
    assert_int_equal(pthread_create(&thread, NULL, run_speaker, &report), 0);
    wait_for_send();
    end_agent();
    let_it_go_on();
    wait_for_send();
    begin_agent();
    assert_int_equal(program_id(), program);
    for (size_t i = 2; i < ARRAY_SIZE(sends); i++) {
        let_it_go_on();
        wait_for_send();
    }
    let_it_go_on();
    pthread_join(thread, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(sends); i++)
        strcat(all, sends[i]);
    assert_int_equal(report.code, 0);
    assert_int_equal(spoken[ABI_TX].len, strlen(all));
    assert_memory_equal(spoken[ABI_TX].bytes, all, strlen(all));
    assert_int_equal(spoken[ABI_TX].begins, 2);
    assert_int_equal(spoken[ABI_TX].lost, 0);
    end_agent();
}

static int say_all(int fd, const void *arg)
{
    int code = 0;

    (void)arg;
    for (size_t i = 0; i < ARRAY_SIZE(sends) && code == 0; i++)
        code = send_all(fd, sends[i], strlen(sends[i]), SIZE_MAX);
    return code;
}

/* Of the only set of the route's in there. */
static void remove_pin(const char *set, const char *name)
{
    DIR *dir = opendir(set);
    char path[PATH_MAX + 300] = "";

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strncmp(entry->d_name, "abi", 3) == 0 && strcmp(entry->d_name, "abi1-another") != 0)
            snprintf(path, sizeof(path), "%s/%s/%s", set, entry->d_name, name);
    closedir(dir);
    assert_int_equal(unlink(path), 0);
}

static void what_is_pinned_there_and_is_no_set_is_replaced(void **state)
{
    char set[PATH_MAX], path[PATH_MAX + 64];
    struct report report;

    (void)state;
    begin_agent();
    assert_true(keeper_set_dir(fx.keeper, set));
    end_agent();
    snprintf(path, sizeof(path), "%s/abi1-another", set);
    assert_int_equal(mkdir(path, 0700), 0);
    remove_pin(set, "sk_msg");
    begin_agent();
    assert_int_equal(access(path, F_OK), -1);
    report = speak(say_all, NULL, (struct span){0});
    assert_int_equal(report.code, 0);
    assert_int_equal(spoken[ABI_TX].begins, 2);
    pods_remove(fx.pods, bed_cgroup_id(&fx.bed, "pod"), &fx.err);
    spoken_end();
    pods_free(&fx.pods);
    keeper_free(&fx.keeper);
}

static int set_up_pipes(void **state)
{
    assert_int_equal(pipe(said_pipe), 0);
    assert_int_equal(pipe(go_pipe), 0);
    return kept_set_up(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_between_agents_is_heard),
        cmocka_unit_test(what_is_pinned_there_and_is_no_set_is_replaced),
    };
    int status;

    if (kept_was_keeper(argc, argv, &status))
        return status;
    return cmocka_run_group_tests(tests, set_up_pipes, kept_take_down);
}
