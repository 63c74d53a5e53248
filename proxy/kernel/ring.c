#include "proxy/kernel/ring_own.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/identity/identity.h"
#include "proxy/limits.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

enum {
    TURN_PIECES = 8192,
    LAST_TURNS = 64,     /* more than the ring buffer holds */
    SLACK_NS = 10000000, /* pieces of several processors come in an order that is not quite that */
    PAUSE_US = 2000, /* between turns: a wake-up for each piece would cost more than the piece */
    BUSY_US = 1000,  /* a processor that writes a piece may be taken away from it */
};

/* ---- connections ---- */

static struct lane *least_busy(const struct ring *ring)
{
    unsigned best = 0;

    for (unsigned i = 1; i < ring->parts.workers_len; i++)
        if (worker_load(ring->parts.workers[i]) < worker_load(ring->parts.workers[best]))
            best = i;
    return ring->lanes[best];
}

static struct addr addr_of(const uint8_t ip[16], uint16_t port)
{
    struct addr addr = {.port = port};

    memcpy(addr.ip, ip, sizeof(addr.ip));
    return addr;
}

static struct origin origin_of(const struct abi_socket *record)
{
    return (struct origin){
        .src = addr_of(record->src, record->src_port),
        .dst = addr_of(record->dst, record->dst_port),
        .cookie = record->cookie,
        .pod = record->pod,
        .cgroup = record->cgroup,
        .netns_cookie = record->netns_cookie,
        .start_ns = record->start_ns,
        .time_ns = record->time_ns + clock_ns() - clock_read_ns(CLOCK_BOOTTIME),
        .pid = record->pid,
    };
}

void ring_refuse(const struct ring *ring, const struct origin *origin, enum limit why)
{
    struct sockets_flow *done = malloc(sizeof(*done));
    char line[256];

    if (done) {
        *done = (struct sockets_flow){
            .cookie = origin->cookie,
            .dst = origin->dst,
            .src_port = origin->src.port,
            .route = ROUTE_KERNEL,
            .visibility = VISIBILITY_OPAQUE,
        };
        snprintf(done->error, sizeof(done->error), "not read: %s", limits_reason(why));
        sockets_flow_done(ring->parts.sockets, &done);
    }
    if (limits_refuse(ring->parts.limits, why, clock_ns(), line, sizeof(line)))
        log_warn("%s", line);
}

struct entry *ring_open(struct ring *ring, const struct lane_opening *opening, uint64_t began_ns,
                        const struct entry *before)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    struct lane *lane = before ? before->lane : least_busy(ring); /* told in order */
    struct seat *seat = entry ? lane_open(lane, opening) : NULL;

    if (!entry)
        lane_refuse(lane, opening);
    if (!seat) {
        free(entry);
        return NULL;
    }
    *entry = (struct entry){
        .origin = opening->origin,
        .began_ns = began_ns,
        .accepted = opening->accepted,
        .known = opening->process,
        .lane = lane,
        .seat = seat,
    };
    ring_insert(ring, entry);
    return entry;
}

/* Takes process. before: the socket's connection before; NULL: there was none. */
static void open_stream(struct ring *ring, const struct abi_socket *record, struct process *process,
                        struct pod *pod, const struct entry *before, bool midway)
{
    const struct lane_opening opening = {
        .origin = origin_of(record),
        .process = process,
        .pod = pod,
        .accepted = record->kind == ABI_SOCKET_ACCEPT,
        .midway = midway,
        .tx = midway ? record->tx : 0,
        .rx = midway ? record->rx : 0,
        .since_ns = midway ? clock_read_ns(CLOCK_BOOTTIME) : 0,
    };
    enum limit lacks = limits_admit_stream(ring->parts.limits, pod);

    if (!opening.accepted)
        sockets_accepted(ring->parts.sockets, &opening.origin, process, pod);
    if (lacks) {
        if (!opening.accepted)
            ring_refuse(ring, &opening.origin, lacks);
        if (process)
            identity_flow_end(ring->parts.identity, &process);
        return;
    }
    if (ring_open(ring, &opening, midway ? 0 : record->time_ns, before))
        ring->stats.opened++;
}

