#include "policy/jwt.h"

#include <string.h>

#include "base/cleanup.h"

enum { FIRST_SIZE = 2048 };

/* ---- what one says ---- */

static const int8_t base64url[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* The object in a part; NULL: there is none. */
static json_t *object(struct span part)
{
    CLEANUP(text_free) char *text = malloc(part.len * 3 / 4 + 1);
    uint32_t bits = 0;
    size_t len = 0;
    json_t *value;

    if (!text || part.len % 4 == 1)
        return NULL;
    for (size_t i = 0; i < part.len; i++) {
        int digit = base64url[part.data[i]];

        if (!digit)
            return NULL;
        bits = bits << 6 | (uint32_t)(digit - 1);
        if (i % 4)
            text[len++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    value = json_loadb(text, len, 0, NULL);
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

json_t *jwt_claims(struct span text)
{
    const uint8_t *dot = text.len ? memchr(text.data, '.', text.len) : NULL, *end;
    struct span rest;
    json_t *header, *claims = NULL;

    if (!dot || text.len > JWT_MAX)
        return NULL;
    rest = span_of(dot + 1, text.len - (size_t)(dot + 1 - text.data));
    end = rest.len ? memchr(rest.data, '.', rest.len) : NULL;
    if (end)
        rest.len = (size_t)(end - rest.data);
    header = object(span_of(text.data, (size_t)(dot - text.data)));
    if (header && json_is_string(json_object_get(header, "alg")))
        claims = object(rest);
    json_decref(header);
    return claims;
}

/* ---- where one is ---- */

void jwt_fini(struct jwt *jwt)
{
    free(TAKE(jwt->text));
}

/* What is too long with the part before is looked at without it. False: no memory. */
static bool put(struct jwt *jwt, struct span bytes)
{
    size_t size = jwt->size ? jwt->size : FIRST_SIZE;
    uint8_t *text;

    if (bytes.len > JWT_MAX - jwt->len && jwt->dot) {
        jwt->len -= jwt->dot + 1;
        memmove(jwt->text, jwt->text + jwt->dot + 1, jwt->len);
        jwt->dot = 0;
    }
    if (bytes.len > JWT_MAX - jwt->len) {
        jwt->overlong = true;
        return true;
    }
    while (size < jwt->len + bytes.len)
        size *= 2;
    if (size > jwt->size) {
        text = realloc(jwt->text, size);
        if (!text)
            return false;
        jwt->text = text;
        jwt->size = size;
    }
    if (bytes.len)
        memcpy(jwt->text + jwt->len, bytes.data, bytes.len);
    jwt->len += bytes.len;
    return true;
}

static void begin_run(struct jwt *jwt)
{
    jwt->running = true;
    jwt->overlong = false;
    jwt->len = jwt->dot = 0;
}

void jwt_begin(struct jwt *jwt, uint64_t end)
{
    if (jwt->running || jwt->failed || end < jwt->done + 3)
        return;
    begin_run(jwt);
    jwt->failed = !put(jwt, BYTES("eyJ"));
    jwt->running = !jwt->failed;
    jwt->done = end;
}

/* Two parts are whole, the dot behind them is the last byte of text. */
static bool judge(const struct jwt *jwt, jwt_on_found *on_found, void *arg)
{
    const uint8_t *begin = memmem(jwt->text, jwt->dot, "eyJ", 3);
    struct span text;
    json_t *claims;

    if (!begin)
        return true;
    text = span_of(begin, jwt->len - (size_t)(begin - jwt->text));
    claims = jwt_claims(text);
    json_decref(claims);
    return !claims || on_found(text, jwt->done - text.len, arg);
}

/* A dot: of the parts before it, the last may be another one's header. */
static bool end_part(struct jwt *jwt, jwt_on_found *on_found, void *arg)
{
    size_t behind;
    bool go_on;

    jwt->failed = !jwt->overlong && !put(jwt, BYTES("."));
    if (jwt->failed || jwt->overlong) {
        begin_run(jwt);
        return true;
    }
    go_on = !jwt->dot || judge(jwt, on_found, arg);
    behind = jwt->dot ? jwt->dot + 1 : 0;
    jwt->len -= behind;
    memmove(jwt->text, jwt->text + behind, jwt->len);
    jwt->dot = jwt->len - 1;
    return go_on;
}

bool jwt_feed(struct jwt *jwt, struct span bytes, jwt_on_found *on_found, void *arg)
{
    size_t at = 0, from;

    while (jwt->running && at < bytes.len) {
        for (from = at; at < bytes.len && base64url[bytes.data[at]]; at++)
            ;
        jwt->done += at - from;
        if (!jwt->overlong && !put(jwt, span_of(bytes.data + from, at - from)))
            jwt->failed = true;
        if (at == bytes.len)
            break;
        jwt->running = bytes.data[at++] == '.' && !jwt->failed;
        if (!jwt->running)
            break;
        jwt->done++;
        if (!end_part(jwt, on_found, arg))
            return false;
    }
    return true;
}

bool jwt_scan(struct span text, jwt_on_found *on_found, void *arg)
{
    CLEANUP(jwt_fini) struct jwt jwt = {0};
    const uint8_t *begin;
    bool go_on = true;

    while (go_on && !jwt.failed) {
        begin = memmem(text.data + jwt.done, text.len - jwt.done, "eyJ", 3);
        if (!begin)
            break;
        jwt_begin(&jwt, (uint64_t)(begin - text.data) + 3);
        go_on = jwt_feed(&jwt, span_of(text.data + jwt.done, text.len - jwt.done), on_found, arg);
        jwt.running = false;
    }
    return go_on && !jwt.failed;
}

static bool mask(struct span text, uint64_t offset, void *arg)
{
    uint8_t *at = (uint8_t *)arg + offset;
    size_t len = text.len;

    while (base64url[at[len]])
        len++;
    memset(at, '*', len);
    return true;
}

void jwt_mask(char *text)
{
    if (strstr(text, "eyJ") && !jwt_scan(span_of_text(text), mask, text))
        text[0] = 0; /* no memory to tell what is in it */
}
