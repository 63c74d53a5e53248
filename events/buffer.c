#include "events/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    FIRST_SIZE = 512,
    FORMAT_GUESS = 96, /* most texts fit, and need be made once only */
};

/* And for one NUL, which vsnprintf writes behind every text. */
bool buffer_reserve(struct buffer *buffer, size_t len)
{
    size_t size = buffer->size ? buffer->size : FIRST_SIZE, wanted;
    char *grown;

    if (buffer->failed || __builtin_add_overflow(buffer->len, len, &wanted) ||
        __builtin_add_overflow(wanted, 1, &wanted)) {
        buffer->failed = true;
        return false;
    }
    if (wanted <= buffer->size)
        return true;
    while (size < wanted)
        size = size > SIZE_MAX / 2 ? wanted : size * 2;
    grown = realloc(buffer->data, size);
    if (!grown) {
        buffer->failed = true;
        return false;
    }
    buffer->data = grown;
    buffer->size = size;
    return true;
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    int len;

    if (!buffer_reserve(buffer, FORMAT_GUESS))
        return;
    va_start(args, format);
    len = vsnprintf(buffer->data + buffer->len, FORMAT_GUESS, format, args);
    va_end(args);
    if (len < 0)
        buffer->failed = true;
    if (len < 0 || !buffer_reserve(buffer, (size_t)len))
        return;
    if (len >= FORMAT_GUESS) {
        va_start(args, format);
        vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, args);
        va_end(args);
    }
    buffer->len += (size_t)len;
}

void buffer_fini(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
