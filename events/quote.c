#include "events/quote.h"

#include <string.h>

#include "base/cleanup.h"

enum { NOT_UTF8 = 0xffffffff };

/* Not printable, beyond ASCII, in order. */
static const struct {
    uint32_t first, last;
} hidden[] = {
    {0x0080, 0x00a0},    /* C1 controls, no-break space */
    {0x00ad, 0x00ad},    /* soft hyphen */
    {0x0600, 0x0605},    /* Arabic format characters */
    {0x061c, 0x061c},    /* Arabic letter mark: direction */
    {0x06dd, 0x06dd},    /* more marks that format their script */
    {0x070f, 0x070f},    /* the same */
    {0x0890, 0x0891},    /* the same */
    {0x08e2, 0x08e2},    /* the same */
    {0x1680, 0x1680},    /* Ogham space */
    {0x180e, 0x180e},    /* Mongolian vowel separator */
    {0x2000, 0x200f},    /* spaces, zero-width ones, direction marks */
    {0x2028, 0x202f},    /* line and paragraph separators, bidirectional overrides */
    {0x205f, 0x206f},    /* invisible operators, bidirectional isolates */
    {0x3000, 0x3000},    /* ideographic space */
    {0xd800, 0xf8ff},    /* surrogates, private use */
    {0xfdd0, 0xfdef},    /* noncharacters */
    {0xfeff, 0xfeff},    /* byte order mark */
    {0xfff9, 0xfffb},    /* annotations */
    {0xfffe, 0xffff},    /* noncharacters, as at the end of each plane */
    {0x110bd, 0x110bd},  /* Kaithi number signs */
    {0x110cd, 0x110cd},  /* the same */
    {0x13430, 0x1343f},  /* hieroglyph format controls */
    {0x1bca0, 0x1bca3},  /* shorthand format controls */
    {0x1d173, 0x1d17a},  /* musical beams and slurs */
    {0x1fffe, 0x1ffff},  /* noncharacters */
    {0x2fffe, 0x2ffff},  /* the same */
    {0x3fffe, 0x3ffff},  /* the same */
    {0x40000, 0xe00ff},  /* planes without characters; tags */
    {0xe01f0, 0x10ffff}, /* private use; before them lie the variation selectors */
};

static bool printable(uint32_t code)
{
    size_t low = 0, high = ARRAY_SIZE(hidden);

    if (code < 0x80)
        return code >= 0x20 && code != 0x7f;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (code > hidden[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low == ARRAY_SIZE(hidden) || code < hidden[low].first;
}

/* Splits the first code point off text, which must not be empty; NOT_UTF8 and one byte where
 * there is none: overlong forms, surrogates and what lies past U+10FFFF are none (RFC 3629). */
static uint32_t next_code(struct span *text)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text->data[0];
    size_t len = first < 0x80             ? 1
                 : (first & 0xe0) == 0xc0 ? 2
                 : (first & 0xf0) == 0xe0 ? 3
                 : (first & 0xf8) == 0xf0 ? 4
                                          : 0;
    uint32_t code = len <= 1 ? first : first & (0xffu >> (len + 1));

    for (size_t i = 1; i < len; i++) {
        if (i >= text->len || (text->data[i] & 0xc0) != 0x80)
            len = 0;
        else
            code = code << 6 | (text->data[i] & 0x3f);
    }
    if (!len || code < smallest[len] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) {
        len = 1;
        code = NOT_UTF8;
    }
    text->data += len;
    text->len -= len;
    return code;
}

static bool needs_quotes(struct span text)
{
    while (text.len) {
        uint32_t code = next_code(&text);

        if (code == ' ' || code == NOT_UTF8 || !printable(code))
            return true;
    }
    return false;
}

/* The letter behind the backslash, 0 when the language has none for it. */
static char short_escape(uint32_t code, bool go)
{
    switch (code) {
    case '"':
    case '\\':
        return (char)code;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\a':
        return go ? 'a' : 0;
    case '\v':
        return go ? 'v' : 0;
    default:
        return 0;
    }
}

static void escape_go(struct buffer *out, uint32_t code, uint8_t raw)
{
    if (code == NOT_UTF8)
        buffer_format(out, "\\x%02x", raw);
    else if (code < 0x80)
        buffer_format(out, "\\x%02x", code);
    else
        buffer_format(out, code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
}

static void escape_json(struct buffer *out, uint32_t code)
{
    if (code == NOT_UTF8)
        buffer_text(out, "\xef\xbf\xbd"); /* U+FFFD */
    else if (code < 0x10000)
        buffer_format(out, "\\u%04x", code);
    else /* a surrogate pair, RFC 8259 section 7 */
        buffer_format(out, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
}

/* Past the bytes that no language escapes: of most texts, all. Eight at a time: a byte is plain if
 * its highest bit is unset, and it is neither below ' ' nor one of three. */
static void skip_plain(struct span *text)
{
    const uint64_t each = UINT64_C(0x0101010101010101), high = each << 7;
    size_t i = 0;

    for (uint64_t word; text->len - i >= sizeof(word); i += sizeof(word)) {
        uint64_t quotes, slashes, deletes;

        memcpy(&word, text->data + i, sizeof(word));
        quotes = word ^ each * '"';
        slashes = word ^ each * '\\';
        deletes = word ^ each * 0x7f;
        if (((word - each * ' ') | (quotes - each) | (slashes - each) | (deletes - each) | word) &
            high)
            break;
    }
    while (i < text->len && text->data[i] >= ' ' && text->data[i] < 0x7f && text->data[i] != '"' &&
           text->data[i] != '\\')
        i++;
    text->data += i;
    text->len -= i;
}

static void quote(struct buffer *out, struct span text, bool go)
{
    const uint8_t *copied = text.data; /* everything before it is in out */

    buffer_append(out, "\"", 1);
    for (skip_plain(&text); text.len; skip_plain(&text)) {
        const uint8_t *at = text.data;
        uint32_t code = next_code(&text);
        char letter = short_escape(code, go);

        if (!letter && code != NOT_UTF8 && printable(code))
            continue;
        buffer_append(out, copied, (size_t)(at - copied));
        copied = text.data;
        if (letter)
            buffer_append(out, (const char[]){'\\', letter}, 2);
        else if (go)
            escape_go(out, code, *at);
        else
            escape_json(out, code);
    }
    buffer_append(out, copied, (size_t)(text.data - copied));
    buffer_append(out, "\"", 1);
}

void quote_text(struct buffer *out, struct span text)
{
    if (needs_quotes(text))
        quote(out, text, true);
    else
        buffer_append(out, text.data, text.len);
}

void quote_json(struct buffer *out, struct span text)
{
    quote(out, text, false);
}
