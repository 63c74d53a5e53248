/* image: on which of the policies' lists of binaries a process is, noted when it begins an image,
 * so that judge.h can tell programs apart. process.bpf.c's alone.
 *
 * By the path as the process's exec tells it: with the word that marks one without a link, or the
 * name it was called by where the path could not be walked. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/kernel.h"
#include "bpf/maps.h"

enum { TEXT_MAX = ABI_BINARY_MAX - 1 };
static const char unlinked_mark[10] = " (deleted)"; /* without a NUL */

struct image_name { /* as lists have it */
    struct abi_path path, end;
    char tail[ABI_BINARY_MAX];
    __u64 len; /* of tail */
};
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct image_name);
} policy_scratch SEC(".maps");

/* 0: all lists there are, 1: those that look at the end of a path. */
static __always_inline __u64 lists_at(__u32 which)
{
    const __u64 *lists = bpf_map_lookup_elem(&policy_lists, &which);

    return lists ? *lists : 0;
}

static long turn_round(__u32 i, struct image_name *const *of)
{
    struct image_name *name = *of;
    __u64 to = i, from = name->len - 1 - i;

    if (i >= name->len)
        return 1;
    asm volatile("%0 &= 0xff" : "+r"(to)); /* as in walk_up() */
    asm volatile("%0 &= 0xff" : "+r"(from));
    name->end.text[to] = name->tail[from];
    return 0;
}

/* The last bytes, `marked` of which say that it has no link. */
static __always_inline void take_tail(struct image_name *name, const char *text, __u64 len,
                                      __u64 marked)
{
    __u64 most = TEXT_MAX - marked, at;

    if (len > most) {
        text += len - most;
        len = most;
    }
    at = len;
    asm volatile("%0 &= 0xff" : "+r"(len));
    asm volatile("%0 &= 0xff" : "+r"(at));
    bpf_probe_read_kernel(name->tail, len, text);
    if (marked && at <= TEXT_MAX - sizeof(unlinked_mark))
        bpf_probe_read_kernel(&name->tail[at], sizeof(unlinked_mark), unlinked_mark);
    name->len = at + marked;
}

/* Of a path that is longer, the beginning and the end are all that lists can have. */
static __always_inline __u64 lists_of(struct image_name *name, const char *text, __u64 len,
                                      bool unlinked)
{
    __u64 marked = unlinked ? sizeof(unlinked_mark) : 0, lists = 0, begins = len;
    const __u64 *found;

    __builtin_memset(name, 0, sizeof(*name));
    take_tail(name, text, len, marked);
    if (len + marked <= TEXT_MAX) {
        bpf_probe_read_kernel(name->path.text, TEXT_MAX, name->tail);
        found = bpf_map_lookup_elem(&policy_exact, &name->path);
        lists |= found ? *found : 0;
    } else {
        if (begins > TEXT_MAX)
            begins = TEXT_MAX;
        asm volatile("%0 &= 0xff" : "+r"(begins));
        bpf_probe_read_kernel(name->path.text, begins, text);
    }
    name->path.bits = 8 * ABI_BINARY_MAX;
    found = bpf_map_lookup_elem(&policy_begins, &name->path);
    lists |= found ? *found : 0;
    if (lists_at(1)) {
        bpf_loop(TEXT_MAX, turn_round, &name, 0);
        name->end.bits = 8 * ABI_BINARY_MAX;
        found = bpf_map_lookup_elem(&policy_ends, &name->end);
        lists |= found ? *found : 0;
    }
    return lists;
}

/* It runs this image now; its ancestors stay. */
static __always_inline void note_exec(const struct abi_process *record)
{
    struct abi_life life = {.pid = record->pid, .start_ns = record->start_ns};
    struct abi_image image = {.exec_ns = record->time_ns};
    const struct abi_image *before;
    struct image_name *name;
    __u64 from = 0, len = record->path_len;
    __u32 zero = 0;

    name = bpf_map_lookup_elem(&policy_scratch, &zero);
    if (!name || !lists_at(0))
        return;
    before = bpf_map_lookup_elem(&policy_images, &life);
    if (before)
        image.above = before->above;
    if (!len) {
        from = record->cwd_len;
        len = record->file_len;
    }
    if (from >= ABI_PATH_MAX || len > ABI_PATH_MAX) { /* nobody knows: it is not what it was */
        bpf_map_delete_elem(&policy_images, &life);
        return;
    }
    image.own =
        lists_of(name, (const char *)&record->text[from], len, record->flags & ABI_PROCESS_DELETED);
    bpf_map_update_elem(&policy_images, &life, &image, BPF_ANY);
}

static __always_inline struct abi_life life_of(struct task_struct *task)
{
    struct abi_life life = {.pid = BPF_CORE_READ(task, tgid)};

    life.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
    return life;
}

static __always_inline void note_fork(struct task_struct *child, struct task_struct *parent)
{
    struct abi_life life = life_of(child), of_parent = life_of(parent);
    const struct abi_image *found;
    struct abi_image image;

    if (!lists_at(0) || !(found = bpf_map_lookup_elem(&policy_images, &of_parent)))
        return;
    image = *found;
    image.above |= image.own;
    bpf_map_update_elem(&policy_images, &life, &image, BPF_ANY);
}

/* Also of one that has left its pod. */
static __always_inline void forget_image(struct task_struct *task)
{
    struct abi_life life = life_of(task);

    bpf_map_delete_elem(&policy_images, &life);
}
