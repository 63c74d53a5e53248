#include "proxy/dns/resolver.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/dns/datagram.h"
#include "proxy/dns/ears.h"
#include "proxy/dns/exchanges.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/pods/pods.h"
#include "proxy/doors/ready.h"
#include "proxy/dns/unreachable.h"

enum {
    ASKED_A_TURN = 1024,
    DRAIN_TURNS = 16,
    ANSWERS_A_TURN = 64,
    LOST_TOLD_NS = 1000000000,
};

struct resolver {
    struct resolver_parts parts;
    struct ears ears;
    struct exchanges exchanges;
    bool busy;        /* the batch is in use */
    uint64_t lost_ns; /* when a loss was told */
    struct datagrams *batch;
    uint8_t answer[DATAGRAM_MAX], changed[DATAGRAM_MAX];
    bool retired; /* another agent listens, and has the map of who asked */
};

/* Datagrams get lost; that is theirs to bear, but somebody may want to know. */
static void note_lost(struct resolver *resolver, const char *what, int error)
{
    uint64_t now = clock_ns();

    if (resolver->lost_ns && now - resolver->lost_ns < LOST_TOLD_NS)
        return;
    resolver->lost_ns = now;
    log_warn("%s of name servers are lost: %s", what, strerror(error));
}

/* ---- their end ---- */

/* What it waits for will not come any more. (Without a socket it waits for nothing.) */
static void close_upstream(struct exchange *exchange)
{
    if (exchange->fd >= 0)
        event_del(&exchange->event);
    fd_close(&exchange->fd);
    lookups_fini(&exchange->lookups);
}

static void exchange_end(struct exchange *exchange)
{
    struct resolver *resolver = exchange->resolver;
    struct sallyport_bpf *bpf = keeper_bpf(resolver->parts.keeper);
    struct origin filed;

    close_upstream(exchange);
    identity_flow_end(resolver->parts.identity, &exchange->process);
    pod_unref(&exchange->pod);
    if (!resolver->retired &&
        origin_of_asker(resolver->parts.keeper, &exchange->key, &filed, NULL) == 0 &&
        exchange_is_of(exchange, filed.cookie, &filed.dst))
        origin_forget_asker(bpf, &exchange->key);
    exchanges_remove(&resolver->exchanges, &exchange);
}

/* ---- to the program ---- */

/* Ours, that the program's datagrams are written to. */
static struct addr address_asked(const struct exchange *exchange)
{
    struct addr asked = {.port = exchange->ear->port};

    memcpy(asked.ip, exchange->key.local, sizeof(asked.ip));
    return asked;
}

/* From the address that was written to, by the socket it came to: the kernel then shows the program
 * the server it asked. */
static void release(const struct exchange *exchange, const uint8_t *bytes, size_t len)
{
    struct addr from = address_asked(exchange);
    int code;

    code = datagram_send(exchange->ear->fd, &from, &exchange->origin.src, span_of(bytes, len));
    if (code < 0)
        note_lost(exchange->resolver, "answers", -code);
}

/* A program without us would have been told by its socket, and so is ours; if that cannot be, by
 * its resolver. */
static void refuse(struct exchange *exchange, const struct unreachable *what)
{
    const struct listeners *here = keeper_net_listeners(exchange->ear->net);
    const struct addr *program = &exchange->origin.src;
    const struct span question = span_of(what->head, what->head_len);
    const int icmp = addr_is_v4(program) ? here->icmp4 : here->icmp6;
    struct addr asked = address_asked(exchange);
    uint8_t refusal[LOOKUPS_REFUSAL_MAX];
    size_t len;
    int code;

    if (icmp >= 0 && what->code >= 0) {
        lookups_refuse(&exchange->lookups, what->error, question, NULL);
        code = unreachable_tell(icmp, what, program, &asked);
        if (code < 0)
            note_lost(exchange->resolver, "refusals", -code);
        return;
    }
    len = lookups_refuse(&exchange->lookups, what->error, question, refusal);
    if (len)
        release(exchange, refusal, len);
}

