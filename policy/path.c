/* path: in three passes, as they are simpler to judge than one: decode, merge, take dots out. The
 * last two are one loop over segments. */
#include "policy/path.h"

#include "base/cleanup.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_unreserved(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static unsigned oddity_of(uint8_t c, bool encoded)
{
    switch (c) {
    case '/':
        return encoded ? PATH_ENCODED_SLASH : 0;
    case '\\':
        return PATH_BACKSLASH;
    case 0:
        return PATH_NUL;
    case '#':
        return encoded ? 0 : PATH_MALFORMED;
    default:
        return 0;
    }
}

/* Into out, which has room for the path; its new length. */
static size_t decode(struct span path, uint8_t *out, unsigned *oddities)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;

    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i];
        int high = c == '%' && path.len - i > 2 ? hex_digit(path.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(path.data[i + 2]) : -1;

        if (low < 0) { /* not encoded */
            *oddities |= c == '%' ? PATH_MALFORMED : oddity_of(c, false);
            out[len++] = c;
            continue;
        }
        i += 2;
        c = (uint8_t)(high * 16 + low);
        *oddities |= oddity_of(c, true);
        if (is_unreserved(c)) {
            out[len++] = c;
        } else {
            out[len++] = '%';
            out[len++] = (uint8_t)digits[high];
            out[len++] = (uint8_t)digits[low];
        }
    }
    return len;
}

/* "..;v=1": with its parameter taken off, as Java's servers do, it is ".." */
static bool is_dots_with_parameter(struct span segment)
{
    size_t dots = 0;

    while (dots < segment.len && segment.data[dots] == '.')
        dots++;
    return (dots == 1 || dots == 2) && dots < segment.len && segment.data[dots] == ';';
}

/* In place: what is written is never ahead of what is read. Begins with '/'. */
static size_t remove_dots(uint8_t *path, size_t path_len, unsigned *oddities)
{
    size_t len = 0;
    bool merged = false;

    for (size_t at = 0; at < path_len;) {
        struct span segment = {path + at + 1, 0};
        bool last;

        while (at + 1 + segment.len < path_len && segment.data[segment.len] != '/')
            segment.len++;
        at += 1 + segment.len;
        last = at == path_len;
        if (!segment.len && !last) {
            merged = true;
            continue;
        }
        if (is_dots_with_parameter(segment))
            *oddities |= PATH_TWO_WAYS;
        if (span_equal(segment, BYTES(".."))) {
            if (merged)
                *oddities |= PATH_TWO_WAYS;
            while (len && path[--len] != '/')
                ;
        } else if (!span_equal(segment, BYTES("."))) {
            path[len++] = '/';
            memmove(path + len, segment.data, segment.len);
            len += segment.len;
            continue;
        }
        if (last)
            path[len++] = '/'; /* a directory */
    }
    return len;
}

bool path_normalize(struct span path, uint8_t *out, size_t size, struct path_normal *normal)
{
    size_t len;

    *normal = (struct path_normal){.path = path};
    if (path.len > size)
        return false;
    len = decode(path, out, &normal->oddities);
    if (len && out[0] == '/')
        len = remove_dots(out, len, &normal->oddities);
    else if (len != 1 || out[0] != '*') /* OPTIONS * */
        normal->oddities |= PATH_MALFORMED;
    normal->path = span_of(out, len);
    return true;
}

const char *path_oddity_name(unsigned oddities)
{
    static const struct {
        enum path_oddity oddity;
        const char *name;
    } names[] = {
        {PATH_ENCODED_SLASH, "an encoded '/' in the path"},
        {PATH_BACKSLASH, "a '\\' in the path"},
        {PATH_NUL, "a NUL in the path"},
        {PATH_MALFORMED, "a malformed path"},
        {PATH_TWO_WAYS, "a '..' in the path that servers read differently"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (oddities & names[i].oddity)
            return names[i].name;
    return NULL;
}
