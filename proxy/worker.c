#include "proxy/worker.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "certs/err_tls.h"
#include "proxy/flow/flow.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/flow/streams.h"
#include "proxy/limits.h"

enum { PRODUCER_EVENTS = 16384, EARLY_DATA_MAX = 1 << 18, SECURITY_LEVEL = 2 };

/* An accepted connection on its way from the acceptor's thread. */
struct given {
    struct given *next;
    int fd, upstream;
    struct origin origin;
    struct process *process;
    struct pod *pod;
    struct credentials *credentials;
};

struct handover {
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    struct given *first, **last; /* under lock */
    struct worker_visit *visits; /* under lock */
    bool stop, retire;           /* under lock */
    int wake;                    /* eventfd */
    struct event *on_wake;
    atomic_uint load;
};

static SSL_CTX *context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* what Debian has: weaker ones are not to be got by a setting of the node (nor of a pod) */
    if (SSL_CTX_get_security_level(ctx) < SECURITY_LEVEL)
        SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF); /* leg.c tells it from an end */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

static int make_contexts(struct worker *worker, struct err *err)
{
    worker->upstream_ctx = context(TLS_client_method());
    worker->pod_ctx = context(TLS_server_method());
    worker->leg_bio = leg_bio_new();
    if (!worker->upstream_ctx || !worker->pod_ctx || !worker->leg_bio)
        return err_tls(err, -ENOMEM, "TLS contexts");
    SSL_CTX_set_verify(worker->upstream_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(worker->upstream_ctx, verify_upstream, NULL);
    SSL_CTX_set_cert_cb(worker->upstream_ctx, dial_choose_certificate, NULL);
    SSL_CTX_set_session_cache_mode(worker->upstream_ctx,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(worker->upstream_ctx, resume_on_session);
    /* tickets alone, no session ids; and in TLS 1.3 when upstream gives one: resume.c */
    if (!tickets_use(worker->parts.tickets, worker->pod_ctx))
        return err_tls(err, -ENOMEM, "TLS contexts");
    SSL_CTX_set_num_tickets(worker->pod_ctx, 0);
    SSL_CTX_set_timeout(worker->pod_ctx, SESSION_CACHE_SECONDS);
    SSL_CTX_set_dh_auto(worker->pod_ctx, 1); /* for clients that know neither ECDHE nor 1.3 */
    /* what comes early is for a server spoken to before, or against what our tickets say: it is
     * skipped: as much as that one may have allowed */
    SSL_CTX_set_recv_max_early_data(worker->pod_ctx, EARLY_DATA_MAX);
    SSL_CTX_set_alpn_select_cb(worker->pod_ctx, open_choose_alpn, NULL);
    SSL_CTX_set_tlsext_status_cb(worker->pod_ctx, open_staple);
    return 0;
}

void worker_expect(struct worker *worker)
{
    atomic_fetch_add(&worker->handovers->load, 1);
}

void worker_forget(struct worker *worker, struct pod *pod, bool stream)
{
    (stream ? limits_leave_stream : limits_leave)(worker->parts.limits, pod);
    atomic_fetch_sub(&worker->handovers->load, 1);
}

static void reap(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;

    (void)fd;
    (void)what;
    while (worker->dead) {
        struct flow *flow = worker->dead;

        worker->dead = flow->next;
        worker_forget(worker, flow->facts.who.pod, flow->facts.route == ROUTE_KERNEL);
        flow_free(&flow);
    }
    if (limits_ebbed(worker->parts.limits))
        malloc_trim(0); /* else it stays ours: in pieces, between what lives longer */
}

static void begin(struct worker *worker, struct given *given)
{
    if (!flow_new(worker, given->fd, given->upstream, &given->origin, given->process, given->pod,
                  given->credentials))
        worker_forget(worker, given->pod, false);
    pod_unref(&given->pod);
    credentials_unref(&given->credentials);
    free(given);
}

/* Who is told has until the next time to hear of it, which on one machine is long; those that begin
 * in between are told then. */
static const struct timeval retire_interval = {.tv_sec = 1};

static void retire_flows(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;

    (void)fd;
    (void)what;
    for (struct flow *flow = worker->flows; flow; flow = flow->next)
        streams_retire(flow);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    struct handover *handovers = worker->handovers;
    struct given *given;
    struct worker_visit *visits;
    eventfd_t count;
    bool stop, retire;

    (void)what;
    eventfd_read(fd, &count);
    pthread_mutex_lock(&handovers->lock);
    given = handovers->first;
    handovers->first = NULL;
    handovers->last = &handovers->first;
    visits = TAKE(handovers->visits);
    stop = handovers->stop;
    retire = handovers->retire;
    pthread_mutex_unlock(&handovers->lock);
    while (given) {
        struct given *next = given->next;

        begin(worker, given);
        given = next;
    }
    while (visits) {
        struct worker_visit *visit = visits;

        visits = visit->next; /* fn may free it */
        visit->fn(worker, visit);
    }
    if (retire && !event_pending(worker->retirer, EV_TIMEOUT, NULL)) {
        event_add(worker->retirer, &retire_interval);
        retire_flows(-1, 0, worker);
    }
    if (stop)
        event_base_loopbreak(worker->base);
}

static void *run(void *arg)
{
    struct worker *worker = arg;

    event_base_dispatch(worker->base);
    while (worker->flows)
        flow_abort(worker->flows);
    reap(-1, 0, worker);
    OPENSSL_thread_stop();
    return NULL;
}

static int start(struct worker *worker, unsigned number, struct err *err)
{
    struct handover *handovers = worker->handovers;
    struct event_config *config = event_config_new();
    char name[16];
    int result;

    /* one thread a base: libevent need not lock */
    if (config)
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    worker->base = config ? event_base_new_with_config(config) : NULL;
    event_config_free(config);
    handovers->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->errors = epoll_create1(EPOLL_CLOEXEC);
    if (!worker->base || handovers->wake < 0 || worker->errors < 0)
        return err_set(err, -ENOMEM, "event loop of worker %u", number);
    worker->reaper = evtimer_new(worker->base, reap, worker);
    worker->retirer = event_new(worker->base, -1, EV_PERSIST, retire_flows, worker);
    handovers->on_wake =
        event_new(worker->base, handovers->wake, EV_READ | EV_PERSIST, on_wake, worker);
    worker->on_error =
        event_new(worker->base, worker->errors, EV_READ | EV_PERSIST, leg_on_errors, NULL);
    if (!worker->reaper || !worker->retirer || !handovers->on_wake ||
        event_add(handovers->on_wake, NULL) < 0 || !worker->on_error ||
        event_add(worker->on_error, NULL) < 0)
        return err_set(err, -ENOMEM, "event loop of worker %u", number);
    snprintf(name, sizeof(name), "worker %u", number);
    result = bus_producer_new(&worker->producer, worker->parts.bus, name, PRODUCER_EVENTS, err);
    if (result < 0)
        return result;
    result = pthread_create(&handovers->thread, NULL, run, worker);
    if (result)
        return err_sys(err, -result, "thread of worker %u", number);
    handovers->running = true;
    pthread_setname_np(handovers->thread, name);
    return 0;
}

int worker_new(struct worker **out, const struct worker_parts *parts, unsigned number,
               struct err *err)
{
    CLEANUP(worker_free) struct worker *worker = calloc(1, sizeof(*worker));
    int result;

    if (!worker)
        return err_set(err, -ENOMEM, "worker %u", number);
    worker->parts = *parts;
    worker->errors = -1;
    worker->handovers = calloc(1, sizeof(*worker->handovers));
    if (!worker->handovers)
        return err_set(err, -ENOMEM, "worker %u", number);
    worker->handovers->wake = -1;
    worker->handovers->last = &worker->handovers->first;
    pthread_mutex_init(&worker->handovers->lock, NULL);
    result = make_contexts(worker, err);
    if (result == 0)
        result = start(worker, number, err);
    if (result < 0)
        return result;
    *out = TAKE(worker);
    return 0;
}

static void stop(struct handover *handovers)
{
    if (!handovers->running)
        return;
    pthread_mutex_lock(&handovers->lock);
    handovers->stop = true;
    pthread_mutex_unlock(&handovers->lock);
    eventfd_write(handovers->wake, 1);
    pthread_join(handovers->thread, NULL);
}

void worker_free(struct worker **worker)
{
    struct worker *gone = TAKE(*worker);

    if (!gone)
        return;
    if (gone->handovers) {
        stop(gone->handovers);
        if (gone->handovers->on_wake)
            event_free(gone->handovers->on_wake);
        fd_close(&gone->handovers->wake);
        pthread_mutex_destroy(&gone->handovers->lock);
        free(gone->handovers);
    }
    if (gone->reaper)
        event_free(gone->reaper);
    if (gone->retirer)
        event_free(gone->retirer);
    if (gone->on_error)
        event_free(gone->on_error);
    fd_close(&gone->errors);
    if (gone->base)
        event_base_free(gone->base);
    while (gone->spare_len)
        free(gone->spare[--gone->spare_len]);
    tls_rules_forget(gone);
    inspection_lanes_fini(gone);
    SSL_CTX_free(gone->upstream_ctx);
    SSL_CTX_free(gone->pod_ctx);
    BIO_meth_free(gone->leg_bio);
    free(gone);
}

int worker_give(struct worker *worker, int fd, int upstream, const struct origin *origin,
                struct process *process, struct pod *pod, struct credentials *credentials)
{
    struct handover *handovers = worker->handovers;
    struct given *given = malloc(sizeof(*given));

    if (!given) {
        limits_leave(worker->parts.limits, pod);
        close(fd);
        fd_close(&upstream);
        if (process)
            identity_flow_end(worker->parts.identity, &process);
        return -ENOMEM;
    }
    *given = (struct given){
        .fd = fd,
        .upstream = upstream,
        .origin = *origin,
        .process = process,
        .pod = pod_ref(pod),
        .credentials = credentials_ref(credentials),
    };
    atomic_fetch_add(&handovers->load, 1);
    pthread_mutex_lock(&handovers->lock);
    *handovers->last = given;
    handovers->last = &given->next;
    pthread_mutex_unlock(&handovers->lock);
    eventfd_write(handovers->wake, 1);
    return 0;
}

void worker_visit(struct worker *worker, struct worker_visit *visit)
{
    struct handover *handovers = worker->handovers;

    pthread_mutex_lock(&handovers->lock);
    visit->next = handovers->visits;
    handovers->visits = visit;
    pthread_mutex_unlock(&handovers->lock);
    eventfd_write(handovers->wake, 1);
}

void worker_retire(struct worker *worker)
{
    struct handover *handovers = worker->handovers;

    pthread_mutex_lock(&handovers->lock);
    handovers->retire = true;
    pthread_mutex_unlock(&handovers->lock);
    eventfd_write(handovers->wake, 1);
}

unsigned worker_load(const struct worker *worker)
{
    return atomic_load(&worker->handovers->load);
}

/* What is larger than promised to each connection is counted. */
static uint8_t *allocate(struct worker *worker, size_t size)
{
    uint8_t *buffer;

    if (!limits_take(worker->parts.limits, LIMIT_MEMORY, size))
        return NULL;
    buffer = malloc(size);
    if (!buffer)
        limits_give(worker->parts.limits, LIMIT_MEMORY, size);
    return buffer;
}

uint8_t *worker_buffer_get(struct worker *worker, size_t *size)
{
    uint8_t *buffer;

    *size = WORKER_BUFFER;
    if (worker->spare_len && limits_take(worker->parts.limits, LIMIT_MEMORY, WORKER_BUFFER))
        return worker->spare[--worker->spare_len];
    buffer = allocate(worker, WORKER_BUFFER);
    if (buffer)
        return buffer;
    buffer = malloc(WORKER_SMALL);
    *size = buffer ? WORKER_SMALL : 0;
    return buffer;
}

uint8_t *worker_buffer_grow(struct worker *worker, uint8_t *buffer, size_t len, size_t *size)
{
    uint8_t *grown = allocate(worker, *size * 2);
    char line[256];

    if (!grown) {
        if (limits_refuse(worker->parts.limits, LIMIT_MEMORY, clock_ns(), line, sizeof(line)))
            log_warn("%s", line);
        return NULL;
    }
    memcpy(grown, buffer, len);
    worker_buffer_put(worker, buffer, *size);
    *size *= 2;
    return grown;
}

void worker_buffer_put(struct worker *worker, uint8_t *buffer, size_t size)
{
    if (!buffer)
        return;
    if (size > WORKER_SMALL)
        limits_give(worker->parts.limits, LIMIT_MEMORY, size);
    if (size == WORKER_BUFFER && worker->spare_len < WORKER_SPARE_BUFFERS)
        worker->spare[worker->spare_len++] = buffer;
    else
        free(buffer);
}
