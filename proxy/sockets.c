/* The kernel's records are handled where they are read, in the order in which things happened, so a
 * connect is told with the image its process ran then, and a close before the next connect. Closes
 * of connections that are looked into wait in a list for the step. */
#include "proxy/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <search.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "bpf/abi.h"
#include "events/verdict.h"
#include "proxy/enforce/connects.h"
#include "proxy/handshakes/handshakes.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/programs.h"
#include "proxy/pods/pods.h"
#include "proxy/dns/resolver.h"
#include "proxy/sockets_own.h"

enum { SWEEP_MIN = 4096, DNS_PORT = 53 };
static const uint64_t flow_wait_ns = 500 * 1000000ull;
/* What an agent says that is ending comes when that gets round to it. */
static const uint64_t elsewhere_wait_ns = 5000 * 1000000ull;
static const uint64_t nobodys_ns = 600 * 1000000000ull;

static int by_key(const void *a, const void *b)
{
    const struct tracked *x = a, *y = b;

    if (x->cookie != y->cookie)
        return x->cookie < y->cookie ? -1 : 1;
    if (x->dst.port != y->dst.port)
        return x->dst.port < y->dst.port ? -1 : 1;
    if (x->src.port != y->src.port)
        return x->src.port < y->src.port ? -1 : 1;
    return memcmp(x->dst.ip, y->dst.ip, sizeof(x->dst.ip));
}

struct tracked *sockets_find(const struct sockets *sockets, uint64_t cookie, const struct addr *dst,
                             uint16_t src_port)
{
    struct tracked key = {.cookie = cookie, .dst = *dst, .src = {.port = src_port}};
    struct tracked **found = tfind(&key, &sockets->tree, by_key);

    return found ? *found : NULL;
}

static void entry_free(struct sockets *sockets, struct tracked **entry)
{
    struct tracked *gone = TAKE(*entry);

    if (!gone)
        return;
    if (gone->process)
        identity_flow_end(sockets->parts.identity, &gone->process);
    pod_unref(&gone->pod);
    names_found_fini(&gone->names);
    free(gone->error);
    free(gone);
}

void sockets_set_error(struct tracked *entry, const char *error)
{
    if (entry->error)
        return;
    entry->error = strdup(error);
    entry->incomplete |= !entry->error;
}

static uint64_t wall_ns(const struct sockets *sockets, uint64_t boot_ns)
{
    if (sockets->parts.identity)
        return identity_wall_ns(sockets->parts.identity, boot_ns);
    return boot_ns + clock_wall_ahead_ns();
}

/* NULL when out of memory. */
struct flow_event *sockets_event(struct sockets *sockets, const struct tracked *entry,
                                 enum flow_event_kind kind, uint64_t boot_ns)
{
    struct flow_event *event = flow_event_new(kind, entry->process, entry->pod);

    if (event) {
        event->time_ns = wall_ns(sockets, boot_ns);
        event->protocol = entry->protocol;
        event->src = entry->src;
        event->dst = entry->dst;
        event->socket_cookie = entry->cookie;
        event->route = entry->route;
        event->visibility = entry->visibility;
        event->opaque = entry->opaque;
        event->client_refused = entry->refused;
        event->incomplete = entry->incomplete || entry->names.incomplete;
        if (kind == FLOW_EVENT_CLOSE || kind == FLOW_EVENT_SOCK_STATS) {
            event->close.tx = entry->tx;
            event->close.rx = entry->rx;
        }
        if (kind == FLOW_EVENT_CLOSE)
            event->close.duration_ns = entry->closed_ns - entry->began_ns;
        if (kind != FLOW_EVENT_SOCK_STATS) {
            flow_event_set_names(event, (const char *const *)entry->names.text, entry->names.len);
            if (entry->error)
                event->error = flow_event_text(event, span_of_text(entry->error));
        }
    }
    return event;
}

void sockets_emit(struct sockets *sockets, const struct tracked *entry, enum flow_event_kind kind,
                  uint64_t boot_ns)
{
    struct flow_event *event = sockets_event(sockets, entry, kind, boot_ns);

    bus_emit(sockets->parts.producer, &event);
}

/* Takes process, which may be NULL. NULL when out of memory: counted as a lost event. */
struct tracked *sockets_track(struct sockets *sockets, const struct tracked *like,
                              struct process *process)
{
    struct tracked *entry = malloc(sizeof(*entry));

