#include "proxy/handover.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const char digits[] = "0123456789abcdef";

json_t *handover_bytes(struct span bytes)
{
    CLEANUP(text_free) char *text = malloc(2 * bytes.len + 1);

    if (!text)
        return NULL;
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = digits[bytes.data[i] >> 4];
        text[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    text[2 * bytes.len] = 0;
    return json_string(text);
}

/* A text of so many digits, two a byte. */
static bool read_digits(const char *text, uint8_t *out, size_t len)
{
    if (strlen(text) != 2 * len || strspn(text, digits) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
                           (strchr(digits, text[2 * i + 1]) - digits));
    return true;
}

bool handover_read_bytes(const json_t *from, uint8_t **out, size_t *len)
{
    const char *text = json_string_value(from);
    size_t size = text ? strlen(text) / 2 : 0;
    uint8_t *bytes = size ? malloc(size) : NULL;

    *out = NULL;
    *len = 0;
    if (!text || (size && !bytes) || !read_digits(text, bytes, size)) {
        free(bytes);
        return false;
    }
    *out = bytes;
    *len = size;
    return true;
}

json_t *handover_address(const struct addr *addr)
{
    return json_pack("{s:o, s:i}", "ip", handover_bytes(span_of(addr->ip, sizeof(addr->ip))),
                     "port", (int)addr->port);
}

bool handover_read_address(const json_t *from, struct addr *out)
{
    const char *text = json_string_value(json_object_get(from, "ip"));
    json_int_t port = json_integer_value(json_object_get(from, "port"));

    if (!text || port < 0 || port > UINT16_MAX || !read_digits(text, out->ip, sizeof(out->ip)))
        return false;
    out->port = (uint16_t)port;
    return true;
}

uint64_t handover_number(const json_t *from, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(from, key));
}

unsigned handover_choice(const json_t *from, const char *key, unsigned max)
{
    uint64_t value = handover_number(from, key);

    return value < max ? (unsigned)value : 0;
}

bool handover_flag(const json_t *from, const char *key)
{
    return json_is_true(json_object_get(from, key));
}
