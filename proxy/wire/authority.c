#include "proxy/wire/authority.h"

#include <arpa/inet.h>

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* RFC 3986's reg-name without the comma, which makes lists, and percent-encoding. */
static bool is_name_byte(uint8_t c)
{
    return c && (is_digit(c) || (c >= 'a' && c <= 'z') || strchr("-._~!$&'()*+;=", c));
}

static bool read_port(struct span text, uint16_t *out)
{
    uint32_t port = 0;

    if (text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.data[i]))
            return false;
        port = port * 10 + (text.data[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= 65535;
}

static bool read_address(struct span literal, char *out)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];

    for (size_t i = 0; i < literal.len; i++)
        out[i] = (char)lower(literal.data[i]);
    out[literal.len] = 0;
    return span_to_text(span_of(literal.data + 1, literal.len - 2), text, sizeof(text)) &&
           inet_pton(AF_INET6, text, &address) == 1;
}

static bool read_name(struct span name, char *out)
{
    if (name.len && name.data[name.len - 1] == '.')
        name.len--; /* the root's dot: the same host */
    if (!name.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        bool label_empty =
            name.data[i] == '.' && (i == 0 || i + 1 == name.len || name.data[i + 1] == '.');

        out[i] = (char)lower(name.data[i]);
        if (!is_name_byte((uint8_t)out[i]) || label_empty)
            return false;
    }
    out[name.len] = 0;
    return true;
}

bool authority_parse(struct span text, struct authority_parts *out)
{
    bool literal = text.len && text.data[0] == '[';
    const uint8_t *end = text.len ? memchr(text.data, literal ? ']' : ':', text.len) : NULL;
    struct span host = text, port = {0};

    if (literal && !end)
        return false;
    if (end) {
        host.len = (size_t)(end - text.data) + literal;
        port = span_of(text.data + host.len, text.len - host.len);
    }
    if (host.len >= sizeof(out->host) || (port.len && port.data[0] != ':'))
        return false;
    if (port.len)
        port = span_of(port.data + 1, port.len - 1);
    return read_port(port, &out->port) &&
           (literal ? read_address(host, out->host) : read_name(host, out->host));
}

bool authority_in_target(struct span target, bool connect, struct span *authority)
{
    size_t at = 0;

    if (connect) {
        *authority = target;
        return true;
    }
    if (!target.len || target.data[0] == '/' || target.data[0] == '*')
        return false;
    while (at + 3 <= target.len && memcmp(target.data + at, "://", 3) != 0)
        at++;
    if (at + 3 > target.len)
        return false;
    target = span_of(target.data + at + 3, target.len - at - 3);
    for (at = 0; at < target.len && !strchr("/?#", target.data[at]); at++)
        ;
    *authority = span_of(target.data, at);
    return true;
}