static void hear_refusals(struct exchange *exchange)
{
    struct unreachable what;

    for (int i = 0; i < ANSWERS_A_TURN && unreachable_hear(exchange->fd, &what); i++)
        refuse(exchange, &what);
}

static void answered(struct exchange *exchange, struct span answer)
{
    uint8_t *changed = exchange->resolver->changed;
    size_t changed_len;

    switch (lookups_answer(&exchange->lookups, answer, changed, &changed_len)) {
    case LOOKUPS_RELAY:
        release(exchange, answer.data, answer.len);
        break;
    case LOOKUPS_CHANGED:
        release(exchange, changed, changed_len);
        break;
    case LOOKUPS_DROP:
        break;
    }
}

static void hear(struct resolver *resolver, struct ear *ear, int most);

/* What was asked meanwhile is told before the answer. That may end the exchange: one program's
 * question can be the end of another's oldest exchange. */
static struct exchange *hear_first(struct exchange *exchange)
{
    struct resolver *resolver = exchange->resolver;
    const struct abi_tuple key = exchange->key;
    const int fd = exchange->fd;

    hear(resolver, exchange->ear, ASKED_A_TURN);
    exchange = exchanges_find(&resolver->exchanges, &key);
    return exchange && exchange->fd == fd ? exchange : NULL;
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *exchange = hear_first(arg);
    uint8_t *bytes = exchange ? exchange->resolver->answer : NULL;

    (void)what;
    if (exchange)
        hear_refusals(exchange);
    for (int i = 0; exchange && i < ANSWERS_A_TURN; i++) {
        ssize_t n = recv(fd, bytes, DATAGRAM_MAX, 0);

        if (n >= 0)
            answered(exchange, span_of(bytes, (size_t)n));
        else if (errno == EAGAIN) /* else a refusal's errno: those are heard elsewhere */
            break;
    }
}

/* ---- to the server ---- */

static int connect_upstream(int fd, const struct origin *origin)
{
    struct sockaddr_storage to, from;
    socklen_t to_len = addr_to_sockaddr(&origin->dst, &to), from_len;
    int code = unreachable_listen(fd, addr_is_v4(&origin->dst));

    if (code < 0)
        return code;
    if (origin->has_bound) {
        from_len = addr_to_sockaddr(&origin->bound, &from);
        if (bind(fd, (struct sockaddr *)&from, from_len) < 0)
            return -errno;
    }
    return connect(fd, (struct sockaddr *)&to, to_len) < 0 ? -errno : 0;
}

/* The port is the kernel's choice, and hard to guess. */
static int open_upstream(struct exchange *exchange)
{
    struct resolver *resolver = exchange->resolver;
    const struct origin *origin = &exchange->origin;
    struct exchange *quiet = exchanges_to_quiet(&resolver->exchanges, origin->pod);
    CLEANUP(fd_close) int fd = -1;
    int code;

    if (quiet)
        close_upstream(quiet);
    fd = keeper_socket(resolver->parts.keeper, origin->netns_cookie,
                       addr_is_v4(&origin->dst) ? AF_INET : AF_INET6, SOCK_DGRAM, NULL);
    code = fd < 0 ? fd : connect_upstream(fd, origin);
    if (code < 0)
        return code;
    if (event_assign(&exchange->event, resolver->parts.base, fd, EV_READ | EV_PERSIST, on_answer,
                     exchange) < 0 ||
        event_add(&exchange->event, NULL) < 0)
        return -ENOMEM;
    exchange->fd = fd_take(&fd);
    return 0;
}

static int pass_on(const struct exchange *exchange, struct span question)
{
    ssize_t n = send(exchange->fd, question.data, question.len, MSG_DONTWAIT | MSG_NOSIGNAL);

    return n < 0 ? -errno : 0;
}