    if (entry)
        *entry = *like;
    if (!entry || !tsearch(entry, &sockets->tree, by_key)) {
        struct flow_event *none = NULL;

        bus_emit(sockets->parts.producer, &none);
        free(entry);
        if (process)
            identity_flow_end(sockets->parts.identity, &process);
        return NULL;
    }
    entry->process = process;
    entry->pod = pod_ref(like->pod);
    if (entry->pod && !entry->names.len)
        names_find(sockets->parts.names, entry->pod->cgroup_id, &entry->dst, clock_ns(),
                   &entry->names);
    sockets->len++;
    return entry;
}

/* What the program's next connections may follow from. */
static void tell_programs(const struct sockets *sockets, const struct tracked *entry)
{
    if (!sockets->parts.programs || !entry->process || entry->protocol != PROTOCOL_TCP)
        return;
    programs_on_close(sockets->parts.programs,
                      &(struct programs_closed){
                          .process = entry->process,
                          .dst = &entry->dst,
                          .names = {(const char *const *)entry->names.text, entry->names.len},
                          .route = entry->route,
                          .visibility = entry->visibility,
                          .opaque = entry->opaque,
                          .undecided = entry->undecided,
                          .tls = entry->tls_spoken,
                          .tls_version = entry->tls_version,
                          .tls_cipher = entry->tls_cipher,
                      });
}

/* Its flow, which else knows better, was of the kernel route: it only listened, to nothing. */
static bool was_unanswered(const struct tracked *entry)
{
    return entry->route == ROUTE_KERNEL && !entry->tx && !entry->rx;
}

static void tell_close(struct sockets *sockets, struct tracked *entry)
{
    tell_programs(sockets, entry);
    tdelete(entry, &sockets->tree, by_key);
    sockets->len--;
    if (entry->failure && !entry->error && (!entry->has_flow || was_unanswered(entry)))
        sockets_set_error(entry, strerror(entry->failure));
    if (entry->protocol == PROTOCOL_UDP)
        sockets_emit(sockets, entry, FLOW_EVENT_SOCK_STATS, entry->closed_ns);
    sockets_emit(sockets, entry, FLOW_EVENT_CLOSE, entry->closed_ns);
    if (entry->protocol == PROTOCOL_UDP && sockets->parts.handshakes)
        handshakes_forget(sockets->parts.handshakes, entry->cookie, &entry->dst);
    if (entry->protocol == PROTOCOL_UDP && entry->route == ROUTE_PROXY)
        resolver_forget(sockets->parts.resolver, entry->cookie, &entry->dst);
    entry_free(sockets, &entry);
}

void sockets_release(struct sockets *sockets, struct tracked *entry)
{
    entry->released = true;
    entry->waits_ns = clock_read_ns(CLOCK_BOOTTIME);
    entry->at_released = sockets->released_tail;
    *sockets->released_tail = entry;
    sockets->released_tail = &entry->next_released;
    if (!sockets->beyond)
        sockets->beyond = entry;
}

/* Out of the list, not out of the tree. */
static void unrelease(struct sockets *sockets, struct tracked *entry)
{
    struct tracked *next = entry->next_released;

    *entry->at_released = next;
    if (next)
        next->at_released = entry->at_released;
    else
        sockets->released_tail = entry->at_released;
    if (sockets->beyond == entry)
        sockets->beyond = entry->next_released;
    entry->next_released = NULL;
}

/* ---- what the kernel tells ---- */

static struct addr addr_of(const uint8_t ip[16], uint16_t port)
{
    struct addr addr = {.port = port};

    memcpy(addr.ip, ip, sizeof(addr.ip));
    return addr;
}

/* What goes to a name server through us is judged by what it asks. */
static bool is_judged(const struct sockets *sockets, const struct abi_socket *record)
{
    return sockets->parts.connects && record->flags & ABI_SOCKET_JUDGED &&
           !(record->flags & ABI_SOCKET_STEERED && record->dst_port == DNS_PORT);
}

static void emit_connect(struct sockets *sockets, const struct tracked *entry,
                         const struct abi_socket *record)
{
    struct flow_event *event = sockets_event(sockets, entry, FLOW_EVENT_CONNECT, record->time_ns);
    CLEANUP(connects_judged_fini) struct connects_judged judged = {0};

    if (is_judged(sockets, record))
        connects_judge(sockets->parts.connects, record, entry->process, &judged);
    if (event && judged.any)
        flow_event_set_verdict(event, judged.point, &judged.verdict);
    bus_emit(sockets->parts.producer, &event);
    if (judged.any)
        connects_tell(sockets->parts.connects, record, entry->process, entry->pod, &judged);
}

