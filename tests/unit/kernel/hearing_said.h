/* hearing_said: what two peers say to each other, kept in its order, and heard in pieces of any
 * length. */
#pragma once

#include "tests/unit/kernel/hearing.h"

enum { SAID_MAX = 512 };

/* What went by, in order. */
static struct piece said[SAID_MAX];
static size_t said_len;
static uint8_t bytes[1 << 20];
static size_t bytes_len;

static inline void say(enum abi_direction direction, const void *data, size_t len)
{
    assert_true(said_len < SAID_MAX && bytes_len + len <= sizeof(bytes));
    memcpy(bytes + bytes_len, data, len);
    said[said_len++] =
        (struct piece){.direction = direction, .bytes = span_of(bytes + bytes_len, len)};
    bytes_len += len;
}

/* In pieces of `most` bytes at most; with a seed, of any fewer. */
static inline void hears_all(size_t most, unsigned *seed)
{
    for (size_t i = 0; i < said_len; i++)
        for (size_t at = 0; at < said[i].bytes.len;) {
            size_t left = said[i].bytes.len - at, len = left < most ? left : most;
            struct piece piece = said[i];

            if (seed && len > 1)
                len = 1 + (size_t)rand_r(seed) % len;
            piece.bytes = span_of(said[i].bytes.data + at, len);
            hears(&piece);
            at += len;
        }
}

/* What is told, without what differs from time to time. */
static inline void without_latency(char *text)
{
    char *from;

    while ((from = strstr(text, " after "))) {
        char *to = from + sizeof(" after ") - 1;

        while (*to >= '0' && *to <= '9')
            to++;
        memmove(from, to, strlen(to) + 1);
    }
}
