/* speech: what is known of a connection whose plain text is read in the kernel, kept on its socket
 * from the moment that it is established.
 *
 * Made by sockops.bpf.c; its sending side is send.bpf.c's, which has the socket locked, its
 * receiving side receive.bpf.c's. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

struct speech {
    __u64 pod;
    __u64 cookie; /* the socket's */
    struct abi_spelling spelling;
    __u32 rules; /* by which that was found */
    __u8 judged; /* it was looked for */
    __u8 pad[3];
    __u64 lost[ABI_DIRECTIONS]; /* bytes that found `said` full, and were not told yet */
};

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct speech);
} speeches SEC(".maps") __weak;
