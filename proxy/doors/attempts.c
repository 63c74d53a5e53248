#include "proxy/doors/attempts.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <search.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/keeper/keeper.h"
#include "proxy/limits.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets.h"
#include "proxy/doors/awake.h"
#include "proxy/doors/syn.h"
#include "proxy/doors/upstream.h"
#include "proxy/enforce/connects.h"

enum {
    /* Most of the 28,000 ports that a namespace has: so many may wait for servers that do not
     * answer. What comes beyond is let in to the listener at once. */
    ATTEMPTS_MAX = 16384,
    CONNECT_SECONDS = 150, /* longer than the kernel tries: the program's socket is gone, unheard */
    ACCEPT_SECONDS = 10,   /* from the SYN sent on until it is accepted; nearly always at once */
    TELLS_MAX = 8,
    FIRST_TELL_US = 5000,
};
struct attempt {
    uint64_t cookie; /* the program's socket's; first: what the tree sorts by */
    struct attempts *attempts;
    struct attempt *next, **at; /* FRESH: in the list of those */
    struct origin origin;
    struct pod *pod; /* a reference, or NULL */
    struct syn syn;
    enum {
        FRESH, /* until all is heard that there is to hear, it may have ended */
        CONNECTING,
        CONNECTED, /* and the SYN was sent on */
        FAILED,    /* and the program's socket was told */
    } state;
    int fd;
    bool admitted;  /* it has a connection's share of the limits */
    int error;      /* FAILED: a negative errno */
    unsigned tells; /* FAILED: how often */
    struct event event;
};

struct attempts {
    struct attempts_parts parts;
    void *tree; /* tsearch(3) of struct attempt */
    size_t len;
    struct attempt *fresh, **fresh_end;
    struct awake *awake;
    uint64_t told_full_ns;
    bool retired;
};

/* ---- the table ---- */

