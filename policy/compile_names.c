/* Names and networks as people write them, and what they may have meant instead. */
#include "policy/compile_own.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_address(const char *text)
{
    struct match_cidr cidr;

    return match_cidr_parse(text, &cidr);
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* Why it is no name; NULL: it is one. */
static const char *why_no_name(const char *text, bool pattern)
{
    if (!*text)
        return "is empty";
    if (strstr(text, "://"))
        return "is a URL; say the name in it alone";
    if (is_address(text))
        return "is an address, which has no name; say it under toCIDR";
    if (strchr(text, ':'))
        return "has a port behind it; ports are said under toPorts";
    if (!is_ascii(text))
        return "is not as the DNS has it; say it in its 'xn--' form";
    if (!pattern && strchr(text, '*'))
        return "has a wildcard; matchName takes none, matchPattern does";
    if (strstr(text, "**"))
        return "has '**', which can stand only in front, as in '**.example.com'";
    return "is no name of the DNS";
}

bool compile_name(struct compile *c, const struct node *node, bool pattern, struct policy_name *out)
{
    const char *text = node->text;
    size_t len = strlen(text);

    if (!match_pattern_ok(text) || is_address(text) || (!pattern && strchr(text, '*'))) {
        faults_add(c->faults, node->mark, "'%.100s' %s", text, why_no_name(text, pattern));
        return false;
    }
    if (text[len - 1] == '.')
        len--;
    out->text = compile_copy(c, text);
    out->exact = !strchr(text, '*');
    for (size_t i = 0; out->text && i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            out->text[i] = (char)(text[i] + 'a' - 'A');
    if (out->text)
        out->text[len] = 0;
    return true;
}

/* ---- networks ---- */

/* Bits are set beyond the prefix: it may be the network meant, or the address. */
static void tell_host_bits(struct compile *c, const struct node *node, struct match_cidr *cidr)
{
    bool v4 = addr_is_v4(&cidr->network) && cidr->bits >= 96;
    unsigned bits = cidr->bits - (v4 ? 96 : 0);
    char address[ADDR_TEXT_MAX], network[ADDR_TEXT_MAX];

    addr_format_ip(&cidr->network, address);
    for (unsigned bit = cidr->bits; bit < 128; bit++)
        cidr->network.ip[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    addr_format_ip(&cidr->network, network);
    faults_add(c->faults, node->mark,
               "'%.100s' has bits beyond its prefix; say %s/%u for the network, or %s for the "
               "address alone",
               node->text, network, bits, address);
}

static const char *why_no_cidr(const char *text)
{
    if (!*text)
        return "is empty";
    if (strchr(text, '-'))
        return "is a range; say networks such as 203.0.113.0/24";
    if (text[0] == '[' || (strchr(text, '.') && strchr(text, ':') && !strstr(text, "::")))
        return "has a port, or brackets; ports are said under toPorts";
    if (strspn(text, "0123456789./") == strlen(text) || strchr(text, ':'))
        return "is no network, such as 203.0.113.0/24 or 2001:db8::/32";
    return "is no network; names are said under toFQDNs";
}

bool compile_cidr(struct compile *c, const struct node *node, struct match_cidr *out)
{
    const char *text = node->text, *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN] = "", *end;
    struct match_cidr cidr;
    unsigned most = strchr(text, ':') ? 128 : 32;
    unsigned long bits;

    if (match_cidr_parse(text, out))
        return true;
    if (slash && (size_t)(slash - text) < sizeof(address))
        memcpy(address, text, (size_t)(slash - text));
    if (!slash || !match_cidr_parse(address, &cidr)) {
        faults_add(c->faults, node->mark, "'%.100s' %s", text, why_no_cidr(text));
        return false;
    }
    bits = strtoul(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end || bits > most) {
        faults_add(c->faults, node->mark,
                   "'%.100s' has no prefix behind '/'; that is a number from 0 to %u", text, most);
        return false;
    }
    cidr.bits = 128 - most + (unsigned)bits;
    tell_host_bits(c, node, &cidr);
    return false;
}
