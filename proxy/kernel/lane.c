#include "proxy/kernel/lane.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "proxy/flow/flow.h"
#include "proxy/identity/identity.h"
#include "proxy/worker.h"

enum {
    BATCH_BYTES = 128 << 10,
    SPARES = 4,
    LANE_MOST = 32 << 20,  /* bytes on their way to a worker */
    STREAM_MOST = 4 << 20, /* ... of one stream, so that it does not take the others' room */
};

enum item_kind { ITEM_OPEN, ITEM_SAID, ITEM_KTLS, ITEM_PROCESS, ITEM_CLOSE, ITEM_MARK };

struct item {
    uint32_t size; /* of all of it, a multiple of 8 */
    uint32_t kind;
    struct seat *seat; /* NULL: ITEM_MARK */
    union {
        struct lane_opening opening;
        struct {
            uint64_t lost;
            struct abi_said head; /* its bytes stand in the place of head.bytes; last */
        } said;
        struct abi_ktls ktls;
        struct process *process;
        struct stream_closing close;
    };
};

struct batch {
    struct batch *next;
    size_t len, size;
    _Alignas(8) uint8_t data[];
};

struct seat {
    struct flow *flow; /* NULL: not yet, or no more */
    atomic_size_t waiting;
    struct batch *last; /* of its end alone, so that there is always room for it */
};

struct lane {
    struct worker_visit visit; /* first */
    struct worker *worker;
    struct batch *filling; /* control thread only, as the next two */
    uint64_t sent, marked; /* batches */
    atomic_uint_fast64_t handled;
    atomic_size_t waiting; /* bytes on their way */
    sem_t settled;         /* the worker has come to the mark */
    pthread_mutex_t lock;
    struct batch *first, **last; /* under lock */
    struct batch *spare;         /* under lock */
    unsigned spares;             /* under lock */
    bool posted;                 /* under lock */
};

/* ---- the control thread's side ---- */

static void push(struct lane *lane, struct batch *batch)
{
    bool post;

    lane->sent++;
    pthread_mutex_lock(&lane->lock);
    *lane->last = batch;
    lane->last = &batch->next;
    post = !lane->posted;
    lane->posted = true;
    pthread_mutex_unlock(&lane->lock);
    if (post)
        worker_visit(lane->worker, &lane->visit);
}

void lane_send(struct lane *lane)
{
    if (lane->filling)
        push(lane, TAKE(lane->filling));
}

static struct batch *take_spare(struct lane *lane)
{
    struct batch *batch;

    pthread_mutex_lock(&lane->lock);
    batch = lane->spare;
    if (batch) {
        lane->spare = batch->next;
        lane->spares--;
    }
    pthread_mutex_unlock(&lane->lock);
    return batch;
}

static bool make_room(struct lane *lane, size_t size)
{
    struct batch *batch = lane->filling;

    if (batch && batch->size - batch->len >= size)
        return true;
    lane_send(lane);
    batch = take_spare(lane);
    if (!batch) {
        batch = malloc(sizeof(*batch) + BATCH_BYTES);
        if (!batch)
            return false;
        batch->size = BATCH_BYTES;
    }
    batch->next = NULL;
    batch->len = 0;
    lane->filling = batch;
    return true;
}

/* NULL: no memory. size: of what follows the item's head. */
static struct item *put(struct lane *lane, enum item_kind kind, struct seat *seat, size_t size)
{
    size_t whole = (offsetof(struct item, opening) + size + 7) / 8 * 8;
    struct item *item;

    if (!make_room(lane, whole))
        return NULL;
    item = (struct item *)(lane->filling->data + lane->filling->len);
    lane->filling->len += whole;
    item->size = (uint32_t)whole;
    item->kind = kind;
    item->seat = seat;
    atomic_fetch_add(&lane->waiting, whole);
    if (seat)
        atomic_fetch_add(&seat->waiting, whole);
    return item;
}

