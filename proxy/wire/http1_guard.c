#include "proxy/wire/http1_guard.h"

#include <string.h>

enum { CHUNK_SIZE_DIGITS = 16, VERSION_LEN = sizeof("HTTP/1.1") - 1, CODE_AT = VERSION_LEN + 1 };

void http1_guard_begin(struct http1_guard *guard, enum http1_section section, size_t most)
{
    *guard = (struct http1_guard){.section = section, .left = most};
}

static bool refuse(struct http1_guard *guard, const char *reason)
{
    guard->reason = reason;
    return false;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* RFC 9110 section 5.5: nothing below a blank but the tab, and no DEL. */
static bool is_control(uint8_t c)
{
    return (c < ' ' && c != '\t') || c == 0x7f;
}

static bool version_byte(struct http1_guard *guard, uint8_t c, size_t at)
{
    if (at < VERSION_LEN - 1 ? c == "HTTP/1."[at] : (c == '0' || c == '1'))
        return true;
    return refuse(guard,
                  at < 5 ? "a protocol other than HTTP" : "an HTTP version other than 1.0 and 1.1");
}

/* method SP target SP version, one blank each (RFC 9112 section 3). */
static bool request_line_byte(struct http1_guard *guard, uint8_t c)
{
    size_t at = guard->column - guard->part_at;

    if (c == '\r') {
        if (guard->column == 0 || (guard->part == 2 && at == VERSION_LEN))
            return true;
        return refuse(guard, "a request line without an HTTP version");
    }
    if (c == '\t')
        return refuse(guard, "a tab in the request line");
    if (guard->part == 2)
        return at < VERSION_LEN ? version_byte(guard, c, at)
                                : refuse(guard, "bytes behind the HTTP version");
    if (c != ' ')
        return true;
    if (at == 0)
        return refuse(guard, "a blank too many in the request line");
    guard->part++;
    guard->part_at = guard->column + 1;
    return true;
}

/* version SP 3DIGIT [SP reason]: many servers leave the last blank out with the reason. */
static bool status_line_byte(struct http1_guard *guard, uint8_t c)
{
    size_t at = guard->column;

    if (at < VERSION_LEN)
        return version_byte(guard, c, at);
    if (at < CODE_AT)
        return c == ' ' || refuse(guard, "a malformed status line");
    if (at < CODE_AT + 3) /* 0xx is no class of answer */
        return (is_digit(c) && (at > CODE_AT || c != '0')) ||
               refuse(guard, "a malformed status code");
    return at > CODE_AT + 3 || c == ' ' || c == '\r' || refuse(guard, "a malformed status code");
}

static bool field_byte(struct http1_guard *guard, uint8_t c)
{
    if (guard->colon)
        return true;
    switch (c) {
    case ' ':
    case '\t':
        if (guard->column)
            return refuse(guard, "a blank in a field name");
        return refuse(guard, guard->lines ? "a folded field" : "a blank before the first field");
    case ':':
        guard->colon = true;
        return guard->column > 0 || refuse(guard, "an empty field name");
    case '\r':
        return guard->column == 0 || refuse(guard, "a field without a colon");
    }
    return true;
}

bool http1_is_tchar(uint8_t c)
{
    return c > ' ' && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

/* What a byte of a chunk line belongs to: guard->part. */
enum {
    CHUNK_SIZE,
    CHUNK_OTHER, /* the line's end, or llhttp refuses it */
    EXTENSION,
    EXTENSION_NAME,
    EXTENSION_VALUE,
    EXTENSION_TOKEN,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPED,
    EXTENSION_ENDS,
};

/* A byte that may stand for the current part, and the part it leads to; -1: it may not. No blanks
 * around '=' and ';', which RFC 9112 section 7.1.1 calls bad. */
static int extension_leads(int part, uint8_t c)
{
    switch (part) {
    case EXTENSION:
        return http1_is_tchar(c) ? EXTENSION_NAME : -1;
    case EXTENSION_VALUE:
        return c == '"' ? EXTENSION_QUOTED : http1_is_tchar(c) ? EXTENSION_TOKEN : -1;
    case EXTENSION_QUOTED:
        return c == '"'    ? EXTENSION_ENDS
               : c == '\\' ? EXTENSION_ESCAPED
               : c == '\r' ? -1
                           : EXTENSION_QUOTED;
    case EXTENSION_ESCAPED:
        return c == '\r' ? -1 : EXTENSION_QUOTED;
    }
    if (c == ';' || c == '\r')
        return c == ';' ? EXTENSION : CHUNK_OTHER;
    if (part == EXTENSION_NAME && c == '=')
        return EXTENSION_VALUE;
    return part != EXTENSION_ENDS && http1_is_tchar(c) ? part : -1;
}

/* Overlong sizes overflow in some readers; the digits themselves are llhttp's to judge. Extensions
 * are ours: llhttp 8 takes no second one behind a token. */
static bool chunk_line_byte(struct http1_guard *guard, uint8_t c)
{
    int leads;

    switch (guard->part) {
    case CHUNK_SIZE:
        if (is_hex(c))
            return guard->column < CHUNK_SIZE_DIGITS || refuse(guard, "an overlong chunk size");
        guard->part = c == ';' ? EXTENSION : CHUNK_OTHER;
        return guard->column > 0 || c != ';' || refuse(guard, "an invalid chunk size");
    case CHUNK_OTHER:
        return true;
    }
    leads = extension_leads(guard->part, c);
    if (leads < 0)
        return refuse(guard, "a malformed chunk extension");
    guard->part = (uint8_t)leads;
    return true;
}

static bool line_byte(struct http1_guard *guard, uint8_t c)
{
    if (guard->cr)
        return c == '\n' || refuse(guard, "a CR without its LF");
    if (c == '\n')
        return refuse(guard, "an LF without its CR");
    if (is_control(c) && c != '\r')
        return refuse(guard, "a control byte");
    switch (guard->section) {
    case HTTP1_REQUEST_LINE:
        return request_line_byte(guard, c);
    case HTTP1_STATUS_LINE:
        return status_line_byte(guard, c);
    case HTTP1_FIELDS:
        return field_byte(guard, c);
    case HTTP1_CHUNK_LINE:
        return chunk_line_byte(guard, c);
    }
    return false;
}

/* Where a byte is so plain that no rule above looks at it: nearly all of a head. */
enum { IN_VALUE = 1, IN_NAME = 2, IN_TARGET = 4, ANYWHERE = 7 };

static const uint8_t plain[256] = {
    ['\t'] = IN_VALUE,        [' '] = IN_VALUE,
    ['!' ... '9'] = ANYWHERE, [':'] = IN_VALUE | IN_TARGET,
    [';' ... '~'] = ANYWHERE, [0x80 ... 0xff] = ANYWHERE,
};

static size_t plain_bytes(const struct http1_guard *guard, const uint8_t *data, size_t len)
{
    uint8_t where = 0;
    size_t n = 0;

    if (guard->section == HTTP1_FIELDS && !guard->cr)
        where = guard->colon ? IN_VALUE : IN_NAME;
    else if (guard->section == HTTP1_REQUEST_LINE && guard->part == 1)
        where = IN_TARGET; /* no CR may stand behind it */
    if (len > guard->left)
        len = guard->left;
    while (n < len && plain[data[n]] & where)
        n++;
    return n;
}

/* Says whether the line that just ended ends its section. */
static bool line_ends(struct http1_guard *guard)
{
    bool blank = guard->column == sizeof("\r\n") - 1;

    guard->column = 0;
    guard->colon = false;
    if (guard->section == HTTP1_REQUEST_LINE && blank)
        return false;
    guard->lines++;
    return guard->section != HTTP1_FIELDS || blank;
}

static const char *too_long(enum http1_section section)
{
    return section == HTTP1_CHUNK_LINE ? "an overlong chunk line" : "a head over its limit";
}

enum http1_guard_verdict http1_guard_scan(struct http1_guard *guard, struct span bytes,
                                          size_t *taken)
{
    *taken = 0;
    for (;;) {
        size_t n = plain_bytes(guard, bytes.data + *taken, bytes.len - *taken);
        uint8_t c;

        *taken += n;
        guard->left -= n;
        guard->column += n;
        if (*taken == bytes.len)
            return HTTP1_GUARD_MORE;
        c = bytes.data[*taken];
        if (!guard->left) {
            guard->reason = too_long(guard->section);
            return HTTP1_GUARD_BAD;
        }
        if (!line_byte(guard, c))
            return HTTP1_GUARD_BAD;
        ++*taken;
        guard->left--;
        guard->cr = c == '\r';
        guard->column++;
        if (c == '\n' && line_ends(guard))
            return HTTP1_GUARD_END;
    }
}