void ring_note_over(struct ring *ring, struct entry *entry, uint64_t time_ns)
{
    if (entry->over)
        return;
    entry->over = true;
    entry->over_ns = time_ns;
    entry->next_over = ring->over;
    ring->over = entry;
}

static bool is_same(const struct entry *entry, const struct abi_socket *record)
{
    struct addr dst = addr_of(record->dst, record->dst_port);

    return entry->origin.src.port == record->src_port && entry->origin.dst.port == dst.port &&
           memcmp(entry->origin.dst.ip, dst.ip, sizeof(dst.ip)) == 0;
}

static void begin(struct ring *ring, const struct abi_socket *record, bool midway)
{
    struct pod *pod = pods_find(ring->parts.pods, record->pod);
    struct entry *before = ring_find(ring, record->cookie, UINT64_MAX);
    struct process *process = NULL;

    if (!pod || (before && (midway || (!before->over && is_same(before, record)))))
        return;
    if (before)
        ring_note_over(ring, before, record->time_ns);
    if (record->pid)
        process =
            identity_flow_begin(ring->parts.identity, record->pid, record->start_ns, record->pod);
    open_stream(ring, record, process, pod, before, midway);
}

void ring_adopt(struct ring *ring, const struct abi_socket *record)
{
    if (!ring->stopped)
        begin(ring, record, true);
}

/* Other errors than a reset may be our own doing. */
static enum stream_ended ended_by(const struct abi_socket *record)
{
    if (record->flags & ABI_SOCKET_FIN)
        return STREAM_ENDED_THERE;
    if (record->error == ECONNRESET)
        return STREAM_ENDED_RESET;
    return record->error ? STREAM_ENDED_UNKNOWN : STREAM_ENDED_HERE;
}

void ring_on_socket(struct ring *ring, const struct abi_socket *record)
{
    struct entry *entry;

    if (ring->stopped || record->protocol != IPPROTO_TCP)
        return;
    if (record->kind == ABI_SOCKET_ACCEPT ||
        (record->kind == ABI_SOCKET_CONNECT && record->flags & ABI_SOCKET_KERNEL))
        begin(ring, record, false);
    if (record->kind != ABI_SOCKET_CLOSE)
        return;
    entry = ring_find(ring, record->cookie, record->time_ns);
    if (!entry || entry->over)
        return;
    for (unsigned i = 0; i < ABI_DIRECTIONS; i++) {
        entry->lost[i] += record->lost[i];
        ring->stats.lost += record->lost[i];
    }
    entry->untold += record->untold;
    entry->ended = ended_by(record);
    ring_note_over(ring, entry, record->time_ns);
}

void ring_on_ktls(struct ring *ring, const struct abi_ktls *record)
{
    struct entry *entry = ring->stopped ? NULL : ring_find(ring, record->cookie, record->time_ns);
    struct abi_ktls **at =
        entry && record->direction < ABI_DIRECTIONS ? &entry->ktls[record->direction] : NULL;

    if (!at || *at)
        return; /* of another route, or told: keys may be renewed */
    *at = malloc(sizeof(**at));
    if (*at)
        **at = *record;
}

/* ---- what is said ---- */

/* Keys that were handed over before this moment. */
static void pass_keys(struct entry *entry, uint64_t until_ns)
{
    for (size_t i = 0; i < ABI_DIRECTIONS; i++)
        if (entry->ktls[i] && entry->ktls[i]->kind && entry->ktls[i]->time_ns <= until_ns) {
            lane_ktls(entry->lane, entry->seat, entry->ktls[i]);
            entry->ktls[i]->kind = 0; /* passed on; the next ones are no news */
        }
}

static void learn_process(struct ring *ring, struct entry *entry, uint32_t pid)
{
    struct process *process = identity_flow_begin(ring->parts.identity, pid, 0, entry->origin.pod);

    entry->known = true;
    entry->origin.pid = pid;
    if (process)
        lane_process(entry->lane, entry->seat, process);
}

