#include "proxy/dns/unreachable.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "proxy/dns/datagram.h"

enum { IP4_HEAD = 20, IP6_HEAD = 40, UDP_HEAD = 8, ICMP_HEAD = 8, HOPS = 64 };

/* A failing call is final for every socket. Of the messages that would say the same, those which
 * the kernel hands to connected sockets are the ones that cannot pass (net/ipv4/icmp.c,
 * icmp_err_convert; net/ipv6/icmp.c, tab_unreach: there it is the port alone). */
static int final_code(int error, bool v4)
{
    switch (error) {
    case -ECONNREFUSED:
        return v4 ? ICMP_PORT_UNREACH : ICMP6_DST_UNREACH_NOPORT;
    case -EHOSTUNREACH:
        return v4 ? ICMP_HOST_ANO : ICMP6_DST_UNREACH_NOPORT;
    case -ENETUNREACH:
        return v4 ? ICMP_NET_UNKNOWN : ICMP6_DST_UNREACH_NOPORT;
    default:
        return -1;
    }
}

void unreachable_of_call(int error, bool v4, struct span datagram, struct unreachable *out)
{
    out->error = error;
    out->code = final_code(error, v4);
    out->head_len =
        datagram.len < UNREACHABLE_QUOTE_MAX ? datagram.len : (size_t)UNREACHABLE_QUOTE_MAX;
    memcpy(out->head, datagram.data, out->head_len);
}

int unreachable_listen(int fd, bool v4)
{
    static const int on = 1;
    int code = v4 ? setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on))
                  : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));

    return code < 0 ? -errno : 0;
}

/* Not that it was too long for the path: the next one will be cut. */
static bool is_unreachable(const struct sock_extended_err *said)
{
    if (said->ee_origin == SO_EE_ORIGIN_ICMP)
        return said->ee_type == ICMP_DEST_UNREACH && said->ee_code != ICMP_FRAG_NEEDED;
    return said->ee_origin == SO_EE_ORIGIN_ICMP6 && said->ee_type == ICMP6_DST_UNREACH;
}

static bool read_said(struct msghdr *message, struct sock_extended_err *said)
{
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        if ((at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_RECVERR) ||
            (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_RECVERR)) {
            memcpy(said, CMSG_DATA(at), sizeof(*said));
            return true;
        }
    }
    return false;
}

bool unreachable_hear(int fd, struct unreachable *out)
{
    union {
        struct cmsghdr head; /* for its alignment */
        uint8_t room[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
    } control;
    struct sock_extended_err said;

    for (;;) {
        struct iovec data = {out->head, sizeof(out->head)};
        struct msghdr message = {.msg_iov = &data,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);

        if (n < 0)
            return false;
        if (!read_said(&message, &said) || !is_unreachable(&said))
            continue;
        out->error = -(int)said.ee_errno;
        out->code = said.ee_code;
        out->head_len = (size_t)n;
        return true;
    }
}

/* ---- the message ---- */

static void put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* RFC 1071. */
static void put_checksum(uint8_t *at, const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += (uint32_t)(i % 2 ? bytes[i] : bytes[i] << 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(at, ~sum & 0xffff);
}

static size_t put_ip4(uint8_t *at, const struct addr *from, const struct addr *to, size_t payload)
{
    at[0] = 0x45;
    put16(at + 2, IP4_HEAD + payload);
    at[6] = 0x40; /* not to be cut */
    at[8] = HOPS;
    at[9] = IPPROTO_UDP;
    memcpy(at + 12, from->ip + 12, 4);
    memcpy(at + 16, to->ip + 12, 4);
    put_checksum(at + 10, at, IP4_HEAD);
    return IP4_HEAD;
}

static size_t put_ip6(uint8_t *at, const struct addr *from, const struct addr *to, size_t payload)
{
    at[0] = 0x60;
    put16(at + 4, payload);
    at[6] = IPPROTO_UDP;
    at[7] = HOPS;
    memcpy(at + 8, from->ip, 16);
    memcpy(at + 24, to->ip, 16);
    return IP6_HEAD;
}

size_t unreachable_build(const struct unreachable *what, const struct addr *from,
                         const struct addr *to, uint8_t out[UNREACHABLE_MAX])
{
    const bool v4 = addr_is_v4(from);
    const size_t datagram_len = UDP_HEAD + what->head_len;
    uint8_t *at = out + ICMP_HEAD;
    size_t len;

    memset(out, 0, ICMP_HEAD + IP6_HEAD + UDP_HEAD);
    out[0] = v4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH;
    out[1] = (uint8_t)what->code;
    at += v4 ? put_ip4(at, from, to, datagram_len) : put_ip6(at, from, to, datagram_len);
    put16(at, from->port);
    put16(at + 2, to->port);
    put16(at + 4, datagram_len); /* its checksum: nobody looks at it here */
    memcpy(at + UDP_HEAD, what->head, what->head_len);
    len = (size_t)(at - out) + datagram_len;
    if (v4)
        put_checksum(out + 2, out, len);
    return len;
}

int unreachable_tell(int fd, const struct unreachable *what, const struct addr *from,
                     const struct addr *to)
{
    struct addr program = *from, server = *to;
    uint8_t message[UNREACHABLE_MAX];
    size_t len = unreachable_build(what, from, to, message);

    program.port = server.port = 0; /* a raw socket takes a port for a protocol */
    return datagram_send(fd, &server, &program, span_of(message, len));
}