static void handle_connect(struct sockets *sockets, const struct abi_socket *record)
{
    struct tracked like = {
        .cookie = record->cookie,
        .src = addr_of(record->src, record->src_port),
        .dst = addr_of(record->dst, record->dst_port),
        .protocol = record->protocol == IPPROTO_UDP ? PROTOCOL_UDP : PROTOCOL_TCP,
        .pod = pods_find(sockets->parts.pods, record->pod),
        .route = record->flags & ABI_SOCKET_STEERED  ? ROUTE_PROXY
                 : record->flags & ABI_SOCKET_KERNEL ? ROUTE_KERNEL
                                                     : ROUTE_DIRECT,
        .began_ns = record->time_ns,
    };
    struct tracked *entry;

    entry = sockets_find(sockets, like.cookie, &like.dst, like.src.port);
    if (entry && !entry->released)
        return;  /* accepted before the record could be read */
    if (entry) { /* the same socket again, from the same port: one is over */
        unrelease(sockets, entry);
        tell_close(sockets, entry);
    }
    if (like.route == ROUTE_PROXY && like.protocol == PROTOCOL_UDP)
        like.visibility = VISIBILITY_PLAINTEXT;
    entry = sockets_track(
        sockets, &like,
        identity_flow_begin(sockets->parts.identity, record->pid, record->start_ns, record->pod));
    if (!entry)
        return;
    if (record->flags & ABI_SOCKET_REFUSED)
        sockets_set_error(entry, "QUIC is refused, so that the program falls back to TCP");
    emit_connect(sockets, entry, record);
}

static void handle_close(struct sockets *sockets, struct tracked *entry,
                         const struct abi_socket *record)
{
    if (entry->released)
        return;
    entry->closed_ns = record->time_ns;
    if (record->error)
        entry->failure = record->error;
    /* what is looked into may go on: as a flow, or one yet to be accepted, or as questions that
     * nobody waited for and that are yet to be told */
    if (entry->route == ROUTE_DIRECT ||
        (entry->protocol == PROTOCOL_UDP &&
         resolver_is_done(sockets->parts.resolver, entry->cookie, &entry->dst)))
        tell_close(sockets, entry);
    else
        sockets_release(sockets, entry);
}

void sockets_on_record(void *arg, const struct abi_socket *record)
{
    struct sockets *sockets = arg;
    struct addr dst = addr_of(record->dst, record->dst_port);
    struct tracked *entry;

    if (record->kind == ABI_SOCKET_ACCEPT || record->kind == ABI_SOCKET_HELD)
        return; /* ../kernel/ring.c follows what its own programs are asked, ends.c ends it */
    if (record->kind == ABI_SOCKET_CONNECT) {
        handle_connect(sockets, record);
        return;
    }
    if (record->kind == ABI_SOCKET_DENIED) {
        if (sockets->parts.connects)
            connects_denied(sockets->parts.connects, record);
        return;
    }
    entry = sockets_find(sockets, record->cookie, &dst, record->src_port);
    if (!entry)
        return; /* its connect was lost, and told as that */
    entry->tx = record->tx;
    entry->rx = record->rx;
    entry->unheard = false;
    if (record->kind == ABI_SOCKET_CLOSE)
        handle_close(sockets, entry, record);
    else
        sockets_emit(sockets, entry, FLOW_EVENT_SOCK_STATS, record->time_ns);
}

/* ---- closes ---- */

void sockets_collect(struct sockets *sockets)
{
    sockets->heard_ns = sockets->said_ns;
    sockets_take_done(sockets);
    sockets->beyond = NULL;
}

void sockets_accept_none(struct sockets *sockets)
{
    sockets->accepts_none = true;
}

/* Its program has closed it, but it waits in a listener's queue, with all that was said. */
static bool may_be_accepted(const struct tracked *entry)
{
    return entry->protocol == PROTOCOL_TCP && entry->route == ROUTE_PROXY && !entry->has_flow &&
           !entry->failure;
}

/* A record of the kernel's may be read long after it was made, as what was said is: so it is from
 * here on that its flow is waited for. */
static uint64_t due_ns(const struct sockets *sockets, struct tracked *entry, uint64_t now)
{
    if (sockets->accepts_none && may_be_accepted(entry))
        return UINT64_MAX;
    if (!entry->has_flow || entry->flow_done)
        return 0;
    if (entry->route == ROUTE_KERNEL && sockets->heard_ns <= entry->closed_ns)
        entry->waits_ns = now;
    return entry->waits_ns + (entry->elsewhere ? elsewhere_wait_ns : flow_wait_ns);
}

