/* attempting: what a test of attempts.c has in the place of the keeper, the kernel, the network,
 * memory and time. What is done by them is noted in `seen`; each packet must be the right one. */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <search.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "proxy/keeper/keeper.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets.h"
#include "proxy/doors/syn.h"
#include "proxy/doors/upstream.h"
#include "proxy/enforce/connects.h"
#include "sallyport.skel.h"

enum { NETNS = 77, COOKIE = 1234, SECOND_COOKIE = 1235, RAW4 = 10004, RAW6 = 10006 };
enum {
    ATTEMPTS_MAX = 16384, /* as in attempts.c */
    NO_FILE = 1 << 28,    /* a descriptor that is none */
    HURRY = 1000,
};

/* What happens. */
enum step {
    END,
    SYN,      /* is held */
    AGAIN,    /* the same, repeated by the kernel: its IP header differs */
    OTHER,    /* the same socket's, from another port */
    RENEWED,  /* ... from the same port, with another sequence number */
    SECOND,   /* another socket's */
    NONSENSE, /* a record without a SYN */
    ANSWER,   /* the upstream's socket becomes writable */
    PASS,     /* all the time that anything waits for */
    GONE,     /* the kernel says that the program's socket is */
    TAKE_IT,  /* it is accepted */
    TAKE_OTHER,
    LEAVE, /* the namespace is not listened in any more */
};

struct scenario {
    const char *name;
    enum step steps[8];
    int no_socket, at_once, later; /* errnos: of the socket, of connect(), of its result */
    bool no_memory, no_timer;      /* for the table; for the time */
    bool denied;                   /* by policies */
    unsigned room;                 /* for connections; 0: plenty */
    const char *seen;              /* what was done, in order */
    unsigned admitted, open;       /* in the end, before the table is freed */
};

static struct sallyport_bpf bpf;
static const struct scenario *now;
static char seen[512];
static struct syn held;        /* the last one */
static int far_end = -1;       /* of the last upstream */
static bool hurry, gone, over; /* time passes; the namespace has left; no real sockets */
static bool may_send;          /* we have CAP_NET_RAW */
static uint64_t held_until;
static unsigned sockets_made;
static struct pod pod_of[] = {{.refs = 1}, {.refs = 1}, {.refs = 1}};
static size_t pods_registered;
static const struct sockaddr_in *server; /* connect there for real */

static void append(const char *text)
{
    size_t len = strlen(seen);

    snprintf(seen + len, sizeof(seen) - len, "%s%s", len ? " " : "", text);
}

/* ---- in the place of the keeper, the kernel and the network ------------------------------------
 */

struct sallyport_bpf *keeper_bpf(struct keeper *keeper)
{
    (void)keeper;
    return &bpf;
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    return cgroup_id ? &pod_of[cgroup_id] : NULL;
}

size_t pods_count(const struct pods *pods)
{
    (void)pods;
    return pods_registered;
}

const struct pins_older *keeper_older(const struct keeper *keeper, size_t i)
{
    (void)keeper;
    (void)i;
    return NULL;
}

struct keeper_net *keeper_net_find(struct keeper *keeper, uint64_t netns_cookie)
{
    (void)keeper;
    assert_int_equal(netns_cookie, NETNS);
    return gone ? NULL : (struct keeper_net *)&held;
}

const struct listeners *keeper_net_listeners(const struct keeper_net *net)
{
    static const struct listeners listeners = {.raw4 = RAW4, .raw6 = RAW6};

    (void)net;
    return &listeners;
}

bool connects_may_dial(struct connects *connects, const struct origin *origin)
{
    (void)connects;
    assert_int_equal(origin->dst.port, 443);
    return !now->denied;
}

void sockets_refused(struct sockets *sockets, const struct origin *origin, int error)
{
    (void)sockets;
    assert_int_equal(origin->cookie, COOKIE);
    assert_int_equal(error, now->at_once ? now->at_once : -now->later);
    append("told");
}

/* A pair whose one end cannot be written until the other is read. */
int upstream_socket(struct keeper *keeper, const struct origin *origin, struct err *err)
{
    static const char filling[4096];
    int pair[2];

    (void)keeper;
    assert_int_equal(origin->dst.port, 443);
    assert_int_equal(origin->src.port, held.src.port);
    sockets_made++;
    if (now->no_socket)
        return err_set(err, now->no_socket, "no socket");
    if (over)
        return NO_FILE + (int)sockets_made;
    if (server)
        return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    while (write(pair[0], filling, sizeof(filling)) > 0)
        ;
    fd_close(&far_end);
    far_end = pair[1];
    return pair[0];
}

int upstream_begin(int fd, const struct origin *origin, struct err *err)
{
    (void)origin;
    if (now->at_once)
        return err_set(err, now->at_once, "failed at once");
    if (server && connect(fd, (const struct sockaddr *)server, sizeof(*server)) < 0 &&
        errno != EINPROGRESS)
        return err_set(err, -errno, "connect");
    return 0;
}

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (!now->later || server || name != SO_ERROR)
        return __real_getsockopt(fd, level, name, value, len);
    *(int *)value = now->later;
    return 0;
}

ssize_t __wrap_sendto(int fd, const void *packet, size_t len, int flags,
                      const struct sockaddr *name, socklen_t name_len);
ssize_t __wrap_sendto(int fd, const void *packet, size_t len, int flags,
                      const struct sockaddr *name, socklen_t name_len)
{
    uint8_t reset[SYN_ANSWER_MAX], message[SYN_ANSWER_MAX];
    int error = now->at_once ? now->at_once : -now->later;
    size_t reset_len = syn_refuse(&held, -ECONNREFUSED, reset);
    size_t message_len = error ? syn_refuse(&held, error, message) : 0;
    struct sockaddr_storage to;
    struct addr host;

    assert_int_equal(fd, held.v4 ? RAW4 : RAW6);
    assert_true(flags & MSG_DONTWAIT);
    if (len == held.len && memcmp(packet, held.packet, len) == 0) {
        append("syn");
        host = held.to;
    } else if (len == reset_len && memcmp(packet, reset, len) == 0) {
        append("rst");
        host = held.src;
    } else if (len == message_len && memcmp(packet, message, len) == 0) {
        append("icmp");
        host = held.src;
    } else {
        fail_msg("%s: what packet is this?", now->name);
    }
    host.port = 0;
    assert_int_equal(name_len, addr_to_sockaddr(&host, &to));
    assert_memory_equal(name, &to, name_len);
    return (ssize_t)len;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
    if ((type & ~SOCK_CLOEXEC) != SOCK_RAW)
        return __real_socket(family, type, protocol);
    if (may_send)
        return __real_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    errno = EPERM;
    return -1;
}

int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
    (void)fd;
    (void)flags;
    assert_int_equal(*(const uint32_t *)key, 0);
    held_until = *(const uint64_t *)value;
    return 0;
}

/* ---- in the place of memory and time ------------------------------------------------------------
 */

void *__real_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *))
{
    return now->no_memory ? NULL : __real_tsearch(key, root, compare);
}

int __real_event_add(struct event *event, const struct timeval *wait);
int __wrap_event_add(struct event *event, const struct timeval *wait);
int __wrap_event_add(struct event *event, const struct timeval *wait)
{
    int64_t us = wait->tv_sec * 1000000 + wait->tv_usec;
    struct timeval soon = {.tv_usec = us / HURRY};

    if (now->no_timer)
        return -1;
    if (over)
        return 0;
    return __real_event_add(event, hurry ? &soon : wait);
}
