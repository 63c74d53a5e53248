#include "proxy/enforce/bundle.h"

#include <inttypes.h>

enum { DIGITS_MAX = 10 };

void bundle_add(struct buffer *out, const char *name, struct span bytes)
{
    buffer_append(out, name, strlen(name) + 1);
    buffer_format(out, "%zu", bytes.len);
    buffer_append(out, "", 1);
    buffer_append(out, bytes.data, bytes.len);
}

/* A text that ends by a NUL within the first `most` bytes; NULL: there is none. */
static const char *take_text(struct span *rest, size_t most)
{
    const uint8_t *text = rest->data, *end = NULL;

    if (rest->len)
        end = memchr(text, 0, rest->len < most ? rest->len : most);
    if (!end)
        return NULL;
    *rest = span_of(end + 1, rest->len - (size_t)(end + 1 - text));
    return (const char *)text;
}

enum bundle_status bundle_next(struct span *rest, const char **name, struct span *bytes)
{
    const char *digits;
    size_t len = 0;

    if (!rest->len)
        return BUNDLE_END;
    *name = take_text(rest, BUNDLE_NAME_MAX + 1);
    digits = *name && **name ? take_text(rest, DIGITS_MAX + 1) : NULL;
    if (!digits || !*digits)
        return BUNDLE_BROKEN;
    for (; *digits; digits++) {
        if (*digits < '0' || *digits > '9')
            return BUNDLE_BROKEN;
        len = len * 10 + (size_t)(*digits - '0');
    }
    if (len > rest->len)
        return BUNDLE_BROKEN;
    *bytes = span_of(rest->data, len);
    *rest = span_of(rest->data + len, rest->len - len);
    return BUNDLE_FILE;
}
