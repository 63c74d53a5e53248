#include "proxy/keeper/listener.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum {
    BACKLOG = 4096,  /* the kernel takes the namespace's net.core.somaxconn if that is less */
    PORT_TRIES = 64, /* for one port that is free in both families */
    LOOPBACK_LINK = 1,
    /* Bytes that may wait while the agent does something else; the kernel takes twice that, and
     * counts some 800 for a short question. */
    DATAGRAM_ROOM = 8 << 20,
};

int listener_socket(int family, int type)
{
    static const int on = 1;
    CLEANUP(fd_close) int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        return -errno;
    return fd_take(&fd);
}

/* Answers must come from the very address that was written to. */
static int ask_for_destination(int fd, int family)
{
    static const int on = 1, room = DATAGRAM_ROOM;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)); /* the usual room does, too */
    return family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on))
                             : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

/* The filter drops whatever did not come by lo: from outside the namespace the port looks like that
 * of a host which is not there. (SO_BINDTODEVICE would not do: a connection to an own address comes
 * by lo, but the kernel names the interface that has the address.) Neither SO_REUSEADDR nor
 * SO_REUSEPORT: nobody can put a listener of his own beside ours. */
static int open_one(int family, int type, uint16_t port)
{
    static struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LOOPBACK_LINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    static const struct sock_fprog only_lo = {ARRAY_SIZE(steps), steps};
    static const int priority = ABI_PRIORITY;
    CLEANUP(fd_close) int fd = listener_socket(family, type);
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct sockaddr *any = (struct sockaddr *)&any4;
    socklen_t len = sizeof(any4);

    if (fd < 0)
        return fd;
    if (family == AF_INET6) {
        any = (struct sockaddr *)&any6;
        len = sizeof(any6);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &only_lo, sizeof(only_lo)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)) < 0 ||
        bind(fd, any, len) < 0)
        return -errno;
    if (type == SOCK_STREAM ? listen(fd, BACKLOG) < 0 : ask_for_destination(fd, family) < 0)
        return -errno;
    return fd_take(&fd);
}

static int open_both(int type, struct listener *out)
{
    CLEANUP(fd_close) int v4 = open_one(AF_INET, type, 0);
    CLEANUP(fd_close) int v6 = -1;
    struct sockaddr_in at;
    socklen_t len = sizeof(at);

    if (v4 < 0)
        return v4;
    if (getsockname(v4, (struct sockaddr *)&at, &len) < 0)
        return -errno;
    v6 = open_one(AF_INET6, type, ntohs(at.sin_port));
    if (v6 < 0 && v6 != -EAFNOSUPPORT)
        return v6;
    out->v4 = fd_take(&v4);
    out->v6 = v6 < 0 ? -1 : fd_take(&v6);
    out->port = ntohs(at.sin_port);
    return 0;
}

static int open_somewhere(int type, struct listener *out)
{
    int code = -EADDRINUSE;

    for (int tries = 0; code == -EADDRINUSE && tries < PORT_TRIES; tries++)
        code = open_both(type, out);
    return code;
}

/* An own filter, for ICMP_FILTER knows only the types below 32. */
static int open_raw(int family, int protocol)
{
    static struct sock_filter step = BPF_STMT(BPF_RET | BPF_K, 0);
    static const struct sock_fprog nothing = {1, &step};
    CLEANUP(fd_close)
    int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &nothing, sizeof(nothing)) < 0)
        return -errno;
    return fd_take(&fd);
}

/* Without the right to raw sockets, or without IPv6, nobody waits for packets by them. */
static int open_raws(struct listeners *out)
{
    out->icmp4 = open_raw(AF_INET, IPPROTO_ICMP);
    out->icmp6 = open_raw(AF_INET6, IPPROTO_ICMPV6);
    out->raw4 = open_raw(AF_INET, IPPROTO_RAW);
    out->raw6 = open_raw(AF_INET6, IPPROTO_RAW);
    const int all[] = {out->icmp4, out->icmp6, out->raw4, out->raw6};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i] < 0 && all[i] != -EPERM && all[i] != -EAFNOSUPPORT)
            return all[i];
    return 0;
}

void listeners_init(struct listeners *listeners)
{
    *listeners =
        (struct listeners){.stream = {-1, -1, 0}, .icmp4 = -1, .icmp6 = -1, .raw4 = -1, .raw6 = -1};
    for (size_t i = 0; i < ABI_PEERS; i++)
        listeners->datagram[i] = listeners->stream;
}

void listeners_fini(struct listeners *listeners)
{
    fd_close(&listeners->stream.v4);
    fd_close(&listeners->stream.v6);
    for (size_t i = 0; i < ABI_PEERS; i++) {
        fd_close(&listeners->datagram[i].v4);
        fd_close(&listeners->datagram[i].v6);
    }
    fd_close(&listeners->icmp4);
    fd_close(&listeners->icmp6);
    fd_close(&listeners->raw4);
    fd_close(&listeners->raw6);
}

int listeners_open(struct listeners *out)
{
    int code = open_somewhere(SOCK_STREAM, &out->stream);

    for (size_t i = 0; code == 0 && i < ABI_PEERS; i++)
        code = open_somewhere(SOCK_DGRAM, &out->datagram[i]);
    return code < 0 ? code : open_raws(out);
}
