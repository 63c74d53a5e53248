/* buffer: bytes that grow, for renderers. Out of memory makes it `failed`, and further appends
 * do nothing, so a renderer need not check each step; the sink checks once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct buffer {
    char *data;
    size_t len, size;
    bool failed;
};

void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_fini(struct buffer *buffer);
