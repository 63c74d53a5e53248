#include "events/redact.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

/* Parts of header names, "-" standing for "_" too, by their first letter: every header of every
 * event is looked at. Substrings, because every vendor has its own: X-Amz-Security-Token,
 * Ocp-Apim-Subscription-Key, Mcp-Session-Id. */
enum { LETTERS = 26, PARTS_A_LETTER = 5 };
static const char *const secret_parts[LETTERS][PARTS_A_LETTER + 1] = {
    ['a' - 'a'] = {"authorization", "apikey", "api-key", "auth-key", "access-key"},
    ['b' - 'a'] = {"bearer"},
    ['c' - 'a'] = {"cookie", "credential", "customer-key"},
    ['f' - 'a'] = {"functions-key"},
    ['p' - 'a'] = {"passw", "private-key"},
    ['s' - 'a'] = {"secret", "session", "subscription-key"},
    ['t' - 'a'] = {"token"},
    ['x' - 'a'] = {"x-auth"},
};

static char fold(char c)
{
    if (c == '_')
        return '-';
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool part_at(const char *name, const char *end, const char *part)
{
    while (*part && name < end && fold(*name) == *part) {
        name++;
        part++;
    }
    return !*part;
}

bool redact_name(const char *name, size_t len)
{
    for (const char *end = name + len; name < end; name++) {
        char first = fold(*name);

        if (first < 'a' || first > 'z' || !secret_parts[first - 'a'][0])
            continue;
        for (const char *const *part = secret_parts[first - 'a']; *part; part++)
            if (part_at(name, end, *part))
                return true;
    }
    return false;
}

bool redact_header(const char *name)
{
    return redact_name(name, strlen(name));
}

bool redact_field(const char *name, const char *value)
{
    if (redact_header(name))
        return true;
    return value && strcasecmp(name, "sec-websocket-protocol") == 0 &&
           (redact_header(value) || strstr(value, "eyJ")); /* how every JWT begins */
}

/* The authority's first byte, behind "scheme://" (RFC 3986 section 3.1), or NULL. */
static const char *find_authority(const char *text)
{
    const char *colon = strchr(text, ':');

    if (!colon || colon == text || strncmp(colon, "://", 3) != 0)
        return NULL;
    if (strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789+-.") != (size_t)(colon - text))
        return NULL;
    return colon + 3;
}

/* at: where the user information behind authority ends; NULL: there is none. */
static const char *without_user(const char *text, const char *authority, const char *at,
                                struct buffer *storage)
{
    if (!at)
        return text;
    buffer_append(storage, text, (size_t)(authority - text));
    buffer_text(storage, REDACTED);
    buffer_append(storage, at, strlen(at) + 1);
    return storage->failed ? "" : storage->data;
}

const char *redact_url(const char *text, struct buffer *storage)
{
    const char *authority = find_authority(text);

    return without_user(text, authority,
                        authority ? memrchr(authority, '@', strcspn(authority, "/?#")) : NULL,
                        storage);
}

const char *redact_target(const char *text, struct buffer *storage)
{
    if (*text == '/' || find_authority(text))
        return redact_url(text, storage);
    return without_user(text, text, strrchr(text, '@'), storage);
}

const char *redact_sentence(const char *text, struct buffer *storage)
{
    if (!strstr(text, "://"))
        return text;
    for (const char *at = text; *at;) {
        CLEANUP(buffer_fini) struct buffer word = {0}, clean = {0};
        size_t len = strcspn(at, " "), blanks = strspn(at + len, " ");

        buffer_append(&word, at, len);
        buffer_append(&word, "", 1);
        buffer_text(storage, word.failed ? "" : redact_url(word.data, &clean));
        buffer_append(storage, at + len, blanks);
        storage->failed |= word.failed || clean.failed;
        at += len + blanks;
    }
    buffer_append(storage, "", 1);
    return storage->failed ? "" : storage->data;
}