static int by_cookie(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static struct attempt *find(const struct attempts *attempts, uint64_t cookie)
{
    struct attempt **found = tfind(&cookie, &attempts->tree, by_cookie);

    return found ? *found : NULL;
}

static void give_back(struct attempt *attempt)
{
    if (attempt->admitted)
        limits_leave(attempt->attempts->parts.limits, attempt->pod);
    attempt->admitted = false;
}

static void no_longer_fresh(struct attempt *attempt)
{
    *attempt->at = attempt->next;
    if (attempt->next)
        attempt->next->at = attempt->at;
    else
        attempt->attempts->fresh_end = attempt->at;
    attempt->state = CONNECTING;
}

/* As the kernel ends what it has not answered: by a reset. A FIN would keep the port for a minute,
 * and programs that give up often enough (Go dials in advance) would leave us none. */
static void abandon(int *fd)
{
    static const struct linger reset = {.l_onoff = 1};

    if (*fd >= 0)
        setsockopt(*fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    fd_close(fd);
}

static void drop(struct attempt *attempt)
{
    struct attempts *attempts = attempt->attempts;

    if (attempt->state == FRESH)
        no_longer_fresh(attempt);
    tdelete(attempt, &attempts->tree, by_cookie);
    attempts->len--;
    event_del(&attempt->event);
    abandon(&attempt->fd);
    give_back(attempt);
    if (attempt->pod)
        atomic_fetch_sub(&attempt->pod->attempts, 1);
    pod_unref(&attempt->pod);
    free(attempt);
}

/* ---- telling the program's socket ---- */

/* A raw socket of the namespace sends it, and it comes by lo as what the socket itself sends. If it
 * does not, it is a packet lost: the program's socket will send its SYN once more. */
static void inject(const struct attempt *attempt, const struct addr *to, const uint8_t *packet,
                   size_t len)
{
    const struct keeper_net *net =
        keeper_net_find(attempt->attempts->parts.keeper, attempt->origin.netns_cookie);
    struct addr host = *to;
    struct sockaddr_storage name;
    socklen_t name_len;
    int fd;

    if (!net)
        return; /* left meanwhile */
    fd = attempt->syn.v4 ? keeper_net_listeners(net)->raw4 : keeper_net_listeners(net)->raw6;
    host.port = 0; /* a raw socket takes a port for a protocol */
    name_len = addr_to_sockaddr(&host, &name);
    sendto(fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&name, name_len);
}

static void watch(struct attempt *attempt, short what, const struct timeval *wait);

/* An ICMP error is lost on a socket that is inside a call just then, as it may still be: connect()
 * has only begun. So it is told again, unless the kernel tells that the socket is gone. */
static void tell_failed(struct attempt *attempt)
{
    uint8_t answer[SYN_ANSWER_MAX];
    size_t len = syn_refuse(&attempt->syn, attempt->error, answer);
    struct timeval wait = {.tv_usec = FIRST_TELL_US << attempt->tells};

    inject(attempt, &attempt->syn.src, answer, len);
    if (++attempt->tells >= TELLS_MAX)
        drop(attempt); /* if it is still there its next SYN begins anew */
    else
        watch(attempt, 0, &wait);
}

static void send_on(struct attempt *attempt)
{
    static const struct timeval wait = {.tv_sec = ACCEPT_SECONDS};

    inject(attempt, &attempt->syn.to, attempt->syn.packet, attempt->syn.len);
    watch(attempt, 0, &wait);
}

/* ---- what becomes of an attempt ---- */

/* Not the network's answer, but ours: the next SYN may fare better. */
static bool is_shortage(int error)
{
    switch (error) {
    case -EAGAIN:
    case -EADDRNOTAVAIL:
    case -ENOMEM:
    case -ENOBUFS:
        return true;
    default:
        return false;
    }
}

/* A time-out is left to the program's socket, which has a limit of its own, and has waited as long.
 */
static void failed(struct attempt *attempt, int error)
{
    fd_close(&attempt->fd);
    give_back(attempt);
    if (error == -ETIMEDOUT || is_shortage(error)) {
        drop(attempt);
        return;
    }
    attempt->state = FAILED;
    attempt->error = error;
    sockets_refused(attempt->attempts->parts.sockets, &attempt->origin, error);
    tell_failed(attempt);
}

/* Why the server did not answer our SYN, 0 when it did. What came after an answer (it may have
 * reset the connection already) is the flow's to find: the kernel tells it once. */
static int failure_of(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    int error = 0;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_bytes_acked > 0)
        return 0;
    len = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *attempt = arg;
    int error;

    switch (attempt->state) {
    case FRESH: /* nothing is waited for */
        return;
    case CONNECTING:
        error = what & EV_TIMEOUT ? ETIMEDOUT : failure_of(fd);
        if (error) {
            failed(attempt, -error);
            return;
        }
        attempt->state = CONNECTED;
        send_on(attempt);
        return;
    case CONNECTED: /* nobody accepted it: its socket is gone, and the record of that was lost */
        drop(attempt);
        return;
    case FAILED:
        tell_failed(attempt);
        return;
    }
}

/* what: EV_WRITE, or 0 for the time alone. The attempt may be gone afterwards. */
static void watch(struct attempt *attempt, short what, const struct timeval *wait)
{
    event_del(&attempt->event);
    event_assign(&attempt->event, attempt->attempts->parts.base, what ? attempt->fd : -1, what,
                 on_event, attempt);
    if (event_add(&attempt->event, wait) < 0)
        drop(attempt); /* without memory: its next SYN begins anew */
}

/* Told at most once a second. */
static void tell_full(struct attempts *attempts)
{
    uint64_t now = clock_ns();

    if (attempts->told_full_ns && now - attempts->told_full_ns < 1000000000u)
        return;
    attempts->told_full_ns = now;
    log_warn("%zu connections wait for servers that do not answer, as many as may, of all pods or "
             "of one: further ones look connected until it is known",
             attempts->len);
}

static struct attempt *attempt_new(struct attempts *attempts, const struct origin *origin,
                                   struct pod *pod, const struct syn *syn)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));

    if (!attempt)
        return NULL;
    attempt->cookie = origin->cookie;
    attempt->attempts = attempts;
    attempt->origin = *origin;
    attempt->syn = *syn;
    attempt->fd = -1;
    evtimer_assign(&attempt->event, attempts->parts.base, on_event, attempt);
    if (!tsearch(attempt, &attempts->tree, by_cookie)) {
        free(attempt);
        return NULL;
    }
    attempts->len++;
    attempt->at = attempts->fresh_end;
    *attempts->fresh_end = attempt;
    attempts->fresh_end = &attempt->next;
    attempt->pod = pod_ref(pod);
    if (pod)
        atomic_fetch_add(&pod->attempts, 1);
    return attempt;
}

/* What we cannot wait for, or may not dial, goes on to the listener: acceptor.c or the flow refuses
 * it and says why, or by then it may, or there is room again, and the upstream is dialled from
 * there. */
static void let_in(struct attempts *attempts, const struct origin *origin, const struct syn *syn)
{
    const struct attempt passing = {.attempts = attempts, .origin = *origin, .syn = *syn};

    inject(&passing, &syn->to, syn->packet, syn->len);
}

/* One pod's servers that do not answer leave room to the others. */
static bool has_room(const struct attempts *attempts, const struct pod *pod)
{
    if (pod && pods_count(attempts->parts.pods) > 1)
        return limits_fair(atomic_load(&pod->attempts), ATTEMPTS_MAX - attempts->len);
    return attempts->len < ATTEMPTS_MAX;
}

/* False: there is no room for it, or it may not go there. */
static bool begin(struct attempt *attempt)
{
    const struct attempts_parts *parts = &attempt->attempts->parts;
    struct err err = {0};
    int code;

    if (!connects_may_dial(parts->connects, &attempt->origin) ||
        limits_admit(parts->limits, attempt->pod))
        return false;
    attempt->admitted = true;
    attempt->fd = upstream_socket(parts->keeper, &attempt->origin, &err);
    if (attempt->fd < 0)
        return false;
    code = upstream_begin(attempt->fd, &attempt->origin, &err);
    if (code < 0)
        failed(attempt, code);
    else
        watch(attempt, EV_WRITE, &(struct timeval){.tv_sec = CONNECT_SECONDS});
    return true;
}

