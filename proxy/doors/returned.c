/* An upstream leg is looked up before its handshake can be done: connect() puts a socket into the
 * kernel's table before its SYN leaves. */
#include "proxy/doors/returned.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum { ANSWER_MAX = 4096 };

int returned_open(void)
{
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

    return fd < 0 ? -errno : fd;
}

static void fill_id(struct inet_diag_sockid *id, const struct addr *src, const struct addr *dst)
{
    size_t at = addr_is_v4(src) ? 12 : 0; /* IPv4 stands in the first word */

    id->idiag_sport = htons(src->port);
    id->idiag_dport = htons(dst->port);
    memcpy(id->idiag_src, src->ip + at, sizeof(src->ip) - at);
    memcpy(id->idiag_dst, dst->ip + at, sizeof(dst->ip) - at);
    id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

static uint32_t mark_in(const struct nlmsghdr *head)
{
    const struct inet_diag_msg *socket = NLMSG_DATA(head);
    int left = (int)head->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*socket));
    const struct rtattr *attr = (const struct rtattr *)(socket + 1);
    uint32_t mark = 0;

    for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
        if (attr->rta_type == INET_DIAG_MARK && RTA_PAYLOAD(attr) == sizeof(mark))
            memcpy(&mark, RTA_DATA(attr), sizeof(mark));
    return mark;
}

bool returned_is_ours(int fd, const struct addr *src, const struct addr *dst)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 ask;
    } question = {
        .head = {.nlmsg_len = sizeof(question),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .ask = {.sdiag_family = addr_is_v4(src) ? AF_INET : AF_INET6,
                .sdiag_protocol = IPPROTO_TCP,
                .idiag_states = UINT32_MAX},
    };
    union {
        struct nlmsghdr head;
        char bytes[ANSWER_MAX];
    } answer;
    ssize_t len;

    if (fd < 0 || addr_is_v4(src) != addr_is_v4(dst))
        return false;
    fill_id(&question.ask.id, src, dst);
    if (send(fd, &question, sizeof(question), 0) < 0)
        return false;
    len = recv(fd, &answer, sizeof(answer), 0); /* the kernel has answered within send() */
    return len >= (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) &&
           NLMSG_OK(&answer.head, (uint32_t)len) && answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
           ((const struct inet_diag_msg *)NLMSG_DATA(&answer.head))->idiag_state != TCP_LISTEN &&
           mark_in(&answer.head) == RETURNED_MARK;
}
