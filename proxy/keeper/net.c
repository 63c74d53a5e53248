#include "proxy/keeper/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum {
    LOOPBACK_LINK = 1, /* in every namespace, since Linux 3.11 */
    DRAIN_MAX = 10000, /* messages */
    READS_MAX = 8,     /* of tables that change all the time */
};

static const uint8_t loopback4[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
static const uint8_t loopback6[16] = {[15] = 1};

/* Keeps IPv4 as ::ffff:a.b.c.d, the kernel programs' form. False for other families and lengths. */
static bool ip_of(unsigned char family, const struct rtattr *attr, uint8_t out[16])
{
    size_t len = RTA_PAYLOAD(attr);

    if (family == AF_INET && len == 4) {
        memcpy(out, loopback4, 12);
        memcpy(out + 12, RTA_DATA(attr), 4);
        return true;
    }
    if (family == AF_INET6 && len == 16) {
        memcpy(out, RTA_DATA(attr), 16);
        return true;
    }
    return false;
}

static bool is_v4(const uint8_t ip[16])
{
    return memcmp(ip, loopback4, 12) == 0;
}

static bool is_loopback(const uint8_t ip[16])
{
    return is_v4(ip) ? ip[12] == 127 : memcmp(ip, loopback6, 16) == 0;
}

static bool is_link_local6(const uint8_t ip[16])
{
    return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

static uint32_t attr_u32(const struct rtattr *attr)
{
    uint32_t value = 0;

    if (RTA_PAYLOAD(attr) >= sizeof(value))
        memcpy(&value, RTA_DATA(attr), sizeof(value));
    return value;
}

static int own_push(struct net_view *view, const struct net_address *address, struct err *err)
{
    if (view->own_len == view->own_room) {
        size_t room = view->own_room ? 2 * view->own_room : 8;
        struct net_address *own = reallocarray(view->own, room, sizeof(*own));

        if (!own)
            return err_set(err, -ENOMEM, "a namespace's %zu addresses", view->own_len);
        view->own = own;
        view->own_room = room;
    }
    view->own[view->own_len++] = *address;
    return 0;
}

static int add_address(struct net_view *view, const struct nlmsghdr *message, struct err *err)
{
    const struct ifaddrmsg *head = NLMSG_DATA(message);
    struct net_address address = {.link = head->ifa_index};
    uint32_t flags = head->ifa_flags;
    bool known = false, local = false;
    int left = (int)IFA_PAYLOAD(message);

    for (const struct rtattr *attr = IFA_RTA(head); RTA_OK(attr, left);
         attr = RTA_NEXT(attr, left)) {
        if (attr->rta_type == IFA_FLAGS)
            flags = attr_u32(attr);
        else if (attr->rta_type == IFA_LOCAL)
            known = local = ip_of(head->ifa_family, attr, address.ip);
        else if (attr->rta_type == IFA_ADDRESS && !local) /* of a point-to-point link: the peer's */
            known = ip_of(head->ifa_family, attr, address.ip);
    }
    if (!known || is_loopback(address.ip) || is_link_local6(address.ip))
        return 0;
    address.usable = head->ifa_scope == RT_SCOPE_UNIVERSE &&
                     !(flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED));
    return own_push(view, &address, err);
}

struct route {
    bool has_link, prefers;
    uint32_t link, metric;
    uint8_t to[16], source[16];
};

/* The first live way of a route with several. */
static void read_nexthops(const struct rtattr *attr, struct route *route)
{
    int left = (int)RTA_PAYLOAD(attr);

    for (const struct rtnexthop *hop = RTA_DATA(attr);
         left >= (int)sizeof(*hop) && RTNH_OK(hop, left);
         left -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
        if (route->has_link || hop->rtnh_flags & RTNH_F_DEAD)
            continue;
        route->has_link = true;
        route->link = (uint32_t)hop->rtnh_ifindex;
    }
}

static void add_route(struct net_view *view, const struct nlmsghdr *message)
{
    const struct rtmsg *head = NLMSG_DATA(message);
    struct net_way *way = head->rtm_family == AF_INET ? &view->way4 : &view->way6;
    struct route route = {0};
    int left = (int)RTM_PAYLOAD(message);

    if (head->rtm_type != RTN_UNICAST || head->rtm_table == RT_TABLE_LOCAL ||
        head->rtm_flags & (RTM_F_CLONED | RTNH_F_DEAD) ||
        (head->rtm_family != AF_INET && head->rtm_family != AF_INET6))
        return;
    for (const struct rtattr *attr = RTM_RTA(head); RTA_OK(attr, left);
         attr = RTA_NEXT(attr, left)) {
        switch (attr->rta_type) {
        case RTA_OIF:
            route.has_link = true;
            route.link = attr_u32(attr);
            break;
        case RTA_MULTIPATH:
            read_nexthops(attr, &route);
            break;
        case RTA_DST:
            ip_of(head->rtm_family, attr, route.to);
            break;
        case RTA_PREFSRC:
            route.prefers = ip_of(head->rtm_family, attr, route.source);
            break;
        case RTA_PRIORITY:
            route.metric = attr_u32(attr);
            break;
        }
    }
    if (!route.has_link || route.link == LOOPBACK_LINK ||
        (head->rtm_family == AF_INET6 && (is_link_local6(route.to) || route.to[0] == 0xff)))
        return;
    way->reaches = true;
    if (head->rtm_dst_len || (way->has_default && way->metric <= route.metric))
        return;
    way->has_default = true;
    way->prefers = route.prefers;
    memcpy(way->source, route.source, sizeof(way->source));
    way->link = route.link;
    way->metric = route.metric;
}

static int dump_refused(const struct nlmsghdr *message, struct err *err)
{
    const struct nlmsgerr *refusal = NLMSG_DATA(message);

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*refusal)))
        return err_set(err, -EBADMSG, "rtnetlink sent half an error");
    return err_sys(err, refusal->error ? refusal->error : -EBADMSG, "rtnetlink refused a dump");
}

