/* http1_head: questions to a head that http1.c accepted, and to bytes that may begin one. */
#include "proxy/wire/http1.h"

#include <llhttp.h>

#include "base/cleanup.h"
#include "proxy/wire/authority.h"
#include "proxy/wire/http1_guard.h"

bool http1_find(const struct http1_head *head, const uint8_t *base, const char *name,
                struct span *value)
{
    for (size_t i = 0; i < head->fields_len; i++) {
        const struct http1_field *field = &head->fields[i];

        if (span_equal_nocase(span_of(base + field->name_at, field->name_len), name)) {
            *value = span_of(base + field->value_at, field->value_len);
            return true;
        }
    }
    return false;
}

bool http1_authority_parts(const struct http1_head *head, const uint8_t *base,
                           struct authority_parts *out)
{
    struct span target = span_of(base + head->target_at, head->target_len);
    bool connect = span_equal(span_of(base + head->method_at, head->method_len), BYTES("CONNECT"));
    struct span text;

    if (!authority_in_target(target, connect, &text) && !http1_find(head, base, "host", &text))
        return false;
    return authority_parse(text, out);
}

bool http1_authority(const struct http1_head *head, const uint8_t *base, char *out, size_t size)
{
    struct authority_parts authority;

    return http1_authority_parts(head, base, &authority) &&
           span_to_text(span_of_text(authority.host), out, size);
}

/* ---- is this HTTP/1? ---- */

#define METHOD(number, name, string) #string,
static const char *const methods[] = {HTTP_METHOD_MAP(METHOD)};
#undef METHOD

/* 1: bytes begin with text, in capitals or not; -1: too few to say, but they agree so far; 0: they
 * do not. */
static int begins_with_nocase(struct span bytes, const char *text)
{
    char begun[16] = "";
    size_t len = strlen(text), common = bytes.len < len ? bytes.len : len;

    memcpy(begun, text, common);
    if (!span_equal_nocase(span_of(bytes.data, common), begun))
        return 0;
    return common == len ? 1 : -1;
}

/* Other text protocols share methods with HTTP (RTSP, SIP, redis), but not what a target looks
 * like. NATS' CONNECT is followed by JSON. */
static int begins_target(struct span bytes, bool connect)
{
    static const char *const forms[] = {"/", "* HTTP/", "http://", "https://"};
    int result = 0;

    if (!bytes.len)
        return -1;
    if (connect)
        return bytes.data[0] > ' ' && bytes.data[0] != '{';
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        int form = begins_with_nocase(bytes, forms[i]);

        if (form > 0)
            return 1;
        result |= form;
    }
    return result;
}

/* Where lenient servers part the words of a request line: the standard's blank, what it lets them
 * take for one (RFC 9112 section 3), and what Python's split() takes besides. */
static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || (c >= 0x1c && c <= 0x1f) ||
           c == 0x85 || c == 0xa0;
}

static struct span behind_blanks(struct span bytes)
{
    while (bytes.len && is_blank(bytes.data[0]))
        bytes = span_of(bytes.data + 1, bytes.len - 1);
    return bytes;
}

/* Servers skip empty lines before a request (RFC 9112 section 2.2), some of them blanks, too. */
static struct span behind_empty_lines(struct span bytes)
{
    while (bytes.len && (is_blank(bytes.data[0]) || bytes.data[0] == '\r' || bytes.data[0] == '\n'))
        bytes = span_of(bytes.data + 1, bytes.len - 1);
    return bytes;
}

/* The longest that IANA lists has 17. What is longer may be of a body, which is never told. */
enum { METHOD_TOLD_MAX = 32 };

/* Takes the bytes up to the next blank or control byte off the front. */
static struct span take_word(struct span *bytes)
{
    size_t len = 0;

    while (len < bytes->len && bytes->data[len] > ' ' && !is_blank(bytes->data[len]))
        len++;
    *bytes = span_of(bytes->data + len, bytes->len - len);
    return span_of(bytes->data - len, len);
}

void http1_words(struct span bytes, struct span *method, struct span *target)
{
    bytes = behind_empty_lines(bytes);
    *method = take_word(&bytes);
    *target = span_of(NULL, 0);
    if (method->len > METHOD_TOLD_MAX) {
        *method = span_of(NULL, 0);
        return;
    }
    bytes = behind_blanks(bytes);
    *target = take_word(&bytes);
}

/* What no known method and target tell, the whole request line does: a server may know it, so it
 * must reach the parser (which refuses it) and not pass as some other protocol. */
static int begins_unknown(struct span bytes)
{
    static const char version[] = "HTTP/1"; /* 2 is another protocol: RFC 9113 section 3.4 */

    bytes = behind_blanks(bytes);
    take_word(&bytes);
    if (bytes.len && !is_blank(bytes.data[0]))
        return 0;
    return begins_with_nocase(behind_blanks(bytes), version);
}

static bool is_known(struct span method)
{
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (span_equal(method, span_of_text(methods[i])))
            return true;
    return false;
}

int http1_looks_like_request(struct span bytes)
{
    struct span method, rest;
    size_t at = 0;
    int target;

    bytes = behind_empty_lines(bytes);
    while (at < bytes.len && http1_is_tchar(bytes.data[at]))
        at++;
    if (at == bytes.len)
        return -1;
    if (at == 0 || !is_blank(bytes.data[at]))
        return 0;
    method = span_of(bytes.data, at);
    rest = span_of(bytes.data + at + 1, bytes.len - at - 1);
    if (!is_known(method))
        return begins_unknown(rest);
    if (bytes.data[at] != ' ' || (rest.len && is_blank(rest.data[0])))
        return 1;
    target = begins_target(rest, span_equal(method, BYTES("CONNECT")));
    return target ? target : begins_unknown(rest);
}