static struct seat *make_seat(void)
{
    size_t size = (offsetof(struct item, close) + sizeof(((struct item *)NULL)->close) + 7) / 8 * 8;
    struct seat *seat = calloc(1, sizeof(*seat));

    if (seat)
        seat->last = calloc(1, sizeof(*seat->last) + size);
    if (!seat || !seat->last) {
        free(seat);
        return NULL;
    }
    seat->last->len = seat->last->size = size;
    return seat;
}

void lane_refuse(struct lane *lane, const struct lane_opening *opening)
{
    struct process *process = opening->process;
    struct stream_state *state = opening->state;

    worker_expect(lane->worker);
    worker_forget(lane->worker, opening->pod, true);
    if (process)
        identity_flow_end(lane->worker->parts.identity, &process);
    stream_state_free(&state);
}

struct seat *lane_open(struct lane *lane, const struct lane_opening *opening)
{
    struct seat *seat = make_seat();
    struct item *item = seat ? put(lane, ITEM_OPEN, seat, sizeof(item->opening)) : NULL;

    if (!item) {
        lane_refuse(lane, opening);
        if (seat)
            free(seat->last);
        free(seat);
        return NULL;
    }
    worker_expect(lane->worker);
    item->opening = *opening;
    item->opening.pod = pod_ref(opening->pod);
    return seat;
}

/* What was refused has as much again. */
static bool has_room(struct lane *lane, struct seat *seat, const struct abi_said *said)
{
    size_t share = said->kind == ABI_SAID_DENIED ? 2 : 1;

    return atomic_load(&lane->waiting) < share * LANE_MOST &&
           atomic_load(&seat->waiting) < share * STREAM_MOST;
}

bool lane_said(struct lane *lane, struct seat *seat, const struct abi_said *said, uint64_t lost)
{
    size_t size = offsetof(struct abi_said, bytes) + said->len;
    struct item *item =
        has_room(lane, seat, said) ? put(lane, ITEM_SAID, seat, sizeof(lost) + size) : NULL;

    if (!item)
        return false;
    item->said.lost = lost;
    memcpy(&item->said.head, said, size);
    return true;
}

void lane_ktls(struct lane *lane, struct seat *seat, const struct abi_ktls *record)
{
    struct item *item = put(lane, ITEM_KTLS, seat, sizeof(*record));

    if (item)
        item->ktls = *record;
}

void lane_process(struct lane *lane, struct seat *seat, struct process *process)
{
    struct item *item = put(lane, ITEM_PROCESS, seat, sizeof(item->process));

    if (item)
        item->process = process;
    else
        identity_flow_end(lane->worker->parts.identity, &process);
}

void lane_close(struct lane *lane, struct seat *seat, const struct stream_closing *closing)
{
    struct batch *batch = seat->last;
    struct item *item = (struct item *)batch->data;

    lane_send(lane);
    item->size = (uint32_t)batch->len;
    item->kind = ITEM_CLOSE;
    item->seat = seat;
    atomic_fetch_add(&lane->waiting, item->size);
    atomic_fetch_add(&seat->waiting, item->size);
    item->close = *closing;
    push(lane, batch);
}

void lane_mark(struct lane *lane)
{
    lane->marked = lane->sent;
}

bool lane_is_past_mark(const struct lane *lane)
{
    return atomic_load(&lane->handled) >= lane->marked;
}

bool lane_settle(struct lane *lane, uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                                   .tv_nsec = (long)(until_ns % 1000000000)};
    bool marked = put(lane, ITEM_MARK, NULL, 0);
    int code;

    lane_send(lane);
    do
        code = marked ? sem_clockwait(&lane->settled, CLOCK_MONOTONIC, &until) : -1;
    while (marked && code < 0 && errno == EINTR);
    return code == 0;
}

/* ---- the worker's side ---- */