static void pass_on(struct ring *ring, struct entry *entry, const struct abi_said *said)
{
    uint64_t *lost = &entry->lost[said->direction];

    if (!entry->known && said->pid)
        learn_process(ring, entry, said->pid);
    pass_keys(entry, said->flags & ABI_SAID_KTLS ? UINT64_MAX : said->time_ns);
    if (lane_said(entry->lane, entry->seat, said, *lost)) {
        *lost = 0;
        return;
    }
    *lost += said->skipped + said->lost + said->len;
    ring->stats.lost += said->len;
    entry->untold += said->kind == ABI_SAID_DENIED;
    ring->stats.untold += said->kind == ABI_SAID_DENIED;
}

/* That a connection began is told by another ring buffer, before anything that is said in it. */
static void catch_up(struct ring *ring)
{
    ring->caught_ns = clock_read_ns(CLOCK_BOOTTIME);
    identity_catch_up(ring->parts.identity);
}

static int on_said(void *arg, void *data, size_t len)
{
    struct ring *ring = arg;
    const struct abi_said *said = data;
    struct entry *entry;

    if (len < offsetof(struct abi_said, bytes) ||
        said->len > len - offsetof(struct abi_said, bytes) || said->direction >= ABI_DIRECTIONS)
        return 0;
    ring->read_ns = said->time_ns;
    ring->stats.pieces++;
    ring->stats.bytes += said->len;
    ring->stats.lost += said->lost;
    ring->stats.denied += said->kind == ABI_SAID_DENIED;
    if (said->time_ns >= ring->caught_ns || !ring_find(ring, said->cookie, said->time_ns))
        catch_up(ring);
    entry = ring_find(ring, said->cookie, said->time_ns);
    if (entry) {
        pass_on(ring, entry, said);
    } else { /* that it began was lost, or is an agent's before us */
        ring->stats.lost += said->len;
        ring->stats.untold += said->kind == ABI_SAID_DENIED;
    }
    return ++ring->pieces < TURN_PIECES ? 0 : -EAGAIN;
}

static void end(struct ring *ring, struct entry *entry)
{
    struct stream_closing closing = {
        .time_ns = entry->over ? entry->over_ns : clock_read_ns(CLOCK_BOOTTIME),
        .ended = entry->ended,
        .goes_on = !entry->over,
        .untold = entry->untold,
    };

    memcpy(closing.lost, entry->lost, sizeof(closing.lost));
    pass_keys(entry, UINT64_MAX);
    lane_close(entry->lane, entry->seat, &closing);
    ring_forget(ring, entry);
}

/* All was read that was said before. */
static void end_those_over(struct ring *ring, uint64_t heard_ns)
{
    struct entry **at = &ring->over;

    while (*at) {
        struct entry *entry = *at;

        if (entry->over_ns > heard_ns) {
            at = &entry->next_over;
            continue;
        }
        *at = entry->next_over;
        end(ring, entry);
    }
}

/* What is still to be read was said after what was read last, but for the slack. */
static uint64_t heard_until(const struct ring *ring, enum ringbuf_turn turn, uint64_t began_ns)
{
    if (turn == RINGBUF_ALL)
        return began_ns;
    return ring->read_ns > SLACK_NS ? ring->read_ns - SLACK_NS : 0;
}

static bool are_past_mark(const struct ring *ring)
{
    for (unsigned i = 0; i < ring->parts.workers_len; i++)
        if (!lane_is_past_mark(ring->lanes[i]))
            return false;
    return true;
}

/* A worker may have seconds of it to go through: heard is what it has. */
static void move_marks(struct ring *ring, uint64_t sent_ns)
{
    if (!are_past_mark(ring))
        return;
    sockets_heard(ring->parts.sockets, ring->marked_ns);
    ring->marked_ns = sent_ns;
    for (unsigned i = 0; i < ring->parts.workers_len; i++)
        lane_mark(ring->lanes[i]);
}

static enum ringbuf_turn drain(struct ring *ring)
{
    enum ringbuf_turn turn;
    uint64_t heard_ns;