static void begin_fresh(struct attempts *attempts)
{
    struct attempt *attempt;

    while ((attempt = attempts->fresh)) {
        no_longer_fresh(attempt);
        if (begin(attempt))
            continue;
        inject(attempt, &attempt->syn.to, attempt->syn.packet, attempt->syn.len);
        drop(attempt);
    }
}

/* False: there is no room for it. */
static bool note(struct attempts *attempts, const struct origin *origin, const struct syn *syn)
{
    struct pod *pod = pods_find(attempts->parts.pods, origin->pod);

    if (has_room(attempts, pod))
        return attempt_new(attempts, origin, pod, syn);
    tell_full(attempts);
    return false;
}

static void on_held(struct attempts *attempts, const struct origin *origin, const struct syn *syn)
{
    struct attempt *attempt = find(attempts, origin->cookie);

    if (attempt && !syn_is_again(&attempt->syn, syn)) {
        drop(attempt); /* the socket has begun another connection */
        attempt = NULL;
    }
    if (!attempt) {
        if (attempts->retired || !note(attempts, origin, syn)) /* else two agents would dial */
            let_in(attempts, origin, syn);
        return;
    }
    attempt->syn = *syn; /* the last one counts: the kernel may have changed its options */
    if (attempt->state == CONNECTED)
        send_on(attempt);
}

void attempts_on_record(void *arg, const struct abi_syn *record)
{
    struct attempts *attempts = arg;
    struct attempt *attempt;
    struct origin origin;
    struct syn syn;

    if (!record) {
        begin_fresh(attempts);
        return;
    }
    if (record->kind == ABI_SYN_GONE) {
        attempt = find(attempts, record->origin.cookie);
        if (attempt)
            drop(attempt);
        return;
    }
    if (record->len > sizeof(record->packet) ||
        !syn_parse(span_of(record->packet, record->len), &syn))
        return;
    origin_from(&record->origin, &syn.src, &origin);
    on_held(attempts, &origin, &syn);
}

/* The pod it was admitted for may have been removed since, and another registered. */
static void hand_over(struct attempt *attempt, struct pod *pod)
{
    limits_move(attempt->pod, pod);
    attempt->admitted = false;
}

int attempts_take(struct attempts *attempts, const struct origin *origin, struct pod *pod)
{
    struct attempt *attempt = find(attempts, origin->cookie);
    int fd;

    if (!attempt || attempt->origin.src.port != origin->src.port)
        return -1; /* none, or the socket's next one */
    fd = fd_take(&attempt->fd);
    if (fd >= 0)
        hand_over(attempt, pod);
    drop(attempt);
    return fd;
}

struct search {
    uint64_t netns_cookie;
    bool found;
};

static void look_at(const void *node, VISIT visit, void *arg)
{
    const struct attempt *attempt = *(struct attempt *const *)node;
    struct search *search = arg;

    if ((visit == preorder || visit == leaf) &&
        attempt->origin.netns_cookie == search->netns_cookie)
        search->found = true;
}

bool attempts_are_in(const struct attempts *attempts, uint64_t netns_cookie)
{
    struct search search = {.netns_cookie = netns_cookie};

    twalk_r(attempts->tree, look_at, &search);
    return search.found;
}

/* ---- being there ---- */

int attempts_new(struct attempts **out, const struct attempts_parts *parts, struct err *err)
{
    CLEANUP(attempts_free) struct attempts *attempts = calloc(1, sizeof(*attempts));

    if (!attempts)
        return err_set(err, -ENOMEM, "table of connections that begin");
    attempts->parts = *parts;
    attempts->fresh_end = &attempts->fresh;
    if (awake_new(&attempts->awake, parts->base, keeper_bpf(parts->keeper), err) < 0)
        return err->code;
    *out = TAKE(attempts);
    return 0;
}

void attempts_retire(struct attempts *attempts)
{
    attempts->retired = true;
    awake_leave(attempts->awake);
}

static void count_open(const void *node, VISIT when, void *closure)
{
    const struct attempt *attempt = *(struct attempt *const *)node;
    size_t *open = closure;

    if (when == postorder || when == leaf)
        *open += attempt->state == FRESH || attempt->state == CONNECTING;
}

size_t attempts_open(const struct attempts *attempts)
{
    size_t open = 0;

    twalk_r(attempts->tree, count_open, &open);
    return open;
}

void attempts_free(struct attempts **attempts)
{
    struct attempts *gone = TAKE(*attempts);

    if (!gone)
        return;
    awake_free(&gone->awake);
    while (gone->tree)
        drop(*(struct attempt **)gone->tree);
    free(gone);
}
