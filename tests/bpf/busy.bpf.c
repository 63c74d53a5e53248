/* What busy.c needs of the kernel: records of a ring buffer, one of which is written for as long as
 * the test wants, as it is when a processor is taken away from whoever writes it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tests/bpf/busy.h"

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 20);
} said SEC(".maps");

struct busy_piece piece;          /* the next one */
volatile __u32 reserved, release; /* 1: yes */

enum { TURNS = 1 << 20, ROUNDS = 1 << 14 }; /* some ten seconds at most */

static long turn(__u32 i, void *unused)
{
    return release & 1;
}

static long go_round(__u32 i, void *unused)
{
    bpf_loop(TURNS, turn, NULL, 0);
    return release & 1;
}

SEC("syscall")
int say(void *unused)
{
    return bpf_ringbuf_output(&said, &piece, sizeof(piece), 0) < 0;
}

SEC("syscall")
int say_slowly(void *unused)
{
    struct busy_piece *record = bpf_ringbuf_reserve(&said, sizeof(*record), 0);

    if (!record)
        return 1;
    *record = piece;
    reserved = 1;
    bpf_loop(ROUNDS, go_round, NULL, 0);
    bpf_ringbuf_submit(record, 0);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
