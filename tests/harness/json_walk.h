/* json_walk: a strict reader of JSON (RFC 8259) for tests, which owes nothing to what it tests.
 *
 * Tells each value with the path of its keys, "process.ns.pid.inum", "headers[].key", the
 * containers before what is in them. Texts must be UTF-8, and may not hold what JSON must escape.
 */
#pragma once

#include <stdio.h>

#include "base/span.h"

enum json_kind { JSON_TEXT, JSON_NUMBER, JSON_FLAG, JSON_NULL, JSON_OBJECT, JSON_ARRAY };

struct json_walk {
    const uint8_t *at, *end;
    void (*found)(void *arg, const char *path, enum json_kind kind, struct span value);
    void *arg;
    unsigned depth;
    char path[512];
};

enum { JSON_DEPTH_MAX = 16 };

static inline bool json_take(struct json_walk *walk, char c)
{
    if (walk->at == walk->end || *walk->at != (uint8_t)c)
        return false;
    walk->at++;
    return true;
}

/* One code point of more than a byte, RFC 3629 section 4. */
static inline bool json_take_utf8(struct json_walk *walk)
{
    uint8_t first = *walk->at, low = 0x80, high = 0xbf;
    size_t more;

    if (first >= 0xc2 && first <= 0xdf)
        more = 1;
    else if (first >= 0xe0 && first <= 0xef)
        more = 2;
    else if (first >= 0xf0 && first <= 0xf4)
        more = 3;
    else
        return false;
    if (first == 0xe0)
        low = 0xa0; /* not overlong */
    else if (first == 0xed)
        high = 0x9f; /* no surrogates */
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f; /* not past U+10FFFF */
    if ((size_t)(walk->end - walk->at) <= more)
        return false;
    for (size_t i = 1; i <= more; i++, low = 0x80, high = 0xbf)
        if (walk->at[i] < low || walk->at[i] > high)
            return false;
    walk->at += more + 1;
    return true;
}

static inline bool json_take_escape(struct json_walk *walk)
{
    if (walk->at == walk->end || !*walk->at || !strchr("\"\\/bfnrtu", *walk->at))
        return false;
    if (*walk->at++ != 'u')
        return true;
    for (int i = 0; i < 4; i++, walk->at++)
        if (walk->at == walk->end || !*walk->at ||
            !strchr("0123456789abcdefABCDEF", (char)*walk->at))
            return false;
    return true;
}

/* *out: what is between the quotes, escapes as they are. */
static inline bool json_take_text(struct json_walk *walk, struct span *out)
{
    const uint8_t *start;

    if (!json_take(walk, '"'))
        return false;
    start = walk->at;
    while (walk->at < walk->end && *walk->at != '"') {
        if (*walk->at < 0x20)
            return false;
        if (json_take(walk, '\\')) {
            if (!json_take_escape(walk))
                return false;
        } else if (*walk->at < 0x80) {
            walk->at++;
        } else if (!json_take_utf8(walk)) {
            return false;
        }
    }
    *out = span_of(start, (size_t)(walk->at - start));
    return json_take(walk, '"');
}

static inline bool json_take_digits(struct json_walk *walk)
{
    const uint8_t *start = walk->at;

    while (walk->at < walk->end && *walk->at >= '0' && *walk->at <= '9')
        walk->at++;
    return walk->at > start;
}

static inline bool json_take_number(struct json_walk *walk)
{
    json_take(walk, '-');
    if (!json_take(walk, '0') && !json_take_digits(walk))
        return false;
    if (json_take(walk, '.') && !json_take_digits(walk))
        return false;
    if (!json_take(walk, 'e') && !json_take(walk, 'E'))
        return true;
    if (!json_take(walk, '+'))
        json_take(walk, '-');
    return json_take_digits(walk);
}

static inline bool json_take_word(struct json_walk *walk, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(walk->end - walk->at) < len || memcmp(walk->at, word, len) != 0)
        return false;
    walk->at += len;
    return true;
}

static inline bool json_take_value(struct json_walk *walk);

/* A value whose path is the present one with this behind it. */
static inline bool json_take_below(struct json_walk *walk, const char *joint, struct span key)
{
    size_t len = strlen(walk->path);
    int n = snprintf(walk->path + len, sizeof(walk->path) - len, "%s%.*s", len ? joint : "",
                     (int)key.len, (const char *)key.data);
    bool fits = n >= 0 && (size_t)n < sizeof(walk->path) - len && walk->depth < JSON_DEPTH_MAX;

    walk->depth++;
    fits = fits && json_take_value(walk);
    walk->depth--;
    walk->path[len] = 0;
    return fits;
}

static inline bool json_take_members(struct json_walk *walk, char close)
{
    if (json_take(walk, close))
        return true;
    do {
        struct span key = BYTES("");

        if (close == '}' && (!json_take_text(walk, &key) || !json_take(walk, ':')))
            return false;
        if (!json_take_below(walk, close == '}' ? "." : "[]", key))
            return false;
    } while (json_take(walk, ','));
    return json_take(walk, close);
}

static inline void json_tell(const struct json_walk *walk, enum json_kind kind, struct span value)
{
    if (walk->found)
        walk->found(walk->arg, walk->path, kind, value);
}

static inline bool json_take_value(struct json_walk *walk)
{
    const uint8_t *start = walk->at;
    struct span value = span_of(start, 0);
    enum json_kind kind = JSON_NULL;

    if (json_take(walk, '{')) {
        json_tell(walk, JSON_OBJECT, value);
        return json_take_members(walk, '}');
    }
    if (json_take(walk, '[')) {
        json_tell(walk, JSON_ARRAY, value);
        return json_take_members(walk, ']');
    }
    if (walk->at < walk->end && *walk->at == '"') {
        if (!json_take_text(walk, &value))
            return false;
        json_tell(walk, JSON_TEXT, value);
        return true;
    }
    if (json_take_word(walk, "true") || json_take_word(walk, "false"))
        kind = JSON_FLAG;
    else if (!json_take_word(walk, "null")) {
        if (!json_take_number(walk))
            return false;
        kind = JSON_NUMBER;
    }
    json_tell(walk, kind, span_of(start, (size_t)(walk->at - start)));
    return true;
}

/* Whether text is one value and nothing else, not even blanks: our lines have none. found may be
 * NULL. */
static inline bool json_walk(struct span text,
                             void (*found)(void *arg, const char *path, enum json_kind kind,
                                           struct span value),
                             void *arg)
{
    struct json_walk walk = {
        .at = text.data, .end = text.data + text.len, .found = found, .arg = arg};

    return json_take_value(&walk) && walk.at == walk.end;
}