/* What send(2) says first may be about an earlier question. */
static void asked(struct exchange *exchange, struct span question)
{
    struct lookups_denial denial;
    struct unreachable what;
    int code = lookups_ask(&exchange->lookups, question, &denial);

    if (code == -EACCES && denial.answer_len)
        release(exchange, denial.answer, denial.answer_len);
    if (code == -ENOMEM)
        note_lost(exchange->resolver, "questions", ENOMEM);
    if (code == -EACCES || code == -ENOMEM)
        return;
    code = exchange->fd < 0 ? open_upstream(exchange) : 0;
    if (code == 0 && (code = pass_on(exchange, question)) < 0) {
        hear_refusals(exchange);
        code = pass_on(exchange, question);
    }
    if (exchange->fd >= 0 && (code == -EAGAIN || code == -ENOBUFS)) {
        note_lost(exchange->resolver, "questions", -code);
    } else if (code < 0) {
        unreachable_of_call(code, addr_is_v4(&exchange->origin.src), question, &what);
        refuse(exchange, &what);
    }
}

/* ---- from the program ---- */

static struct exchange *exchange_new(struct resolver *resolver, struct ear *ear,
                                     const struct abi_tuple *key, const struct origin *origin)
{
    const struct resolver_parts *parts = &resolver->parts;
    struct exchange *exchange, *ended;
    struct process *process;

    /* first: identity reads what the kernel tells, which may lead to us */
    process = identity_flow_begin(parts->identity, origin->pid, origin->start_ns, origin->pod);
    ended = exchanges_to_end(&resolver->exchanges, origin->pod);
    if (ended)
        exchange_end(ended);
    exchange = exchanges_add(&resolver->exchanges, key);
    if (!exchange) {
        struct flow_event *none = NULL;

        identity_flow_end(parts->identity, &process);
        bus_emit(parts->producer, &none); /* counts the question as a lost event */
        note_lost(resolver, "questions", ENOMEM);
        return NULL;
    }
    exchange->resolver = resolver;
    exchange->ear = ear;
    exchange->origin = *origin;
    exchange->process = process;
    exchange->pod = pod_ref(pods_find(parts->pods, origin->pod));
    exchange->lookups = (struct lookups){
        .names = parts->names,
        .policies = parts->policies,
        .act = parts->act,
        .producer = parts->producer,
        .process = process,
        .pod = exchange->pod,
        .src = origin->src,
        .dst = origin->dst,
        .cookie = origin->cookie,
        .protocol = PROTOCOL_UDP,
    };
    return exchange;
}

static void heard(struct resolver *resolver, struct ear *ear, const struct datagram *datagram)
{
    struct abi_tuple key = {.netns_cookie = keeper_net_cookie(ear->net),
                            .port = datagram->from.port,
                            .local_port = ear->port};
    struct exchange *exchange;
    struct origin origin;
    bool filed;

    memcpy(key.ip, datagram->from.ip, sizeof(key.ip));
    memcpy(key.local, datagram->to.ip, sizeof(key.local));
    filed = origin_of_asker(resolver->parts.keeper, &key, &origin, NULL) == 0;
    exchange = exchanges_find(&resolver->exchanges, &key);
    if (exchange && filed && !exchange_is_of(exchange, origin.cookie, &origin.dst)) {
        exchange_end(exchange);
        exchange = NULL;
    }
    if (!exchange && filed)
        exchange = exchange_new(resolver, ear, &key, &origin);
    if (!exchange)
        return; /* a stranger's, of whom nobody is told anything; or out of memory */
    exchanges_used(&resolver->exchanges, exchange);
    asked(exchange, datagram->bytes);
}

static void tell_dropped(const struct resolver *resolver, struct ear *ear)
{
    uint32_t dropped = datagrams_dropped(ear->fd, &ear->drops);
    struct flow_event *event = dropped ? flow_event_new(FLOW_EVENT_LOST, NULL, NULL) : NULL;

    if (!dropped)
        return;
    if (event) {
        event->lost.count = dropped;
        event->lost.reason = "questions to name servers: our listener's buffer was full";
    }
    bus_emit(resolver->parts.producer, &event);
}

