#include "proxy/doors/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/doors/acceptor.h"
#include "proxy/keeper/listener.h"
#include "proxy/doors/returned.h"

enum { BACKLOG = 4096 }; /* the kernel takes net.core.somaxconn if that is less */
static const uint64_t told_each_ns = 1000000000;

struct gate {
    struct acceptor *acceptor;
    int *fds;
    uint16_t *ports;
    size_t len;
    int diag_fd; /* of returned.h; -1: not to be had */
    struct {
        uint64_t count, told, told_ns;
    } closed[GATE_WAYS];
};

/* ---- decisions ---- */

int gate_parse(const char *text, struct addr *out, struct err *err)
{
    const char *colon = strrchr(text, ':');
    bool v6 = *text == '[' && colon > text && colon[-1] == ']';
    size_t len = colon ? (size_t)(colon - text) - (v6 ? 2 : 0) : 0;
    struct addr addr = {.ip = {[10] = 0xff, [11] = 0xff}};
    char ip[ADDR_TEXT_MAX] = "", *end = NULL;
    unsigned long port = 0;

    if (colon && colon[1] >= '0' && colon[1] <= '9')
        port = strtoul(colon + 1, &end, 10);
    if (len < sizeof(ip))
        memcpy(ip, text + (v6 ? 1 : 0), len);
    if (!end || *end || port == 0 || port > 65535 ||
        inet_pton(v6 ? AF_INET6 : AF_INET, ip, v6 ? addr.ip : addr.ip + 12) != 1)
        return err_set(err, -EINVAL,
                       "'%.100s' is no address by number with a port, such as 0.0.0.0:15001 or "
                       "[::]:15001",
                       text);
    addr.port = (uint16_t)port;
    *out = addr;
    return 0;
}

static bool same(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* A destination with a port of ours on this host is us, whatever name it has (another address of
 * the host, one that is rewritten to ours): to dial it would come back for ever. */
enum gate_way gate_judge(const struct gate_seen *seen, const uint16_t *listening, size_t len,
                         bool (*is_own)(const struct addr *), struct addr *dst)
{
    bool rewritten = seen->original.port && !same(&seen->original, &seen->local);

    *dst = rewritten ? seen->original : seen->local;
    for (size_t i = 0; i < len; i++)
        if (dst->port == listening[i] && is_own(dst))
            return GATE_ITSELF;
    return rewritten ? GATE_REDIRECTED : GATE_TRANSPARENT;
}

/* ---- what the kernel knows ---- */

/* What may be bound to is ours; also what `ip_nonlocal_bind` allows: better one too many. */
static bool is_own(const struct addr *addr)
{
    const struct addr any_port = {.port = 0};
    struct addr at = *addr;
    struct sockaddr_storage name;
    CLEANUP(fd_close) int fd = socket(addr_is_v4(addr) ? AF_INET : AF_INET6, SOCK_DGRAM, 0);

    at.port = any_port.port;
    return fd < 0 || bind(fd, (struct sockaddr *)&name, addr_to_sockaddr(&at, &name)) == 0;
}

static void ask_conntrack(int fd, bool v4, struct addr *out)
{
    struct sockaddr_storage name = {0};
    socklen_t len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

    if (getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? SO_ORIGINAL_DST : IP6T_SO_ORIGINAL_DST, &name,
                   &len) < 0 ||
        !addr_from_sockaddr(&name, out))
        *out = (struct addr){.port = 0};
}

static enum gate_way look_at(const struct gate *gate, int fd, struct origin *origin)
{
    struct gate_seen seen;
    socklen_t len = sizeof(origin->cookie);
    enum gate_way way;

    if (origin_peer(fd, &origin->src) < 0 || origin_local(fd, &seen.local) < 0)
        return GATE_ITSELF; /* of no family we know */
    ask_conntrack(fd, addr_is_v4(&seen.local), &seen.original);
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &origin->cookie, &len);
    way = gate_judge(&seen, gate->ports, gate->len, is_own, &origin->dst);
    if (way != GATE_ITSELF && returned_is_ours(gate->diag_fd, &origin->src, &origin->dst))
        return GATE_RETURNED;
    return way;
}

/* ---- who is closed ---- */

