#include "policy/builtin.h"

#include <string.h>

#include "base/cleanup.h"
#include "policy/letters.h"

static bool word_follows(uint8_t next)
{
    return is_alnum(next) || next == '_' || next == '-';
}

static bool alnum_follows(uint8_t next)
{
    return is_alnum(next);
}

/* Not in the middle of a word. What the window does not show is taken for one. */
static bool begins(struct span window, size_t at, bool first)
{
    if (at == 0)
        return first;
    return !is_alnum(window.data[at - 1]) || is_escaped(window, at);
}

/* ---- keys and tokens ---- */

/* Where the last `what` begins; SIZE_MAX: nowhere. */
static size_t last_of(struct span window, const char *what)
{
    size_t len = strlen(what);

    for (size_t at = window.len; at-- > 0;)
        if (window.len - at >= len && memcmp(window.data + at, what, len) == 0)
            return at;
    return SIZE_MAX;
}

static size_t private_key(struct span window, bool first)
{
    size_t at = last_of(window, "-----BEGIN ");

    (void)first;
    return at == SIZE_MAX ? 0 : window.len - at;
}

static size_t of_length(struct span window, bool first, size_t len)
{
    return window.len >= len && begins(window, window.len - len, first) ? len : 0;
}

static size_t aws(struct span window, bool first)
{
    return of_length(window, first, 20);
}

static size_t gcp(struct span window, bool first)
{
    return of_length(window, first, 39);
}

static size_t github(struct span window, bool first)
{
    enum { FINE = 93, CLASSIC = 40 };

    if (window.len >= FINE && memcmp(window.data + window.len - FINE, "github_pat_", 11) == 0)
        return of_length(window, first, FINE);
    return of_length(window, first, CLASSIC);
}

static size_t slack(struct span window, bool first)
{
    size_t at = last_of(window, "xox"), app = last_of(window, "xapp-");

    if (at == SIZE_MAX || (app != SIZE_MAX && app > at))
        at = app;
    return at != SIZE_MAX && begins(window, at, first) ? window.len - at : 0;
}

/* ---- email ---- */

enum { LOCAL_MAX = 64, LABEL_MAX = 63 };

static bool is_local(int c)
{
    return is_alnum(c) || (c > 0 && strchr(".!#$&'*/?^_`{|}~+-", c));
}

/* What files are called ("logo@2x.png"), not domains. */
static bool names_file(struct span label)
{
    static const char *const suffixes[] = {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"};

    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
        if (span_equal_nocase(label, suffixes[i]))
            return true;
    return false;
}

/* The '@' that ends before at, as a form spells it, too. */
static size_t at_sign(struct span window, size_t at)
{
    if (letter_before(window, at, 1) == '@')
        return 1;
    return at >= 3 && memcmp(window.data + at - 3, "%40", 3) == 0 ? 3 : 0;
}

/* How many bytes the domain has that ends with window and begins behind an '@'; 0: there is none.
 */
static size_t domain(struct span window)
{
    size_t at = window.len, end = at;
    bool labels = false;

    for (; at; at--) {
        bool sign = at < end && at_sign(window, at);
        int c = window.data[at - 1];

        if (!sign && (is_alnum(c) || (c == '-' && at < end)))
            continue;
        if (at == end || end - at > LABEL_MAX || window.data[at] == '-' || (sign && !labels))
            return 0;
        if (!labels && names_file(span_of(window.data + at, end - at)))
            return 0;
        if (sign)
            return window.len - at;
        if (c != '.')
            return 0;
        labels = true;
        end = at - 1;
    }
    return 0;
}

static size_t email(struct span window, bool first)
{
    size_t len = domain(window), at = window.len - len, end;

    if (!len)
        return 0;
    at -= at_sign(window, at);
    for (end = at; at && is_local(window.data[at - 1]) && end - at <= LOCAL_MAX; at--)
        ;
    if ((at == 0 && !first) || end - at > LOCAL_MAX)
        return 0;
    while (at < end && window.data[at] == '.')
        at++;
    return at < end && window.data[end - 1] != '.' ? window.len - at : 0;
}

/* What is quick to follow: no expression here has more states than its longest match has bytes. */
const struct builtin builtins[BUILTIN_MAX] = {
    [BUILTIN_JWT] = {"jwt", "eyJ", NULL, NULL},
    {"private-key", "-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY( BLOCK)?-----", private_key, NULL},
    {"aws-access-key", "(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", aws, alnum_follows},
    {"gcp-key", "AIza[0-9A-Za-z_-]{35}", gcp, word_follows},
    {"github-token", "gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}", github,
     word_follows},
    {"slack-token", "(xox[abeoprs]-|xapp-[0-9]-)[0-9A-Za-z-]{10,}", slack, word_follows},
    {"email", "(@|%40)[0-9A-Za-z.-]+[.][A-Za-z]{2,}", email, word_follows},
};

const struct builtin *builtin_find(const char *name)
{
    for (size_t i = 0; i < BUILTIN_MAX; i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}
