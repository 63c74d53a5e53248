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

/* The first is for the end of a body, the next for most requests: what the ring buffer goes on by
 * is what the processor has to fetch. */
enum { SAID_TINY = 64, SAID_LITTLE = 128, SAID_SMALL = 256, SAID_MIDDLE = 1024, SAID_LARGE = 4096 };

/* How much room a record takes must be known to the compiler. */
#define SAID_RESERVE(room)                                                                         \
    bpf_ringbuf_reserve(&said, __builtin_offsetof(struct abi_said, bytes) + (room), 0)

/* All but the bytes. */
static __always_inline void fill_said(struct abi_said *record, const struct speech *speech,
                                      struct speech_side *side, enum abi_direction direction,
                                      enum abi_said_kind kind, __u32 len)
{
    record->kind = kind;
    record->direction = direction;
    record->flags = side->flags | (side->keyed ? ABI_SAID_KTLS : 0);
    record->pid = side->pid;
    record->cookie = speech->origin.cookie;
    record->time_ns = bpf_ktime_get_boot_ns();
    record->skipped = side->skipped;
    record->lost = side->lost;
    record->len = len;
    record->before = kind == ABI_SAID_DENIED ? side->since : 0;
    side->skipped = side->lost = 0;
}

/* For the verifier: from 1 to max, which is a power of two. */
#define SAID_BOUND(len, max)                                                                       \
    ({                                                                                             \
        __u64 bounded_ = (len)-1;                                                                  \
        asm volatile("%0 &= %1" : "+r"(bounded_) : "i"((max)-1));                                  \
        bounded_ + 1;                                                                              \
    })

/* One record with `len` bytes, in as much room as it takes, about; `load(to, len)` puts them there,
 * and is true if it could. False: it is lost. */
#define SAY_IN(room, speech, side, direction, kind, len, load)                                     \
    ({                                                                                             \
        struct abi_said *record_ = SAID_RESERVE(room);                                             \
        bool said_ = record_ && (!(len) || load(record_->bytes, SAID_BOUND(len, room)));           \
                                                                                                   \
        if (said_)                                                                                 \
            fill_said(record_, speech, side, direction, kind, len);                                \
        if (said_)                                                                                 \
            bpf_ringbuf_submit(record_, 0);                                                        \
        else if (record_)                                                                          \
            bpf_ringbuf_discard(record_, 0);                                                       \
        said_;                                                                                     \
    })
#define SAY(speech, side, direction, kind, len, load)                                              \
    ((len) <= SAID_TINY     ? SAY_IN(SAID_TINY, speech, side, direction, kind, len, load)          \
     : (len) <= SAID_LITTLE ? SAY_IN(SAID_LITTLE, speech, side, direction, kind, len, load)        \
     : (len) <= SAID_SMALL  ? SAY_IN(SAID_SMALL, speech, side, direction, kind, len, load)         \
     : (len) <= SAID_MIDDLE ? SAY_IN(SAID_MIDDLE, speech, side, direction, kind, len, load)        \
     : (len) <= SAID_LARGE  ? SAY_IN(SAID_LARGE, speech, side, direction, kind, len, load)         \
                            : SAY_IN(ABI_SAID_MAX, speech, side, direction, kind, len, load))