static void sweep(struct sockets *sockets);

int sockets_step(struct sockets *sockets)
{
    uint64_t now = clock_read_ns(CLOCK_BOOTTIME), next = UINT64_MAX;
    struct tracked **at = &sockets->released;

    while (*at && *at != sockets->beyond) {
        struct tracked *entry = *at;
        uint64_t due = due_ns(sockets, entry, now);

        if (due > now) {
            next = due < next ? due : next;
            at = &entry->next_released;
            continue;
        }
        unrelease(sockets, entry);
        tell_close(sockets, entry);
    }
    if (sockets->len >= sockets->sweep_len)
        sweep(sockets);
    return next == UINT64_MAX ? -1 : (int)((next - now + 999999) / 1000000);
}

/* ---- those whose end was lost ---- */

struct visit {
    struct sockets *sockets;
    uint64_t now; /* boot clock */
    bool all;
};

/* Nothing will be heard of it any more: its flow and its process are over; or nobody knows its
 * process, and it is old. */
static bool is_orphan(const struct tracked *entry, uint64_t now)
{
    if (entry->has_flow && !entry->flow_done)
        return false;
    return entry->process ? atomic_load(&entry->process->life->exited)
                          : now - entry->began_ns >= nobodys_ns;
}

static void release_orphan(const void *node, VISIT when, void *closure)
{
    struct tracked *entry = *(struct tracked *const *)node;
    struct visit *visit = closure;

    if (when != postorder && when != leaf)
        return;
    if (entry->released || (!visit->all && !is_orphan(entry, visit->now)))
        return;
    if (!entry->closed_ns)
        entry->closed_ns = clock_read_ns(CLOCK_BOOTTIME);
    sockets_release(visit->sockets, entry);
}

/* The kernel's record of their end was lost, and their process has ended. */
static void sweep(struct sockets *sockets)
{
    struct visit visit = {.sockets = sockets, .now = clock_read_ns(CLOCK_BOOTTIME)};

    twalk_r(sockets->tree, release_orphan, &visit);
    sockets->sweep_len = 2 * sockets->len < SWEEP_MIN ? SWEEP_MIN : 2 * sockets->len;
}

/* The next of all there are, out of the list; NULL: no more. */
static struct tracked *take_any(struct sockets *sockets)
{
    struct visit visit = {.sockets = sockets, .all = true};
    struct tracked *entry;

    if (!sockets->released)
        twalk_r(sockets->tree, release_orphan, &visit);
    entry = sockets->released;
    if (entry)
        unrelease(sockets, entry);
    return entry;
}

void sockets_finish(struct sockets *sockets)
{
    struct tracked *entry;

    sockets_take_done(sockets);
    sockets->beyond = NULL;
    while ((entry = take_any(sockets)))
        tell_close(sockets, entry);
}

/* ---- set-up ---- */

int sockets_new(struct sockets **out, const struct sockets_parts *parts, struct err *err)
{
    CLEANUP(sockets_free) struct sockets *sockets = calloc(1, sizeof(*sockets));

    if (!sockets)
        return err_set(err, -ENOMEM, "table of sockets");
    sockets->parts = *parts;
    sockets->sweep_len = SWEEP_MIN;
    sockets->said_ns = sockets->heard_ns = UINT64_MAX;
    sockets->released_tail = &sockets->released;
    sockets->done_tail = &sockets->done;
    pthread_mutex_init(&sockets->lock, NULL);
    sockets->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (sockets->wake_fd < 0)
        return err_sys(err, -errno, "table of sockets: eventfd");
    *out = TAKE(sockets);
    return 0;
}

void sockets_free(struct sockets **sockets)
{
    struct tracked *entry;
    struct sockets_flow *done;

    if (!*sockets)
        return;
    while ((entry = take_any(*sockets))) {
        tdelete(entry, &(*sockets)->tree, by_key);
        entry_free(*sockets, &entry);
    }
    while ((done = (*sockets)->done)) {
        (*sockets)->done = done->next;
        free(done);
    }
    pthread_mutex_destroy(&(*sockets)->lock);
    fd_close(&(*sockets)->wake_fd);
    free(TAKE(*sockets));
}

int sockets_wake_fd(const struct sockets *sockets)
{
    return sockets->wake_fd;
}
