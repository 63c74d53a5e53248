/* keyed: connections of the kernel route whose program handed keys to the kernel, by socket cookie.
 *
 * What they say goes on here instead of on their sockets (speech.h): programs at functions of the
 * tls module know them by their cookies alone, for bpf_sk_storage_get() there is what brings stock
 * kernels down (a NULL in bpf_sk_storage_tracing_allowed(), met while such a program is loaded).
 * Made by sockopt.bpf.c, whether the kernel then takes the keys or not; gone with the connection.
 * Without room for one nothing is read, and where rules judge, nothing is sent: ktls.bpf.c; else
 * its records are told as they leave. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/speech.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, struct speech);
} keyed SEC(".maps") __weak;

/* Which directions of a socket were told to be handed over, of other routes (struct speech).
 * sockopt.bpf.c's. */
struct keys {
    __u8 told[ABI_DIRECTIONS];
};
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct keys);
} keys SEC(".maps") __weak;

/* Where what is sent goes on once the kernel encrypts it, beside what is received. */
static __always_inline struct speech *speech_going_on(struct speech *speech)
{
    struct speech *found = NULL;

    if (speech->sides[ABI_TX].keyed)
        found = bpf_map_lookup_elem(&keyed, &speech->origin.cookie);
    return found ? found : speech;
}
