/* redact_arguments: secrets in a command line, by the shapes in which they are usually given.
 *
 * The line is one text: arguments joined by blanks, in quotes where they have one, and nothing
 * inside them escaped. So where a value ends is a guess, and guesses go the safe way: rather too
 * much is hidden than a piece of a secret left. What follows is searched from run to run of the
 * characters that names are made of:
 *   https://user:pw@host        user information of a URL; the rest of the URL stays
 *   Authorization: Bearer x     a name of a secret (redact_header) with ':' or '=' behind it
 *   --password=x  TOKEN=x  "api_key": "x"
 *   --password x                the same as an option, with its value as the next argument
 *   -u user:pw  --user user:pw  what stands behind the colon */
#include "events/redact.h"

#include <string.h>

#include "base/cleanup.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._"
#define BLANKS     " \t\n\r"
#define ENDS       BLANKS "\"'\\" /* behind a quote: it ended its argument */

/* What is hidden next: from a place on, and up to another. */
struct secret {
    const char *from, *to;
};

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* The end of what the quote at `open` opened, looked for from `from` on: the next such quote that
 * has one of `behind` behind it, or the end of the text, where the line was cut. A quote that a
 * shell's script or JSON escapes is closed by one that is escaped as well. */
static const char *find_closing(const char *text, const char *open, const char *from,
                                const char *behind)
{
    bool escaped = open > text && open[-1] == '\\';

    for (; *from; from++) {
        if (*from != *open || (from[-1] == '\\') != escaped)
            continue;
        while (from[1] == *open) /* of a value that ends in a quote of its own */
            from++;
        if (!from[1] || strchr(behind, from[1]))
            return from - escaped;
    }
    return from;
}

/* The end of a value that is not in quotes of its own, nor is its name. */
static const char *find_end(const char *value, const char *stops)
{
    const char *end = value + strcspn(value, stops);

    while (end > value && is_quote(end[-1])) /* they close what is around it */
        end--;
    return end;
}

/* The value of the secret whose name is this run of text, the line: behind a colon or an equals
 * sign. */
static bool find_value(const char *text, const char *name, size_t len, struct secret *out)
{
    const char *after = name + len + strspn(name + len, "\\\"'"); /* "password": in JSON */
    bool quoted_name = after > name + len, far;

    if ((*after != ':' && *after != '=') || !redact_name(name, len))
        return false;
    far = after[0] == ':' && after[1] == ' '; /* "Authorization: Bearer x" goes on past blanks */
    after += 1 + strspn(after + 1, far ? " \\" : "\\");
    out->from = after;
    if (!quoted_name && name > text && is_quote(name[-1]))
        out->to = find_closing(text, name - 1, after, ENDS);
    else if (is_quote(*after))
        out->to = find_closing(text, after, ++out->from, ENDS ",}]");
    else
        out->to = find_end(after, far && !quoted_name ? "\"'\r\n" : BLANKS);
    return out->to > out->from;
}

static bool begins_argument(const char *text, const char *at)
{
    return at == text || strchr(BLANKS "\"'", at[-1]);
}

/* The argument behind this place, without quotes; false when there is none, or another option. */
static bool find_next(const char *text, const char *after, struct secret *out)
{
    size_t blanks = strspn(after, BLANKS);

    out->from = after + blanks;
    if (!blanks || !*out->from || *out->from == '-')
        return false;
    if (is_quote(*out->from)) {
        out->from++;
        out->to = find_closing(text, out->from - 1, out->from, ENDS);
    } else {
        out->to = find_end(out->from, BLANKS);
    }
    return out->to > out->from;
}

static bool ends_with(const char *name, size_t len, const char *tail)
{
    size_t tail_len = strlen(tail);

    return len >= tail_len && memcmp(name + len - tail_len, tail, tail_len) == 0;
}

/* "--token-file F", "--password-stdin HOST": what follows is no secret itself. */
static bool names_a_place(const char *name, size_t len)
{
    return ends_with(name, len, "file") || ends_with(name, len, "path") ||
           ends_with(name, len, "dir") || ends_with(name, len, "jar") ||
           ends_with(name, len, "stdin");
}

/* The password of "-u me:pw", "-sSu me:pw", "-ume:pw", "--user me:pw", "--proxy-user=me:pw". */
static bool find_login(const char *text, const char *name, size_t len, struct secret *out)
{
    const char *colon;

    if (name[1] == '-') {
        if (!ends_with(name, len, "-user"))
            return false;
        if (name[len] == '=') {
            out->from = name + len + 1;
            out->to = find_end(out->from, BLANKS);
        } else if (!find_next(text, name + len, out)) {
            return false;
        }
    } else if (name[len - 1] == 'u' || name[len - 1] == 'U') {
        if (!find_next(text, name + len, out))
            return false;
    } else if (name[1] == 'u' || name[1] == 'U') {
        out->from = name + 2;
        out->to = find_end(out->from, BLANKS);
    } else {
        return false;
    }
    colon = memchr(out->from, ':', (size_t)(out->to - out->from));
    if (!colon)
        return false;
    out->from = colon + 1;
    return out->to > out->from;
}

static bool find_option(const char *text, const char *name, size_t len, struct secret *out)
{
    if (*name != '-' || len < 2 || !begins_argument(text, name))
        return false;
    if (find_login(text, name, len, out))
        return true;
    if (len == 2 && name[1] == 'b') /* curl's cookies; without '=' it is a file of them */
        return find_next(text, name + len, out) &&
               memchr(out->from, '=', (size_t)(out->to - out->from));
    return redact_name(name, len) && !names_a_place(name, len) &&
           find_next(text, name + len, out) &&
           !memmem(out->from, (size_t)(out->to - out->from), "://", 3);
}

/* Where the URL whose authority begins here ends; *out is its user information, if it has any. */
static const char *find_user(const char *authority, struct secret *out)
{
    *out = (struct secret){authority, memrchr(authority, '@', strcspn(authority, "/?#\"" BLANKS))};
    return authority + strcspn(authority, "\"'" BLANKS);
}

const char *redact_arguments(const char *text, struct buffer *storage)
{
    const char *at = text, *copied = text; /* what lies before copied is in storage */

    while (*at) {
        size_t len = strspn(at, NAME_CHARS);
        const char *next = at + (len ? len : 1);
        struct secret secret = {0};

        if (len && strncmp(at + len, "://", 3) == 0)
            next = find_user(at + len + 3, &secret); /* the query stays, as that of a request */
        else if (!len ||
                 (!find_value(text, at, len, &secret) && !find_option(text, at, len, &secret)))
            secret.to = NULL;
        if (secret.to) {
            buffer_append(storage, copied, (size_t)(secret.from - copied));
            buffer_text(storage, REDACTED);
            copied = secret.to;
        }
        at = copied > next ? copied : next;
    }
    if (copied == text)
        return text;
    buffer_append(storage, copied, strlen(copied) + 1);
    return storage->failed ? "" : storage->data;
}