int net_view_add(struct net_view *view, struct span reply, bool *done, struct err *err)
{
    const struct nlmsghdr *message = (const struct nlmsghdr *)reply.data;
    int left = (int)reply.len; /* signed: a last message may be shorter than its padding */
    int code = 0;

    *done = false;
    for (; code == 0 && !*done && NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
        view->torn |= message->nlmsg_flags & NLM_F_DUMP_INTR;
        if (message->nlmsg_type == NLMSG_DONE)
            *done = true;
        else if (message->nlmsg_type == NLMSG_ERROR)
            code = dump_refused(message, err);
        else if (message->nlmsg_type == RTM_NEWADDR &&
                 message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg)))
            code = add_address(view, message, err);
        else if (message->nlmsg_type == RTM_NEWROUTE &&
                 message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg)))
            add_route(view, message);
    }
    return code;
}

void net_view_fini(struct net_view *view)
{
    free(view->own);
    *view = (struct net_view){0};
}

static void choose_source(const struct net_view *view, const struct net_way *way, bool v4,
                          const uint8_t loopback[16], uint8_t out[16])
{
    const struct net_address *chosen = NULL;

    if (way->prefers) {
        memcpy(out, way->source, 16);
        return;
    }
    for (size_t i = 0; i < view->own_len; i++) {
        const struct net_address *address = &view->own[i];

        if (!address->usable || is_v4(address->ip) != v4)
            continue;
        if (!chosen)
            chosen = address;
        if (way->has_default && address->link == way->link) {
            chosen = address;
            break;
        }
    }
    memcpy(out, chosen ? chosen->ip : loopback, 16);
}

void net_view_source4(const struct net_view *view, uint8_t out[16])
{
    choose_source(view, &view->way4, true, loopback4, out);
}

void net_view_source6(const struct net_view *view, uint8_t out[16])
{
    choose_source(view, &view->way6, false, loopback6, out);
}

static int open_rtnetlink(int flags, uint32_t groups, struct err *err)
{
    CLEANUP(fd_close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);
    struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_groups = groups};

    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
        return err_sys(err, -errno, "rtnetlink socket");
    return fd_take(&fd);
}

int net_open_watch(struct err *err)
{
    return open_rtnetlink(SOCK_NONBLOCK,
                          RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                              RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
                          err);
}

int net_open_ask(struct err *err)
{
    return open_rtnetlink(0, 0, err);
}

void net_drain(int watch_fd)
{
    uint8_t scratch[64]; /* the rest of each message is thrown away */

    /* ENOBUFS says that messages were lost: no matter, everything is read anew. A bound, as a pod
     * may be able to change its routes faster than we read. */
    for (int i = 0; i < DRAIN_MAX; i++)
        if (recv(watch_fd, scratch, sizeof(scratch), MSG_DONTWAIT) < 0 && errno != ENOBUFS &&
            errno != EINTR)
            break;
}

static int read_dump(int fd, uint16_t type, struct net_view *view, struct err *err)
{
    struct {
        struct nlmsghdr head;
        struct rtgenmsg body; /* AF_UNSPEC: both families */
    } request = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)),
                          .nlmsg_type = type,
                          .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    /* as large as the kernel ever makes a dump's datagram, aligned for its headers */
    _Alignas(struct nlmsghdr) uint8_t reply[32768];
    bool done = false;
    int code = 0;

    if (send(fd, &request, request.head.nlmsg_len, 0) < 0)
        return err_sys(err, -errno, "asking rtnetlink");
    while (code == 0 && !done) { /* the kernel answers within our calls: nothing to wait for */
        ssize_t n = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);

        if (n >= 0)
            code = net_view_add(view, span_of(reply, (size_t)n), &done, err);
        else if (errno != EINTR)
            return err_sys(err, -errno, "rtnetlink's answer");
    }
    return code;
}

static int read_once(int fd, struct net_view *out, struct err *err)
{
    CLEANUP(net_view_fini) struct net_view view = {0};
    int code;

    net_drain(fd); /* what a failed reading left; the kernel takes no new request before */
    code = read_dump(fd, RTM_GETADDR, &view, err);
    if (code == 0)
        code = read_dump(fd, RTM_GETROUTE, &view, err);
    if (code < 0)
        return code;
    *out = view;
    view = (struct net_view){0};
    return 0;
}

int net_read(int ask_fd, struct net_view *out, struct err *err)
{
    CLEANUP(net_view_fini) struct net_view view = {0};

    /* a torn reading is good enough in the end: the watch tells of the change that tore it */
    for (int tries = 0; tries < READS_MAX; tries++) {
        int code;

        net_view_fini(&view);
        code = read_once(ask_fd, &view, err);
        if (code < 0)
            return code;
        if (!view.torn)
            break;
    }
    *out = view;
    view = (struct net_view){0};
    return 0;
}
