#include "policy/match.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

static char lower(uint8_t byte)
{
    return (char)(byte >= 'A' && byte <= 'Z' ? byte + 'a' - 'A' : byte);
}

static bool of_a_label(uint8_t byte)
{
    char c = lower(byte);

    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Without one closing dot. */
static struct span name_of(const char *text)
{
    struct span name = span_of_text(text);

    if (name.len && name.data[name.len - 1] == '.')
        name.len--;
    return name;
}

/* Splits off the last label. False: there is none. */
static bool last_label(struct span *name, struct span *label)
{
    size_t at = name->len;

    if (!name->len)
        return false;
    while (at && name->data[at - 1] != '.')
        at--;
    *label = span_of(name->data + at, name->len - at);
    name->len = at ? at - 1 : 0;
    return true;
}

static bool any_label(struct span *pattern)
{
    if (pattern->len < 3 || memcmp(pattern->data, "**.", 3) != 0)
        return false;
    pattern->data += 3;
    pattern->len -= 3;
    return true;
}

bool match_pattern_ok(const char *text)
{
    struct span pattern = name_of(text), label;
    bool wide = any_label(&pattern);

    if (!pattern.len || pattern.len > MATCH_NAME_MAX || pattern.data[0] == '.')
        return false;
    if (wide && pattern.len == 1 && pattern.data[0] == '*')
        return false; /* "**.*" looks like more than it could be */
    while (last_label(&pattern, &label)) {
        if (!label.len || label.len > 63)
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!of_a_label(label.data[i]) && label.data[i] != '*')
                return false;
    }
    return !memmem(text, strlen(text), "**", 2) || (wide && !strstr(text + 2, "**"));
}

/* One label. What a star has taken is given back from the last one only: what comes before an
 * earlier one can stay as it is, so this takes no more than the product of both lengths. */
static bool label_matches(struct span pattern, struct span label)
{
    size_t p = 0, at = 0, star = SIZE_MAX, taken = 0;

    while (at < label.len) {
        if (!of_a_label(label.data[at]))
            return false;
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            taken = at;
        } else if (p < pattern.len && lower(pattern.data[p]) == lower(label.data[at])) {
            p++;
            at++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            at = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool match_pattern(const char *text, const char *asked)
{
    struct span pattern = name_of(text), name = name_of(asked), of_pattern, of_name;
    bool wide = any_label(&pattern);

    if (!name.len || name.len > MATCH_NAME_MAX || name.data[0] == '.')
        return false;
    if (pattern.len == 1 && pattern.data[0] == '*')
        return true;
    while (last_label(&pattern, &of_pattern))
        if (!last_label(&name, &of_name) || !label_matches(of_pattern, of_name))
            return false;
    return wide ? name.len > 0 : name.len == 0;
}

bool match_cidr_parse(const char *text, struct match_cidr *out)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    struct match_cidr cidr = {0};
    char ip[INET6_ADDRSTRLEN], *end;
    unsigned most, bits;

    if (len >= sizeof(ip))
        return false;
    memcpy(ip, text, len);
    ip[len] = 0;
    if (inet_pton(AF_INET, ip, cidr.network.ip + 12) == 1) {
        cidr.network.ip[10] = cidr.network.ip[11] = 0xff;
        most = 32;
    } else if (inet_pton(AF_INET6, ip, cidr.network.ip) == 1) {
        most = 128;
    } else {
        return false;
    }
    bits = most;
    if (slash) {
        unsigned long number = strtoul(slash + 1, &end, 10);

        if (slash[1] < '0' || slash[1] > '9' || *end || number > most)
            return false;
        bits = (unsigned)number;
    }
    cidr.bits = 128 - most + bits;
    for (unsigned bit = cidr.bits; bit < 128; bit++)
        if (cidr.network.ip[bit / 8] & (0x80 >> bit % 8))
            return false;
    *out = cidr;
    return true;
}

bool match_cidr(const struct match_cidr *cidr, const struct addr *address)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;
    bool of_v4 = cidr->bits >= 96 && addr_is_v4(&cidr->network);

    return addr_is_v4(address) == of_v4 && memcmp(cidr->network.ip, address->ip, whole) == 0 &&
           (!rest || (cidr->network.ip[whole] ^ address->ip[whole]) >> (8 - rest) == 0);
}
