#include "proxy/enforce/kernel_images.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "sallyport.skel.h"

_Static_assert(BINARIES_LISTS_MAX <= 64 && (int)BINARIES_VALUE_MAX < (int)ABI_BINARY_MAX,
               "see struct abi_image, struct abi_path");

struct kernel_images {
    struct sallyport_bpf *bpf;
    struct binaries lists;
    uint64_t told;   /* lists that the kernel knows */
    uint64_t others; /* an agent's before us */
};

static const enum policy_operator kinds[] = {POLICY_IN, POLICY_PREFIX, POLICY_POSTFIX};

static int map_of(const struct kernel_images *images, enum policy_operator kind)
{
    if (kind == POLICY_IN)
        return bpf_map__fd(images->bpf->maps.policy_exact);
    return bpf_map__fd(kind == POLICY_PREFIX ? images->bpf->maps.policy_begins
                                             : images->bpf->maps.policy_ends);
}

static struct abi_path key_of(enum policy_operator kind, const char *value)
{
    size_t len = strlen(value);
    struct abi_path key = {.bits = kind == POLICY_IN ? 0 : (uint32_t)(8 * len)};

    for (size_t i = 0; i < len; i++)
        key.text[i] = kind == POLICY_POSTFIX ? value[len - 1 - i] : value[i];
    return key;
}

/* The lists of that kind on which all are that equal this value, begin or end with it: the longest
 * that fits is what is found. */
static uint64_t lists_of(const struct kernel_images *images, enum policy_operator kind,
                         const char *value)
{
    uint64_t of_kind = 0;

    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        if (images->lists.lists[i].users && images->lists.lists[i].kind == kind)
            of_kind |= 1ull << i;
    return binaries_of(&images->lists, value) & of_kind;
}

/* ---- an agent's before us ---- */

static int restore_value(struct kernel_images *images, enum policy_operator kind,
                         const struct abi_path *key, uint64_t lists)
{
    size_t len = kind == POLICY_IN ? strnlen(key->text, BINARIES_VALUE_MAX) : key->bits / 8;
    char text[ABI_BINARY_MAX] = "";

    for (size_t i = 0; i < len && i < BINARIES_VALUE_MAX; i++)
        text[i] = kind == POLICY_POSTFIX ? key->text[len - 1 - i] : key->text[i];
    for (int i = 0; i < BINARIES_LISTS_MAX; i++)
        if (lists >> i & 1 && binaries_restore(&images->lists, i, kind, text) < 0)
            return -ENOMEM;
    images->others |= lists;
    return 0;
}

static int restore(struct kernel_images *images, enum policy_operator kind)
{
    struct abi_path key;
    int fd = map_of(images, kind), code = 0, next = bpf_map_get_next_key(fd, NULL, &key);

    while (next == 0 && code == 0) {
        uint64_t lists = 0;

        if (bpf_map_lookup_elem(fd, &key, &lists) == 0)
            code = restore_value(images, kind, &key, lists);
        next = bpf_map_get_next_key(fd, &key, &key);
    }
    return code;
}

int kernel_images_new(struct kernel_images **out, struct sallyport_bpf *bpf, struct err *err)
{
    CLEANUP(kernel_images_free) struct kernel_images *images = calloc(1, sizeof(*images));

    if (!images)
        return err_set(err, -ENOMEM, "lists of binaries");
    images->bpf = bpf;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (restore(images, kinds[i]) < 0)
            return err_set(err, -ENOMEM, "lists of binaries");
    images->told = images->others;
    *out = TAKE(images);
    return 0;
}

void kernel_images_free(struct kernel_images **images)
{
    if (!*images)
        return;
    binaries_fini(&(*images)->lists);
    free(TAKE(*images));
}

struct binaries *kernel_images_lists(struct kernel_images *images)
{
    return &images->lists;
}

/* ---- telling ---- */

