#include "proxy/keeper/diag.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum { REPLY_MAX = 32768 }; /* as large as the kernel ever makes a dump's datagram */

/* ---- questions ---- */

static void ask(struct diag_request *out, uint8_t family, uint32_t states)
{
    *out = (struct diag_request){
        .head = {.nlmsg_len = sizeof(*out),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_ext = 1 << (INET_DIAG_INFO - 1),
                 .idiag_states = states},
    };
}

void diag_ask_all(struct diag_request *out, uint8_t family)
{
    ask(out, family,
        1 << DIAG_ESTABLISHED | 1 << DIAG_SYN_SENT | 1 << DIAG_FIN_WAIT1 | 1 << DIAG_FIN_WAIT2 |
            1 << DIAG_CLOSE_WAIT | 1 << DIAG_LISTEN);
}

void diag_ask_sending(struct diag_request *out, uint8_t family)
{
    ask(out, family,
        1 << DIAG_ESTABLISHED | 1 << DIAG_SYN_SENT | 1 << DIAG_FIN_WAIT1 | 1 << DIAG_CLOSE_WAIT |
            1 << DIAG_LAST_ACK | 1 << DIAG_CLOSING);
}

void diag_ask_end(struct diag_request *out, const struct diag_socket *socket)
{
    *out = (struct diag_request){
        .head = {.nlmsg_len = sizeof(*out),
                 .nlmsg_type = SOCK_DESTROY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .body = {.sdiag_family = socket->family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .id = socket->its_own},
    };
}

/* ---- answers ---- */

static struct addr addr_of(uint8_t family, const __be32 words[4], __be16 port)
{
    struct addr addr = {.port = ntohs(port)};

    if (family == AF_INET6) {
        memcpy(addr.ip, words, sizeof(addr.ip));
        return addr;
    }
    addr.ip[10] = addr.ip[11] = 0xff;
    memcpy(addr.ip + 12, words, 4);
    return addr;
}

/* The attribute at the start of *from, which moves on behind it. False: there is none that is
 * whole. */
static bool take_attr(struct span *from, uint16_t *type, struct span *value)
{
    struct nlattr attr;
    size_t step;

    if (from->len < sizeof(attr))
        return false;
    memcpy(&attr, from->data, sizeof(attr));
    if (attr.nla_len < sizeof(attr) || attr.nla_len > from->len)
        return false;
    *type = attr.nla_type & NLA_TYPE_MASK;
    *value = span_of(from->data + sizeof(attr), attr.nla_len - sizeof(attr));
    step = NLA_ALIGN(attr.nla_len);
    if (step > from->len)
        step = from->len;
    *from = span_of(from->data + step, from->len - step);
    return true;
}

/* The SYN that it sent is counted among what was acknowledged; of payload no more than what left
 * once, which is exact while nothing is under way. */
static void read_info(struct span value, struct diag_socket *socket)
{
    struct tcp_info info = {0};
    uint64_t sent;

    memcpy(&info, value.data, value.len < sizeof(info) ? value.len : sizeof(info));
    sent = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
    socket->begun_here =
        socket->state == DIAG_SYN_SENT || (socket->state == DIAG_ESTABLISHED &&
                                           !info.tcpi_unacked && info.tcpi_bytes_acked == sent + 1);
    socket->tx = sent; /* of what is acknowledged the SYN may be one */
    socket->rx = info.tcpi_bytes_received;
    socket->waits = info.tcpi_notsent_bytes;
}

static void read_tls(struct span value, struct diag_socket *socket)
{
    struct span inner;
    uint16_t type;

    while (take_attr(&value, &type, &inner))
        if (type == TLS_INFO_VERSION && inner.len >= sizeof(socket->tls_version))
            memcpy(&socket->tls_version, inner.data, sizeof(socket->tls_version));
}

static void read_attrs(struct span attrs, struct diag_socket *socket)
{
    struct span value, inner;
    uint16_t type;

    while (take_attr(&attrs, &type, &value)) {
        if (type == INET_DIAG_CGROUP_ID && value.len >= sizeof(socket->cgroup))
            memcpy(&socket->cgroup, value.data, sizeof(socket->cgroup));
        else if (type == INET_DIAG_INFO)
            read_info(value, socket);
        else if (type == INET_DIAG_ULP_INFO)
            while (take_attr(&value, &type, &inner))
                if (type == INET_ULP_INFO_TLS)
                    read_tls(inner, socket);
    }
}

/* False: it is none that we know. */
static bool read_socket(struct span body, struct diag_socket *out)
{
    struct inet_diag_msg told;

    if (body.len < sizeof(told))
        return false;
    memcpy(&told, body.data, sizeof(told));
    if (told.idiag_family != AF_INET && told.idiag_family != AF_INET6)
        return false;
    *out = (struct diag_socket){
        .family = told.idiag_family,
        .state = told.idiag_state,
        .src = addr_of(told.idiag_family, told.id.idiag_src, told.id.idiag_sport),
        .dst = addr_of(told.idiag_family, told.id.idiag_dst, told.id.idiag_dport),
        .cookie = (uint64_t)told.id.idiag_cookie[1] << 32 | told.id.idiag_cookie[0],
        .inode = told.idiag_inode,
        .unread = told.idiag_rqueue,
        .its_own = told.id,
    };
    read_attrs(span_of(body.data + sizeof(told), body.len - sizeof(told)), out);
    return true;
}

/* The message at the start of *from, as take_attr(). */
static bool take_message(struct span *from, struct nlmsghdr *head, struct span *body)
{
    size_t step;

    if (from->len < sizeof(*head))
        return false;
    memcpy(head, from->data, sizeof(*head));
    if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > from->len)
        return false;
    *body = span_of(from->data + sizeof(*head), head->nlmsg_len - sizeof(*head));
    step = NLMSG_ALIGN((size_t)head->nlmsg_len);
    if (step > from->len)
        step = from->len;
    *from = span_of(from->data + step, from->len - step);
    return true;
}

