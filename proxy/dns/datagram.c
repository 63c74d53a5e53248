#include "proxy/dns/datagram.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

union control {
    struct cmsghdr head; /* for its alignment */
    uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct datagrams {
    struct mmsghdr messages[DATAGRAM_BATCH];
    struct iovec data[DATAGRAM_BATCH];
    struct sockaddr_storage from[DATAGRAM_BATCH];
    union control control[DATAGRAM_BATCH];
    uint8_t bytes[DATAGRAM_BATCH][DATAGRAM_MAX];
};

int datagrams_new(struct datagrams **out, struct err *err)
{
    *out = calloc(1, sizeof(**out));
    return *out ? 0 : err_set(err, -ENOMEM, "room for datagrams");
}

void datagrams_free(struct datagrams **datagrams)
{
    free(TAKE(*datagrams));
}

static bool read_to(struct msghdr *message, struct addr *to)
{
    *to = (struct addr){.port = 0};
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(at), sizeof(info));
            to->ip[10] = to->ip[11] = 0xff;
            memcpy(to->ip + 12, &info.ipi_addr, 4);
            return true;
        }
        if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;

            memcpy(&info, CMSG_DATA(at), sizeof(info));
            memcpy(to->ip, &info.ipi6_addr, 16);
            return true;
        }
    }
    return false;
}

int datagrams_receive(struct datagrams *datagrams, int fd, struct datagram out[DATAGRAM_BATCH],
                      size_t *out_len)
{
    int n;

    for (size_t i = 0; i < DATAGRAM_BATCH; i++) {
        datagrams->data[i] = (struct iovec){datagrams->bytes[i], DATAGRAM_MAX};
        datagrams->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &datagrams->from[i],
            .msg_namelen = sizeof(datagrams->from[i]),
            .msg_iov = &datagrams->data[i],
            .msg_iovlen = 1,
            .msg_control = &datagrams->control[i],
            .msg_controllen = sizeof(datagrams->control[i]),
        };
    }
    *out_len = 0;
    n = recvmmsg(fd, datagrams->messages, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++) {
        struct datagram *datagram = &out[*out_len];

        datagram->bytes = span_of(datagrams->bytes[i], datagrams->messages[i].msg_len);
        *out_len += addr_from_sockaddr(&datagrams->from[i], &datagram->from) &&
                    read_to(&datagrams->messages[i].msg_hdr, &datagram->to);
    }
    return n;
}

uint32_t datagrams_dropped(int fd, struct datagram_drops *known)
{
    uint32_t info[SK_MEMINFO_VARS] = {0}, dropped;
    socklen_t len = sizeof(info);
    bool is_full;

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
        return 0;
    is_full = info[SK_MEMINFO_RMEM_ALLOC] > info[SK_MEMINFO_RCVBUF] / 2;
    dropped = is_full || known->was_full ? info[SK_MEMINFO_DROPS] - known->count : 0;
    *known = (struct datagram_drops){info[SK_MEMINFO_DROPS], is_full};
    return dropped;
}

/* Returns the room taken. ipi_ifindex stays 0: by whatever way leads there. */
static size_t write_from(union control *control, const struct addr *from)
{
    if (addr_is_v4(from)) {
        struct in_pktinfo info = {0};

        memcpy(&info.ipi_spec_dst, from->ip + 12, 4);
        control->head.cmsg_level = IPPROTO_IP;
        control->head.cmsg_type = IP_PKTINFO;
        control->head.cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(&control->head), &info, sizeof(info));
        return CMSG_SPACE(sizeof(info));
    } else {
        struct in6_pktinfo info = {0};

        memcpy(&info.ipi6_addr, from->ip, 16);
        control->head.cmsg_level = IPPROTO_IPV6;
        control->head.cmsg_type = IPV6_PKTINFO;
        control->head.cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(&control->head), &info, sizeof(info));
        return CMSG_SPACE(sizeof(info));
    }
}

int datagram_send(int fd, const struct addr *from, const struct addr *to, struct span bytes)
{
    struct sockaddr_storage name;
    struct iovec data = {(void *)(uintptr_t)bytes.data, bytes.len};
    union control control = {0};
    struct msghdr message = {
        .msg_name = &name, .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control};

    message.msg_namelen = addr_to_sockaddr(to, &name);
    message.msg_controllen = write_from(&control, from);
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