static void tell_closed(struct gate *gate, enum gate_way way, const struct origin *origin)
{
    static const char *const advice[GATE_WAYS] = {
        [GATE_ITSELF] = "it was addressed to --listen itself, which takes only what rules of "
                        "nftables or iptables send there",
        [GATE_RETURNED] = "it was ours, on its way to the server, and a rule sent it back: exempt "
                          "those with mark 0x53 (see README)",
    };
    uint64_t now = clock_ns(), fresh = ++gate->closed[way].count - gate->closed[way].told;
    char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];

    if (gate->closed[way].told_ns && now - gate->closed[way].told_ns < told_each_ns)
        return;
    gate->closed[way].told_ns = now;
    gate->closed[way].told = gate->closed[way].count;
    log_warn("closed %llu connection%s, the last from %s to %s: %s", (unsigned long long)fresh,
             fresh == 1 ? "" : "s", addr_format(&origin->src, src), addr_format(&origin->dst, dst),
             advice[way]);
}

static bool meet(void *arg, int fd, struct arrival *out)
{
    static const struct linger at_once = {.l_onoff = 1};
    struct gate *gate = arg;
    enum gate_way way = look_at(gate, fd, &out->origin);

    if (way == GATE_REDIRECTED || way == GATE_TRANSPARENT)
        return true;
    tell_closed(gate, way, &out->origin);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* by RST */
    return false;
}

/* ---- set-up ---- */

static int listen_at(const struct addr *at, bool *transparent, struct err *err)
{
    static const int on = 1;
    bool v4 = addr_is_v4(at);
    CLEANUP(fd_close) int fd = listener_socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM);
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(at, &name);
    char text[ADDR_TEXT_MAX];

    if (fd < 0)
        return err_sys(err, fd, "--listen %s", addr_format(at, text));
    *transparent = setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT,
                              &on, sizeof(on)) == 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&name, len) < 0 || listen(fd, BACKLOG) < 0)
        return err_sys(err, -errno, "--listen %s", addr_format(at, text));
    return fd_take(&fd);
}

static int open_all(struct gate *gate, const struct addr *at, size_t len, struct err *err)
{
    bool transparent = true;

    gate->fds = calloc(len, sizeof(*gate->fds));
    gate->ports = calloc(len, sizeof(*gate->ports));
    if (!gate->fds || !gate->ports)
        return err_set(err, -ENOMEM, "%zu listeners", len);
    for (; gate->len < len; gate->len++) {
        bool one = false;
        int fd = listen_at(&at[gate->len], &one, err);

        if (fd < 0)
            return fd;
        transparent = transparent && one;
        gate->fds[gate->len] = fd;
        gate->ports[gate->len] = at[gate->len].port;
    }
    for (size_t i = 0; i < len; i++) {
        int result = acceptor_watch(gate->acceptor, gate->fds[i], err);

        if (result < 0)
            return result;
    }
    if (!transparent)
        log_warn("no TPROXY without CAP_NET_ADMIN or CAP_NET_RAW: --listen takes what is "
                 "redirected (REDIRECT, DNAT), and our own connections bear no mark");
    return 0;
}

int gate_new(struct gate **out, const struct gate_parts *parts, const struct addr *at, size_t len,
             struct err *err)
{
    CLEANUP(gate_free) struct gate *gate = calloc(1, sizeof(*gate));
    int result;

    if (!gate)
        return err_set(err, -ENOMEM, "gate");
    gate->diag_fd = returned_open();
    const struct acceptor_parts accepting = {
        .base = parts->base,
        .sockets = parts->sockets,
        .credentials = parts->credentials,
        .limits = parts->limits,
        .workers = parts->workers,
        .workers_len = parts->workers_len,
        .meet = meet,
        .arg = gate,
    };

    result = acceptor_new(&gate->acceptor, &accepting, err);
    if (result == 0)
        result = open_all(gate, at, len, err);
    if (result < 0)
        return result;
    *out = TAKE(gate);
    return 0;
}

void gate_free(struct gate **gate)
{
    if (!*gate)
        return;
    acceptor_free(&(*gate)->acceptor);
    for (size_t i = 0; i < (*gate)->len; i++)
        fd_close(&(*gate)->fds[i]);
    free((*gate)->fds);
    free((*gate)->ports);
    fd_close(&(*gate)->diag_fd);
    free(TAKE(*gate));
}

void gate_accept(struct gate *gate)
{
    acceptor_run(gate->acceptor);
}
