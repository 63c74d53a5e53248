#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

bool addr_is_v4(const struct addr *addr)
{
    return memcmp(addr->ip, mapped, sizeof(mapped)) == 0;
}

const char *addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
    bool v4 = addr_is_v4(addr);

    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr->ip + 12 : addr->ip, out, ADDR_TEXT_MAX);
    return out;
}

const char *addr_format(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
    char ip[ADDR_TEXT_MAX];

    addr_format_ip(addr, ip);
    snprintf(out, ADDR_TEXT_MAX, addr_is_v4(addr) ? "%.48s:%u" : "[%.48s]:%u", ip, addr->port);
    return out;
}

socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (addr_is_v4(addr)) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;

        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->ip + 12, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(addr->port);
    memcpy(&in6->sin6_addr, addr->ip, 16);
    return sizeof(*in6);
}

bool addr_from_sockaddr(const struct sockaddr_storage *from, struct addr *out)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;

        memcpy(out->ip, mapped, sizeof(mapped));
        memcpy(out->ip + 12, &in->sin_addr, 4);
        out->port = ntohs(in->sin_port);
        return true;
    }
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

        memcpy(out->ip, &in6->sin6_addr, 16);
        out->port = ntohs(in6->sin6_port);
        return true;
    }
    return false;
}
