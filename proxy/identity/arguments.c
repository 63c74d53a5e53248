#include "proxy/identity/arguments.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"

/* Splits off one argument; the last may lack its NUL, where argv was cut. */
static bool take_argument(struct span *argv, struct span *out)
{
    const uint8_t *end;

    if (!argv->len)
        return false;
    end = memchr(argv->data, 0, argv->len);
    span_take(argv, end ? (size_t)(end - argv->data) : argv->len, out);
    if (end)
        span_take(argv, 1, &(struct span){0});
    return true;
}

static bool needs_quotes(struct span argument)
{
    for (size_t i = 0; i < argument.len; i++)
        if (argument.data[i] == ' ' || argument.data[i] == '\t' || argument.data[i] == '\n')
            return true;
    return argument.len == 0;
}

char *arguments_join(struct span argv)
{
    /* an argument grows by its quotes, and its NUL becomes the blank */
    char *text = malloc(3 * argv.len + 1), *to = text, *fitted;
    struct span argument;

    if (!text)
        return NULL;
    take_argument(&argv, &argument); /* argv[0] is the program's name, as its caller pleased */
    while (take_argument(&argv, &argument)) {
        bool quotes = needs_quotes(argument);

        if (to != text)
            *to++ = ' ';
        if (quotes)
            *to++ = '"';
        if (argument.len)
            to = mempcpy(to, argument.data, argument.len);
        if (quotes)
            *to++ = '"';
    }
    *to++ = 0;
    fitted = realloc(text, (size_t)(to - text)); /* many are kept, and for long */
    return fitted ? fitted : text;
}

static char *base64(struct span from)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((from.len + 2) / 3 * 4 + 1), *to = text;

    if (!text)
        return NULL;
    for (size_t i = 0; i < from.len; i += 3) {
        size_t left = from.len - i;
        uint32_t bits = (uint32_t)from.data[i] << 16;

        if (left > 1)
            bits |= (uint32_t)from.data[i + 1] << 8;
        if (left > 2)
            bits |= from.data[i + 2];
        *to++ = letters[bits >> 18];
        *to++ = letters[bits >> 12 & 63];
        *to++ = left > 1 ? letters[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? letters[bits & 63] : '=';
    }
    *to = 0;
    return text;
}

char *arguments_exec_id(const char *node, uint64_t start_ns, uint32_t pid)
{
    CLEANUP(text_free) char *plain = NULL;

    if (asprintf(&plain, "%s:%" PRIu64 ":%" PRIu32, node, start_ns, pid) < 0) {
        plain = NULL; /* undefined by then */
        return NULL;
    }
    return base64(span_of_text(plain));
}
