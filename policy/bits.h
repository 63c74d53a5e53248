/* bits: a set of small numbers, one bit each: as many as a segment has rules.
 *
 * Those on the stack have room for all; who uses one says how many words of it count, and nothing
 * beyond them is touched. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BITS_MAX = 16384, BITS_WORDS = BITS_MAX / 64 };

struct bits {
    uint64_t words[BITS_WORDS];
};

static inline size_t bits_words(size_t n)
{
    return (n + 63) / 64;
}

static inline void bits_set(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << i % 64;
}

static inline void bits_clear(uint64_t *bits, size_t i)
{
    bits[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static inline bool bits_has(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static inline void bits_fill(uint64_t *bits, size_t first, size_t n)
{
    size_t end = first + n;

    for (; first < end && first % 64; first++)
        bits_set(bits, first);
    for (; end - first >= 64; first += 64)
        bits[first / 64] = UINT64_MAX;
    if (end > first)
        bits[first / 64] |= (UINT64_C(1) << (end - first)) - 1;
}

static inline void bits_or(uint64_t *bits, const uint64_t *other, size_t words)
{
    for (size_t i = 0; i < words; i++)
        bits[i] |= other[i];
}

static inline void bits_and(uint64_t *bits, const uint64_t *other, size_t words)
{
    for (size_t i = 0; i < words; i++)
        bits[i] &= other[i];
}

static inline void bits_and_not(uint64_t *bits, const uint64_t *other, size_t words)
{
    for (size_t i = 0; i < words; i++)
        bits[i] &= ~other[i];
}

/* The first at or behind from that is set in both; SIZE_MAX: none. */
static inline size_t bits_next_both(const uint64_t *bits, const uint64_t *other, size_t words,
                                    size_t from)
{
    size_t at = from / 64;
    uint64_t word;

    if (at >= words)
        return SIZE_MAX;
    word = bits[at] & other[at] & (UINT64_MAX << from % 64);
    while (!word) {
        if (++at == words)
            return SIZE_MAX;
        word = bits[at] & other[at];
    }
    return at * 64 + (size_t)__builtin_ctzll(word);
}

static inline size_t bits_next(const uint64_t *bits, size_t words, size_t from)
{
    return bits_next_both(bits, bits, words, from);
}
