#include "policy/literal.h"

#include <string.h>

/* Behind a bracket expression; NULL: it is not one that every reader understands alike. */
static const char *skip_bracket(const char *at)
{
    at++;
    if (*at == '^')
        at++;
    if (*at == ']')
        at++;
    while (*at && *at != ']') {
        if (*at == '\\' || *at == '[')
            return NULL;
        at++;
    }
    return *at ? at + 1 : NULL;
}

/* Behind a group, whatever is in it. */
static const char *skip_group(const char *at)
{
    size_t depth = 0;

    do {
        if (*at == '\\' && at[1]) {
            at += 2;
        } else if (*at == '[') {
            if (!(at = skip_bracket(at)))
                return NULL;
        } else {
            depth += *at == '(';
            depth -= *at == ')';
            at++;
        }
    } while (depth && *at);
    return depth ? NULL : at;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* One piece of an alternative: one byte that must stand there, or *byte 0: anything. Returns what
 * is behind it; NULL: not understood. */
static const char *take_piece(const char *at, char *byte)
{
    *byte = 0;
    if (*at == '(')
        return at[1] == '?' ? NULL : skip_group(at);
    if (*at == ')')
        return NULL;
    if (*at == '[') {
        if (at[1] != '^' && at[1] != '[' && at[1] != '\\' && at[1] > 0 && at[1] != ']' &&
            at[2] == ']') {
            *byte = at[1];
            return at + 3;
        }
        return skip_bracket(at);
    }
    if (*at == '\\') {
        if (!at[1])
            return NULL;
        if (is_alphanumeric(at[1]))
            return strchr("dDwWsS", at[1]) ? at + 2 : NULL;
        *byte = at[1] > ' ' ? at[1] : 0;
        return at + 2;
    }
    if (*at >= ' ' &&
        !strchr(".^$*+?{}", *at)) /* a character of several bytes counts as anything */
        *byte = *at;
    return at + 1;
}

/* What comes here could be anything. What came before, behind something like it, is within. */
static void add_anything(struct literal *out)
{
    size_t len = out->tail_len < LITERAL_INNER ? out->tail_len : LITERAL_INNER;

    if (!out->whole && len > out->inner_len) {
        memcpy(out->inner, out->tail + out->tail_len - len, len);
        out->inner_len = len;
    }
    out->whole = false;
    out->tail_len = 0;
}

static void add_byte(struct literal *out, char byte)
{
    if (out->whole && out->head_len < LITERAL_MAX)
        out->head[out->head_len++] = byte;
    else
        out->whole = false;
    if (out->tail_len == LITERAL_MAX)
        memmove(out->tail, out->tail + 1, --out->tail_len);
    out->tail[out->tail_len++] = byte;
}

/* Over what says how often a piece stands there. NULL: not understood. */
static const char *skip_count(const char *at, bool *once_or_more, bool *counted)
{
    const char *begin = at;

    while (*at && strchr("*+?{", *at)) {
        if (*at == '{' && !(at = strchr(at, '}')))
            return NULL;
        at++;
    }
    *counted = at > begin;
    *once_or_more = at == begin + 1 && *begin == '+';
    return at;
}

static const char *take_alternative(const char *at, struct literal *out)
{
    if (*at == '^')
        at++;
    while (*at && *at != '|') {
        bool more, counted;
        char byte;

        if (*at == '$' && (!at[1] || at[1] == '|')) {
            at++;
            break;
        }
        if (!(at = take_piece(at, &byte)) || !(at = skip_count(at, &more, &counted)))
            return NULL;
        if (byte && (!counted || more))
            add_byte(out, byte);
        if (!byte || counted)
            add_anything(out);
        if (byte && more)
            add_byte(out, byte);
    }
    return at;
}

bool literal_next(const char **at, struct literal *out)
{
    const char *next = *at;

    *out = (struct literal){.whole = true};
    if (!next)
        return false;
    *at = NULL;
    if (!(next = take_alternative(next, out)))
        *out = (struct literal){0}; /* nor are the alternatives behind it */
    else if (*next == '|')
        *at = next + 1;
    return true;
}

void literal_of_pattern(const char *pattern, struct literal *out)
{
    size_t len = strlen(pattern);

    *out = (struct literal){.whole = true};
    for (size_t i = 0; i < len; i++) {
        if (pattern[i] == '*')
            add_anything(out);
        else
            add_byte(out, pattern[i]);
    }
}