    if (ring->held || ring->stopped || ring->draining)
        return RINGBUF_ALL; /* from within: what it would read is about to be */
    ring->draining = true;
    ring->pieces = 0;
    heard_ns = clock_read_ns(CLOCK_BOOTTIME);
    turn = ringbuf_read(ring->buffer);
    ring->draining = false;
    heard_ns = heard_until(ring, turn, heard_ns);
    end_those_over(ring, heard_ns);
    for (unsigned i = 0; i < ring->parts.workers_len; i++)
        lane_send(ring->lanes[i]);
    move_marks(ring, heard_ns);
    return turn;
}

void ring_drain(struct ring *ring)
{
    if (drain(ring) == RINGBUF_MORE)
        event_active(ring->on_said, EV_READ, 0);
}

static void drain_all(struct ring *ring)
{
    enum ringbuf_turn turn = drain(ring);

    for (int i = 0; i < LAST_TURNS && turn != RINGBUF_ALL; i++) {
        if (turn == RINGBUF_BUSY)
            usleep(BUSY_US);
        turn = drain(ring);
    }
}

void ring_release(struct ring *ring)
{
    if (!ring->held || ring->stopped)
        return;
    ring->held = false;
    ring_drain(ring);
}

void ring_pause(struct ring *ring)
{
    drain_all(ring);
    ring->held = true;
    event_del(ring->on_said);
    event_del(ring->pause_over);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval pause = {.tv_usec = PAUSE_US};
    struct ring *ring = arg;

    (void)fd;
    (void)what;
    event_add(ring->pause_over, &pause);
    ring_drain(ring);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct ring *ring = arg;

    (void)fd;
    (void)what;
    event_add(ring->on_said, NULL);
}

/* ---- beginning and end ---- */

int ring_new(struct ring **out, const struct ring_parts *parts, struct err *err)
{
    CLEANUP(ring_free) struct ring *ring = calloc(1, sizeof(*ring));
    int code;

    if (!ring)
        return err_set(err, -ENOMEM, "the kernel route");
    ring->parts = *parts;
    ring->held = parts->held;
    ring->lanes = calloc(parts->workers_len, sizeof(struct lane *));
    if (ring_rows_init(ring) < 0 || !ring->lanes)
        return err_set(err, -ENOMEM, "the kernel route");
    for (unsigned i = 0; i < parts->workers_len; i++)
        if (!(ring->lanes[i] = lane_new(parts->workers[i])))
            return err_set(err, -ENOMEM, "the kernel route");
    code = ringbuf_new(&ring->buffer, parts->said_fd, on_said, ring, err);
    if (code < 0)
        return err_wrap(err, "what is said on the kernel route"), code;
    ring->on_said = event_new(parts->base, ringbuf_fd(ring->buffer), EV_READ, on_ready, ring);
    ring->pause_over = evtimer_new(parts->base, on_pause_over, ring);
    if (!ring->on_said || !ring->pause_over || event_add(ring->on_said, NULL) < 0)
        return err_set(err, -ENOMEM, "the kernel route");
    sockets_heard(parts->sockets, 0);
    *out = TAKE(ring);
    return 0;
}

void ring_stop(struct ring *ring)
{
    if (ring->stopped)
        return;
    ring_release(ring);
    drain_all(ring);
    for (size_t i = 0; i < ring->rows_len; i++)
        while (ring->rows[i])
            end(ring, ring->rows[i]);
    for (unsigned i = 0; i < ring->parts.workers_len; i++)
        lane_send(ring->lanes[i]);
    ring->stopped = true;
    sockets_heard(ring->parts.sockets, UINT64_MAX);
    event_del(ring->on_said);
    event_del(ring->pause_over);
}

void ring_free(struct ring **ring)
{
    struct ring *gone = TAKE(*ring);

    if (!gone)
        return;
    for (unsigned i = 0; gone->lanes && i < gone->parts.workers_len; i++)
        lane_free(&gone->lanes[i]);
    if (gone->on_said)
        event_free(gone->on_said);
    if (gone->pause_over)
        event_free(gone->pause_over);
    ringbuf_free(&gone->buffer);
    free(gone->lanes);
    ring_rows_fini(gone);
    free(gone);
}

void ring_stats(const struct ring *ring, struct ring_stats *out)
{
    *out = ring->stats;
    out->streams = ring->len;
}
