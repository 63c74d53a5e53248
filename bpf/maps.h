/* maps: what the kernel programs and the agent share.
 *
 * Each file of programs includes this and is linked with the others into one object; __weak lets
 * the linker merge the copies into one map. Hash maps are not preallocated: nearly all stay small.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/spell_rows.h"

/* Who is steered: cgroup id -> how. Written by proxy/pods/pods.c, read by every program (pod.h). */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, ABI_PODS_MAX);
    __type(key, __u64);
    __type(value, struct abi_pod);
} pods SEC(".maps") __weak;

/* Which ports of a pod: presence is all that counts. Written by proxy/pods/pods.c, read by connect.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16 * ABI_PODS_MAX);
    __type(key, struct abi_port);
    __type(value, __u8);
} ports SEC(".maps") __weak;

/* Network namespace cookie -> our listener there. Written by proxy/keeper/reach.c, read by connect.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, ABI_NETS_MAX);
    __type(key, __u64);
    __type(value, struct abi_net);
} nets SEC(".maps") __weak;

/* A namespace's own addresses: presence counts. Written by proxy/keeper/reach.c, read by connect.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16 * ABI_NETS_MAX);
    __type(key, struct abi_own);
    __type(value, __u8);
} own SEC(".maps") __weak;

/* Where a steered connection meant to go, by the addresses it has, until accept. Written by
 * sockops, taken by proxy/doors/origin.c. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, ABI_ORIGINS_MAX);
    __type(key, struct abi_tuple);
    __type(value, struct abi_origin);
} origins SEC(".maps") __weak;

/* Who sends datagrams to a name server through us, by the addresses they have. Written by sockets,
 * read and dropped by proxy/dns/resolver.c; what is forgotten there must not stay for ever. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, ABI_ASKERS_MAX);
    __type(key, struct abi_tuple);
    __type(value, struct abi_origin);
} askers SEC(".maps") __weak;

/* What pods' processes and their sockets do: struct abi_process, abi_socket and abi_syn. Written by
 * process, sockets and sockops, read by proxy/identity/. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4 << 20);
} records SEC(".maps") __weak;

/* Where process builds its next record, too large for the stack. A raw tracepoint's program keeps
 * its CPU until it ends, so one a CPU is enough. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct abi_process);
} process_scratch SEC(".maps") __weak;

/* Until when SYNs are held back, one value: the boot clock's nanoseconds. Written by
 * proxy/doors/attempts.c, again and again, read by hold.h. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} hold_until SEC(".maps") __weak;

/* When it was last told that a pod's program connects where nobody listens, by network namespace
 * cookie: one that does so again and again is not to keep the agent busy. Monotonic clock. turn.h's
 * alone. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1024);
    __type(key, __u64);
    __type(value, __u64);
} unknown_told SEC(".maps") __weak;

/* How many records found `records` full, counted by who wrote them; and of these, how many
 * proxy/identity/ has told, for the next agent. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} records_lost SEC(".maps") __weak;

/* What the agent says of handshakes by datagrams (abi.h). Read soon after it was written. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct abi_exchange);
    __type(value, struct abi_judged);
} hellos_judged SEC(".maps") __weak;

/* How much was told, by pod: of what rules refused; of handshakes by datagrams. judge.h's alone. */
struct told_of_pod {
    __u64 since_ns; /* monotonic clock */
    __u32 told;     /* since then */
    __u32 missed;   /* since the last one that was told */
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, ABI_PODS_MAX);
    __type(key, __u64);
    __type(value, struct told_of_pod);
} policy_told SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, ABI_PODS_MAX);
    __type(key, __u64);
    __type(value, struct told_of_pod);
} hellos_told SEC(".maps") __weak;

/* The rules of pods (abi.h). */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, ABI_RULES_MAX);
    __type(key, __u32);
    __type(value, struct abi_rules);
} policy_rules SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, ABI_PROCESSES_MAX);
    __type(key, struct abi_life);
    __type(value, struct abi_image);
} policy_images SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct abi_path);
    __type(value, __u64);
} policy_exact SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct abi_path);
    __type(value, __u64);
} policy_begins SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct abi_path);
    __type(value, __u64);
} policy_ends SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} policy_lists SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16 * ABI_RULES_MAX);
    __type(key, struct abi_who);
    __type(value, __u32);
} policy_whos SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 20);
    __type(key, struct abi_prefix);
    __type(value, __u32);
} policy_nets SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 20);
    __type(key, struct abi_resolved);
    __type(value, struct abi_class);
} policy_names SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 18); /* a pod has some eight thousand at most */
    __type(key, struct abi_spoken_key);
    __type(value, struct abi_spoken);
} policy_spoken SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 21);
    __type(key, struct abi_where);
    __type(value, __u32);
} policy_ports SEC(".maps") __weak;

/* On sockets that were connected before their pod was registered: what sockets tells at their end,
 * and of which those that are in `enrolled` are heard (adopt.h). Written by
 * proxy/pods/existing_heard.c. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct abi_socket);
} older SEC(".maps") __weak;

/* ---- the kernel route (abi.h) ---- */

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} route SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct abi_program);
    __type(value, __u32);
} ktls_programs SEC(".maps") __weak;

/* Sockets whose sends an sk_msg program sees (send.bpf.c), by socket cookie. Written by sockops,
 * those of older ones by proxy/pods/existing_heard.c. */
struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, __u64);
} enrolled SEC(".maps") __weak;

/* Written by sockops, sockopt, sockets and ktls, read by connect and proxy/kernel/backend.c. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, _ABI_ROUTE_COUNT_MAX);
    __type(key, __u32);
    __type(value, __u64);
} route_counts SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 17); /* twice as many as are enrolled: some are closed already */
    __type(key, __u64);
    __type(value, struct abi_ending);
} endings SEC(".maps") __weak;

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 18);
    __type(key, struct abi_where);
    __type(value, struct abi_spelling);
} spells SEC(".maps") __weak;

static __always_inline void count_lost(void)
{
    __u32 zero = 0;
    __u64 *lost = bpf_map_lookup_elem(&records_lost, &zero);

    if (lost)
        __sync_fetch_and_add(lost, 1);
}