/* Of an NLMSG_ERROR, or the NLMSG_DONE of a dump that failed: a negative errno; 0: all is well. */
static int code_of(struct span body)
{
    int32_t code;

    if (body.len < sizeof(code))
        return -EBADMSG;
    memcpy(&code, body.data, sizeof(code));
    return code > 0 || code < -4095 ? -EBADMSG : code;
}

int diag_take(struct span answer, void (*visit)(void *arg, const struct diag_socket *socket),
              void *arg, bool *done, struct err *err)
{
    struct nlmsghdr head;
    struct span body;

    *done = false;
    while (!*done && take_message(&answer, &head, &body)) {
        struct diag_socket socket;
        int code = 0;

        if (head.nlmsg_type == NLMSG_DONE) {
            *done = true;
            code = body.len ? code_of(body) : 0;
        } else if (head.nlmsg_type == NLMSG_ERROR) {
            code = code_of(body);
            code = code ? code : -EBADMSG;
        } else if (head.nlmsg_type == SOCK_DIAG_BY_FAMILY && read_socket(body, &socket)) {
            visit(arg, &socket);
        }
        if (code < 0)
            return err_sys(err, code, "sock_diag refused a dump");
    }
    return 0;
}

int diag_take_end(struct span answer)
{
    struct nlmsghdr head;
    struct span body;

    if (!take_message(&answer, &head, &body) || head.nlmsg_type != NLMSG_ERROR)
        return -EBADMSG;
    return code_of(body);
}

/* ---- the kernel ---- */

int diag_open(void)
{
    CLEANUP(fd_close)
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};

    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
        return -errno;
    return fd_take(&fd);
}

int diag_list(int fd, const struct diag_request *request,
              void (*visit)(void *arg, const struct diag_socket *socket), void *arg)
{
    uint8_t answer[REPLY_MAX];
    struct err err;
    bool done = false;
    int code = 0;

    if (send(fd, request, sizeof(*request), 0) < 0)
        return -errno;
    while (code == 0 && !done) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);

        if (n < 0)
            code = errno == EINTR ? 0 : -errno;
        else
            code = diag_take(span_of(answer, (size_t)n), visit, arg, &done, &err);
    }
    return code;
}

int diag_end(int fd, const struct diag_socket *socket)
{
    struct diag_request request;
    uint8_t answer[1024];
    ssize_t n;

    diag_ask_end(&request, socket);
    if (send(fd, &request, sizeof(request), 0) < 0)
        return -errno;
    n = recv(fd, answer, sizeof(answer), 0); /* it was answered within our call */
    return n < 0 ? -errno : diag_take_end(span_of(answer, (size_t)n));
}
