/* ja4: see ja4.h. What the specification leaves open is done as its authors' own program does it.
 */
#include "proxy/wire/ja4.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

enum {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_ALPN = 16,
    COUNT_MAX = 99, /* two digits; more is told as this */
    ITEM_TEXT = 5,  /* four digits and what stands before them */
};

struct items {
    uint16_t item[JA4_ITEMS_MAX];
    size_t len;
};

/* RFC 8701: 0x0a0a, 0x1a1a, … 0xfafa. A client makes them up anew for each hello. */
static bool grease(uint32_t number)
{
    return (number & 0x0f0f) == 0x0a0a && number >> 8 == (number & 0xff);
}

static bool add(struct items *items, uint32_t number)
{
    if (grease(number))
        return true;
    if (items->len == JA4_ITEMS_MAX)
        return false;
    items->item[items->len++] = (uint16_t)number;
    return true;
}

static bool add_all(struct items *items, struct span numbers)
{
    uint32_t number;

    while (span_take_uint(&numbers, 2, &number))
        if (!add(items, number))
            return false;
    return true;
}

static bool add_types(struct items *items, struct span extensions)
{
    struct span data;
    uint32_t type;

    while (span_take_uint(&extensions, 2, &type) && span_take_vector(&extensions, 2, &data))
        if (!add(items, type))
            return false;
    return true;
}

static int by_number(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void sort(struct items *items)
{
    qsort(items->item, items->len, sizeof(items->item[0]), by_number);
}

/* Appends "0005,000a,000b"; returns the new length. */
static size_t list(const struct items *items, char *out, size_t len)
{
    for (size_t i = 0; i < items->len; i++)
        len += (size_t)sprintf(out + len, "%s%04x", i ? "," : "", items->item[i]);
    return len;
}

static void drop(struct items *items, uint16_t number)
{
    size_t kept = 0;

    for (size_t i = 0; i < items->len; i++)
        if (items->item[i] != number)
            items->item[kept++] = items->item[i];
    items->len = kept;
}

static bool holds(const struct items *items, uint16_t number)
{
    for (size_t i = 0; i < items->len; i++)
        if (items->item[i] == number)
            return true;
    return false;
}

static const char *version_text(const struct hello *hello)
{
    static const char *const texts[] = {"s3", "10", "11", "12", "13"}; /* 0x0300, 0x0301, … */
    static const char *const datagrams[] = {"00", "00", "d1", "d2", "d3"};
    unsigned at = hello->version_max - 0x0300u;

    if (at >= ARRAY_SIZE(texts))
        return "00";
    return hello->transport == HELLO_DTLS ? datagrams[at] : texts[at];
}

static bool alphanumeric(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z');
}

/* The first and last character of the first protocol; of its digits in hex, where one of the two is
 * neither letter nor digit. */
static void alpn_text(struct span alpn, char out[3])
{
    static const char digits[] = "0123456789abcdef";
    struct span name = {0};
    uint8_t first, last;

    strcpy(out, "00");
    if (!span_take_vector(&alpn, 1, &name) || !name.len)
        return;
    first = name.data[0];
    last = name.data[name.len - 1];
    if (alphanumeric(first) && alphanumeric(last)) {
        out[0] = (char)first;
        out[1] = (char)last;
    } else {
        out[0] = digits[first >> 4];
        out[1] = digits[last & 15];
    }
}

/* The first twelve digits of the digest, or zeros where there is nothing to digest. */
static bool digest(ja4_sha256 *sha256, const char *text, size_t len, char out[13])
{
    uint8_t bytes[JA4_DIGEST] = {0};

    if (len && !sha256(span_of(text, len), bytes))
        return false;
    for (size_t i = 0; i < 6; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
    return true;
}

static int count(const struct items *items)
{
    return items->len < COUNT_MAX ? (int)items->len : COUNT_MAX;
}

bool ja4_of(const struct hello *hello, ja4_sha256 *sha256, char out[JA4_SIZE])
{
    static const char transports[] = {[HELLO_TLS] = 't', [HELLO_QUIC] = 'q', [HELLO_DTLS] = 'd'};
    struct items ciphers = {.len = 0}, extensions = {.len = 0}, signatures = {.len = 0};
    char text[2 * JA4_ITEMS_MAX * ITEM_TEXT + 1], alpn[3], front[11], of_ciphers[13], of_rest[13];
    size_t len;

    out[0] = 0;
    if (!add_all(&ciphers, hello->ciphers) || !add_types(&extensions, hello->extensions) ||
        !add_all(&signatures, hello->signatures))
        return false;
    alpn_text(hello->alpn, alpn);
    snprintf(front, sizeof(front), "%c%s%c%02d%02d%s", transports[hello->transport],
             version_text(hello), holds(&extensions, EXTENSION_SERVER_NAME) ? 'd' : 'i',
             count(&ciphers), count(&extensions), alpn);
    sort(&ciphers);
    if (!digest(sha256, text, list(&ciphers, text, 0), of_ciphers))
        return false;
    drop(&extensions, EXTENSION_SERVER_NAME); /* whom it talks to is not how it talks */
    drop(&extensions, EXTENSION_ALPN);
    sort(&extensions);
    len = list(&extensions, text, 0);
    if (signatures.len) {
        text[len++] = '_';
        len = list(&signatures, text, len); /* as they came: their order is the client's choice */
    }
    if (!digest(sha256, text, len, of_rest))
        return false;
    snprintf(out, JA4_SIZE, "%s_%s_%s", front, of_ciphers, of_rest);
    return true;
}