static void hear(struct resolver *resolver, struct ear *ear, int most)
{
    struct datagram datagrams[DATAGRAM_BATCH];
    size_t len;
    int n = DATAGRAM_BATCH;

    if (resolver->busy || resolver->retired)
        return;
    resolver->busy = true;
    tell_dropped(resolver, ear);
    for (; n == DATAGRAM_BATCH && most > 0; most -= n) {
        n = datagrams_receive(resolver->batch, ear->fd, datagrams, &len);
        for (size_t i = 0; i < len; i++)
            heard(resolver, ear, &datagrams[i]);
    }
    tell_dropped(resolver, ear);
    resolver->busy = false;
}

static void on_asked(void *arg, struct ear *ear)
{
    hear(arg, ear, ASKED_A_TURN);
}

void resolver_drain(struct resolver *resolver)
{
    void *asked_at[READY_BATCH];
    size_t len = READY_BATCH;

    while (!resolver->busy && len == READY_BATCH) {
        len = ready_look(resolver->ears.ready, asked_at);
        for (size_t i = 0; i < len; i++)
            hear(resolver, asked_at[i], DRAIN_TURNS * ASKED_A_TURN);
    }
}

bool resolver_is_done(const struct resolver *resolver, uint64_t cookie, const struct addr *server)
{
    const struct exchange *exchange = exchanges_next_of(resolver->exchanges.newest, cookie, server);
    int waiting;

    return exchange && !resolver->busy && ioctl(exchange->ear->fd, FIONREAD, &waiting) == 0 &&
           waiting == 0;
}

void resolver_forget(struct resolver *resolver, uint64_t cookie, const struct addr *server)
{
    struct exchange *exchange = exchanges_next_of(resolver->exchanges.newest, cookie, server);

    while (exchange) {
        struct exchange *next = exchanges_next_of(exchange->older, cookie, server);

        exchange_end(exchange);
        exchange = next;
    }
}

void resolver_forget_pod(struct resolver *resolver, const struct pod *pod)
{
    struct exchange *exchange = resolver->exchanges.newest;

    while (exchange) {
        struct exchange *older = exchange->older;

        if (exchange->pod == pod)
            exchange_end(exchange);
        exchange = older;
    }
}

/* ---- set-up ---- */

int resolver_watch(struct resolver *resolver, struct keeper_net *net, struct err *err)
{
    return ears_watch(&resolver->ears, net, err);
}

void resolver_unwatch(struct resolver *resolver, const struct keeper_net *net)
{
    struct exchange *older;

    for (struct exchange *exchange = resolver->exchanges.newest; exchange; exchange = older) {
        older = exchange->older;
        if (exchange->ear->net == net)
            exchange_end(exchange);
    }
    ears_unwatch(&resolver->ears, net);
}

void resolver_retire(struct resolver *resolver)
{
    resolver->retired = true;
    ears_stop(&resolver->ears);
}

bool resolver_is_asking(const struct resolver *resolver)
{
    const struct exchange *exchange = resolver->exchanges.newest;

    while (exchange && !exchange->lookups.open_len)
        exchange = exchange->older;
    return exchange;
}

int resolver_new(struct resolver **out, const struct resolver_parts *parts, struct err *err)
{
    CLEANUP(resolver_free) struct resolver *resolver = calloc(1, sizeof(*resolver));
    int code;

    if (!resolver)
        return err_set(err, -ENOMEM, "resolver");
    resolver->parts = *parts;
    code = ears_init(&resolver->ears, parts->base, on_asked, resolver, err);
    if (code < 0)
        return code;
    code = datagrams_new(&resolver->batch, err);
    if (code < 0)
        return code;
    *out = TAKE(resolver);
    return 0;
}

void resolver_free(struct resolver **resolver)
{
    if (!*resolver)
        return;
    while ((*resolver)->exchanges.newest)
        exchange_end((*resolver)->exchanges.newest);
    ears_fini(&(*resolver)->ears);
    datagrams_free(&(*resolver)->batch);
    free(TAKE(*resolver));
}
