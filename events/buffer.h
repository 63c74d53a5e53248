/* buffer: bytes that grow, for renderers. Out of memory makes it `failed`, and further appends
 * do nothing, so a renderer need not check each step; the sink checks once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

struct buffer {
    char *data;
    size_t len, size;
    bool failed;
};

/* For buffer_append(): makes room for len more bytes. False: it failed. */
bool buffer_reserve(struct buffer *buffer, size_t len);

/* Inline, since an event is made of two hundred of them, most of few bytes. */
static inline void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (!len ||
        ((buffer->failed || buffer->size - buffer->len <= len) && !buffer_reserve(buffer, len)))
        return;
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_fini(struct buffer *buffer);
