/* say: how what was heard of a connection goes up to proxy/kernel/ring.c. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/speech.h"

/* struct abi_said. Written by all programs of the route, read by proxy/kernel/ring.c. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 8 << 20);
} said SEC(".maps") __weak;

/* A record with all but its bytes; NULL: no room, which is told with the next one. How many bytes
 * there may be must be known to the compiler. */
#define begin_saying(speech, direction_, room, len_)                                               \
    ({                                                                                             \
        struct abi_said *begun_ =                                                                  \
            bpf_ringbuf_reserve(&said, __builtin_offsetof(struct abi_said, bytes) + (room), 0);    \
        fill_said(begun_, speech, direction_, len_);                                               \
        begun_;                                                                                    \
    })
static __always_inline void fill_said(struct abi_said *record, struct speech *speech,
                                      enum abi_direction direction, __u32 len)
{
    if (!record) {
        speech->lost[direction] += len;
        return;
    }
    record->kind = ABI_SAID_BYTES;
    record->direction = direction;
    record->flags = 0;
    record->pid = 0;
    record->cookie = speech->cookie;
    record->time_ns = bpf_ktime_get_boot_ns();
    record->skipped = 0;
    record->lost = speech->lost[direction];
    record->len = len;
    record->pad = 0;
    speech->lost[direction] = 0;
}