static int write_values(const struct kernel_images *images)
{
    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++) {
        const struct binaries_list *list = &images->lists.lists[i];

        for (size_t j = 0; list->users && j < list->len; j++) {
            struct abi_path key = key_of(list->kind, list->values[j]);
            uint64_t lists = lists_of(images, list->kind, list->values[j]);
            int code = bpf_map_update_elem(map_of(images, list->kind), &key, &lists, BPF_ANY);

            if (code < 0)
                return code;
        }
    }
    return 0;
}

static bool has_value(const struct kernel_images *images, enum policy_operator kind,
                      const struct abi_path *key)
{
    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++) {
        const struct binaries_list *list = &images->lists.lists[i];

        for (size_t j = 0; list->users && list->kind == kind && j < list->len; j++) {
            struct abi_path own = key_of(kind, list->values[j]);

            if (memcmp(&own, key, sizeof(own)) == 0)
                return true;
        }
    }
    return false;
}

static void erase_values(const struct kernel_images *images, enum policy_operator kind)
{
    struct abi_path key, next;
    int fd = map_of(images, kind), code = bpf_map_get_next_key(fd, NULL, &next);

    while (code == 0) {
        key = next;
        code = bpf_map_get_next_key(fd, &key, &next); /* before that key goes */
        if (!has_value(images, kind, &key))
            bpf_map_delete_elem(fd, &key);
    }
}

int kernel_images_tell(struct kernel_images *images, bool *more, struct err *err)
{
    uint64_t lists[2] = {0};
    int fd = bpf_map__fd(images->bpf->maps.policy_lists), code;

    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        if (images->lists.lists[i].users) {
            lists[0] |= 1ull << i;
            lists[1] |= images->lists.lists[i].kind == POLICY_POSTFIX ? 1ull << i : 0;
        }
    *more = images->lists.fresh;
    if (!images->lists.changed)
        return 0;
    code = write_values(images);
    for (uint32_t i = 0; code == 0 && i < ARRAY_SIZE(lists); i++)
        code = bpf_map_update_elem(fd, &i, &lists[i], BPF_ANY);
    if (code < 0)
        return err_sys(err, code, "telling the kernel lists of binaries");
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        erase_values(images, kinds[i]);
    images->told = lists[0];
    images->lists.fresh = 0;
    images->lists.changed = false;
    return 0;
}

void kernel_images_sweep(struct kernel_images *images)
{
    bool more;

    binaries_release(&images->lists, images->others);
    images->others = 0;
    kernel_images_tell(images, &more, NULL);
}

/* ---- processes ---- */

/* Of one that only forked, and that nobody has asked for: what forked it. */
static uint64_t lists_of_process(const struct kernel_images *images, const struct process *process)
{
    while (!process->binary && process->parent)
        process = process->parent;
    return process->binary ? binaries_of(&images->lists, process->binary) : 0;
}

/* What the kernel noted at a later exec, which we are yet to hear of, stands; so does what it noted
 * of lists that are not ours: the next agent's, while we still hear of processes. */
void kernel_images_note(struct kernel_images *images, const struct process *process)
{
    struct abi_life life = {.pid = process->pid, .start_ns = process->start_ns};
    struct abi_image image = {.exec_ns = process->exec_ns}, noted;
    int fd = bpf_map__fd(images->bpf->maps.policy_images);

    if (!images->told)
        return;
    image.own = lists_of_process(images, process);
    for (const struct process *at = process->parent; at; at = at->parent)
        image.above |= lists_of_process(images, at);
    if (bpf_map_lookup_elem(fd, &life, &noted) == 0) {
        if (noted.exec_ns == image.exec_ns) {
            image.own |= noted.own & ~images->told;
            image.above |= noted.above & ~images->told;
        }
        if (noted.exec_ns > image.exec_ns || memcmp(&noted, &image, sizeof(image)) == 0)
            return;
    }
    bpf_map_update_elem(fd, &life, &image, BPF_ANY);
}
