/* span: borrowed bytes, and a bounded reader over them.
 *
 * A span never owns; it lives as long as what it points at. The reader (span_take_*) moves
 * the span's start forward and fails, leaving the span as it was, rather than read past its
 * end: parsers of hostile bytes are built from these and nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    size_t len;
};

/* A string literal as a span, without its closing NUL. */
#define BYTES(literal)                                                                             \
    (struct span)                                                                                  \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){data, len};
}

static inline struct span span_of_text(const char *text)
{
    return (struct span){(const uint8_t *)text, text ? strlen(text) : 0};
}

/* Splits off the first n bytes into *out. False, and nothing moved, when there are fewer. */
static inline bool span_take(struct span *from, size_t n, struct span *out)
{
    if (from->len < n)
        return false;
    *out = (struct span){from->data, n};
    from->data += n;
    from->len -= n;
    return true;
}

/* Reads an unsigned integer of 1 to 4 bytes in network order. */
static inline bool span_take_uint(struct span *from, size_t bytes, uint32_t *out)
{
    struct span raw;

    if (!span_take(from, bytes, &raw))
        return false;
    *out = 0;
    for (size_t i = 0; i < bytes; i++)
        *out = *out << 8 | raw.data[i];
    return true;
}

/* Reads a vector whose length stands before it in `bytes` bytes (TLS, RFC 8446 section 3.4). */
static inline bool span_take_vector(struct span *from, size_t bytes, struct span *out)
{
    struct span whole = *from;
    uint32_t len;

    if (!span_take_uint(&whole, bytes, &len) || !span_take(&whole, len, out))
        return false;
    *from = whole;
    return true;
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Compares with a text, ASCII letters without regard to case (never by locale). */
static inline bool span_equal_nocase(struct span a, const char *text)
{
    size_t i;

    for (i = 0; i < a.len && text[i]; i++) {
        uint8_t x = a.data[i], y = (uint8_t)text[i];

        if (x >= 'A' && x <= 'Z')
            x += 'a' - 'A';
        if (y >= 'A' && y <= 'Z')
            y += 'a' - 'A';
        if (x != y)
            return false;
    }
    return i == a.len && !text[i];
}

/* Copies into a NUL-terminated buffer. False, and an empty text, when it does not fit or
 * holds a NUL of its own: a name cut short would be another name. */
static inline bool span_to_text(struct span from, char *out, size_t size)
{
    if (size)
        out[0] = 0;
    if (from.len >= size || (from.len && memchr(from.data, 0, from.len)))
        return false;
    if (from.len)
        memcpy(out, from.data, from.len);
    out[from.len] = 0;
    return true;
}