static void open_flow(struct worker *worker, struct seat *seat, struct lane_opening *opening)
{
    const struct stream_opening how = {
        .accepted = opening->accepted,
        .midway = opening->midway,
        .since_ns = opening->since_ns,
        .seat = &seat->flow,
    };
    struct stream *stream = kernel_stream_new(&how);

    seat->flow = stream ? flow_watch(worker, &opening->origin, opening->process, opening->pod,
                                     stream, !opening->accepted)
                        : NULL;
    if (!stream && opening->process)
        identity_flow_end(worker->parts.identity, &opening->process);
    if (seat->flow) {
        seat->flow->pod.rx = opening->tx;
        seat->flow->pod.tx = opening->rx;
    } else {
        worker_forget(worker, opening->pod, true);
    }
    if (seat->flow && opening->state)
        kernel_stream_resume(seat->flow, opening->state);
    stream_state_free(&opening->state);
    pod_unref(&opening->pod);
}

static void close_flow(struct seat *seat, const struct stream_closing *closing)
{
    if (seat->flow)
        kernel_stream_closed(seat->flow, closing);
    free(seat);
}

static void learn_process(struct worker *worker, const struct seat *seat, struct process *process)
{
    if (seat->flow && !seat->flow->facts.who.process)
        seat->flow->facts.who.process = process;
    else
        identity_flow_end(worker->parts.identity, &process);
}

static void handle(struct lane *lane, struct item *item)
{
    struct worker *worker = lane->worker;
    struct seat *seat = item->seat;

    if (seat)
        atomic_fetch_sub(&seat->waiting, item->size);
    switch (item->kind) {
    case ITEM_OPEN:
        open_flow(worker, seat, &item->opening);
        break;
    case ITEM_SAID:
        if (seat->flow)
            kernel_stream_said(seat->flow, &item->said.head,
                               span_of(item->said.head.bytes, item->said.head.len),
                               item->said.lost);
        break;
    case ITEM_KTLS:
        if (seat->flow)
            kernel_stream_ktls(seat->flow, &item->ktls);
        break;
    case ITEM_PROCESS:
        learn_process(worker, seat, item->process);
        break;
    case ITEM_CLOSE:
        close_flow(seat, &item->close);
        break;
    case ITEM_MARK:
        sem_post(&lane->settled);
        break;
    }
}

static void give_back(struct lane *lane, struct batch *batch)
{
    pthread_mutex_lock(&lane->lock);
    if (lane->spares < SPARES && batch->size == BATCH_BYTES) {
        batch->next = lane->spare;
        lane->spare = TAKE(batch);
        lane->spares++;
    }
    pthread_mutex_unlock(&lane->lock);
    free(batch);
}

static void on_visit(struct worker *worker, struct worker_visit *visit)
{
    struct lane *lane = (struct lane *)visit;
    struct batch *batch;

    (void)worker;
    pthread_mutex_lock(&lane->lock);
    batch = lane->first;
    lane->first = NULL;
    lane->last = &lane->first;
    lane->posted = false;
    pthread_mutex_unlock(&lane->lock);
    while (batch) {
        struct batch *next = batch->next;

        for (size_t at = 0; at < batch->len;) {
            struct item *item = (struct item *)(batch->data + at);

            at += item->size;
            atomic_fetch_sub(&lane->waiting, item->size);
            handle(lane, item);
        }
        give_back(lane, batch);
        atomic_fetch_add(&lane->handled, 1);
        batch = next;
    }
}

struct lane *lane_new(struct worker *worker)
{
    struct lane *lane = calloc(1, sizeof(*lane));

    if (!lane)
        return NULL;
    lane->visit.fn = on_visit;
    lane->worker = worker;
    lane->last = &lane->first;
    pthread_mutex_init(&lane->lock, NULL);
    sem_init(&lane->settled, 0, 0);
    return lane;
}

static void free_all(struct batch *batch)
{
    while (batch) {
        struct batch *next = batch->next;

        free(batch);
        batch = next;
    }
}

void lane_free(struct lane **lane)
{
    struct lane *gone = TAKE(*lane);

    if (!gone)
        return;
    free(gone->filling);
    free_all(gone->first);
    free_all(gone->spare);
    pthread_mutex_destroy(&gone->lock);
    sem_destroy(&gone->settled);
    free(gone);
}
