#include "events/bus.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"

enum {
    TICK_MS = 20,
    CACHE_LINE = 64,
    REDIRECT_MS = 1000,
    LAST_WORDS_MS = 30000, /* how long a reader may take nothing at the end: less, say */
};

/* head and tail only grow; a slot is their value & mask. The producer alone moves tail, the event
 * thread alone moves head, each with a release that the other's acquire meets. */
struct bus_producer {
    struct bus *bus;
    struct bus_producer *next; /* made before this one; fixed once linked */
    char *name;
    struct flow_event **slots;
    size_t mask;
    alignas(CACHE_LINE) atomic_size_t tail;
    size_t seen_head; /* head as the producer last looked: it is that or further */
    atomic_uint_fast64_t lost_room, lost_memory;
    alignas(CACHE_LINE) atomic_size_t head;
};

struct bus {
    struct sink *sinks; /* borrowed */
    size_t sinks_len;
    struct bus_tap taps[BUS_TAPS_MAX];
    atomic_size_t taps_len; /* grows only, behind what it counts */
    int wake_fd;
    pthread_t thread;
    bool running;
    struct bus_producer *hot; /* event thread: the ring that had the last ticket */
    uint64_t next_ticket;     /* event thread: what to deliver next */
    pthread_mutex_t lock;     /* guards what follows */
    pthread_cond_t flushed;
    uint64_t flush_wanted, flush_done;
    struct sink *then; /* the sinks from the next turn on; NULL: those there are */
    size_t then_len;
    bool stopping;
    alignas(CACHE_LINE) atomic_uint_fast64_t ticket; /* how many were given out */
    alignas(CACHE_LINE) atomic_bool woken;           /* a wake is under way: no second one */
    _Atomic(struct bus_producer *) producers;
};

static void wake(struct bus *bus)
{
    if (!atomic_exchange_explicit(&bus->woken, true, memory_order_acq_rel))
        eventfd_write(bus->wake_fd, 1);
}

void bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    struct flow_event *taken = TAKE(*event);
    size_t tail = atomic_load_explicit(&producer->tail, memory_order_relaxed);

    if (!taken || taken->incomplete) {
        flow_event_free(&taken);
        atomic_fetch_add_explicit(&producer->lost_memory, 1, memory_order_relaxed);
        return;
    }
    if (tail - producer->seen_head >= producer->mask / 2)
        producer->seen_head = atomic_load_explicit(&producer->head, memory_order_acquire);
    if (tail - producer->seen_head > producer->mask) {
        atomic_fetch_add_explicit(&producer->lost_room, 1, memory_order_relaxed);
        flow_event_free(&taken);
        return;
    }
    /* Relaxed is enough: what happened before this got its ticket before, as one counter's
     * changes have one order. */
    taken->ticket = atomic_fetch_add_explicit(&producer->bus->ticket, 1, memory_order_relaxed);
    producer->slots[tail & producer->mask] = taken;
    atomic_store_explicit(&producer->tail, tail + 1, memory_order_release);
    if (tail - producer->seen_head >= producer->mask / 2)
        wake(producer->bus);
}

/* The event with this ticket, if it is the ring's first: a ring's tickets only grow. */
static struct flow_event *take_ticket(struct bus_producer *producer, uint64_t ticket)
{
    size_t head = atomic_load_explicit(&producer->head, memory_order_relaxed);
    struct flow_event *event;

    if (head == atomic_load_explicit(&producer->tail, memory_order_acquire))
        return NULL;
    event = producer->slots[head & producer->mask];
    if (event->ticket != ticket)
        return NULL;
    atomic_store_explicit(&producer->head, head + 1, memory_order_release);
    return event;
}

static struct flow_event *take_next(struct bus *bus)
{
    struct flow_event *event = bus->hot ? take_ticket(bus->hot, bus->next_ticket) : NULL;
    struct bus_producer *producer = atomic_load_explicit(&bus->producers, memory_order_acquire);

    for (; !event && producer; producer = producer->next) {
        event = take_ticket(producer, bus->next_ticket);
        if (event)
            bus->hot = producer;
    }
    return event;
}

static void tell(struct bus *bus, struct flow_event *event)
{
    size_t taps = atomic_load_explicit(&bus->taps_len, memory_order_acquire);

    for (size_t i = 0; i < bus->sinks_len; i++)
        sink_write(&bus->sinks[i], event);
    for (size_t i = 0; i < taps; i++)
        bus->taps[i].on_event(bus->taps[i].arg, event);
}

static void end_turn(struct bus *bus, bool last)
{
    size_t taps = atomic_load_explicit(&bus->taps_len, memory_order_acquire);

    for (size_t i = 0; i < taps; i++)
        if (bus->taps[i].on_turn)
            bus->taps[i].on_turn(bus->taps[i].arg, last);
}

/* Delivers all whose tickets were given out when it began. Returns whether there were any. */
static bool deliver(struct bus *bus)
{
    uint64_t until = atomic_load_explicit(&bus->ticket, memory_order_relaxed);
    bool any = bus->next_ticket < until;

    while (bus->next_ticket < until) {
        struct flow_event *event = take_next(bus);

        if (!event) { /* its producer was interrupted between ticket and ring */
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
            continue;
        }
        bus->next_ticket++;
        tell(bus, event);
        flow_event_free(&event);
    }
    return any;
}

static bool tell_loss(struct bus *bus, atomic_uint_fast64_t *lost, const char *name,
                      const char *why)
{
    struct flow_event event = {.kind = FLOW_EVENT_LOST, .time_ns = flow_event_now()};
    char reason[128];

    if (!atomic_load_explicit(lost, memory_order_relaxed))
        return false; /* the usual case leaves the producer its cache line */
    event.lost.count = atomic_exchange_explicit(lost, 0, memory_order_relaxed);
    snprintf(reason, sizeof(reason), "%s %s", name, why);
    event.lost.reason = reason;
    tell(bus, &event);
    return true;
}

static bool tell_losses(struct bus *bus)
{
    struct bus_producer *producer = atomic_load_explicit(&bus->producers, memory_order_acquire);
    bool any = false;

    for (; producer; producer = producer->next) {
        any |= tell_loss(bus, &producer->lost_room, producer->name, "ring full");
        any |= tell_loss(bus, &producer->lost_memory, producer->name, "out of memory");
    }
    return any;
}

static void wait_for_work(struct bus *bus)
{
    size_t taps = atomic_load_explicit(&bus->taps_len, memory_order_acquire);
    struct pollfd ready[1 + BUS_TAPS_MAX] = {{.fd = bus->wake_fd, .events = POLLIN}};
    eventfd_t ignored;

    for (size_t i = 0; i < taps; i++)
        ready[1 + i] = (struct pollfd){.fd = bus->taps[i].fd, .events = POLLIN};
    poll(ready, 1 + taps, TICK_MS);
    if (ready[0].revents)
        eventfd_read(bus->wake_fd, &ignored);
    /* before the rings are read: whoever finds it set from now on filled its ring before that */
    atomic_exchange_explicit(&bus->woken, false, memory_order_acq_rel);
}

static void *event_thread(void *arg)
{
    struct bus *bus = arg;
    bool stopping;

    do {
        uint64_t wanted;
        bool any, then;

        wait_for_work(bus);
        pthread_mutex_lock(&bus->lock);
        wanted = bus->flush_wanted;
        then = bus->then;
        stopping = bus->stopping;
        any = wanted != bus->flush_done || stopping;
        pthread_mutex_unlock(&bus->lock);

        any |= deliver(bus);
        any |= tell_losses(bus);
        for (size_t i = 0; any && i < bus->sinks_len; i++)
            sink_flush(&bus->sinks[i]);
        end_turn(bus, stopping);

        pthread_mutex_lock(&bus->lock);
        bus->flush_done = wanted;
        if (then) {
            bus->sinks = TAKE(bus->then);
            bus->sinks_len = bus->then_len;
        }
        pthread_cond_broadcast(&bus->flushed);
        pthread_mutex_unlock(&bus->lock);
    } while (!stopping);
    return NULL;
}

/* With every signal blocked: they are for the threads that wait for them, and a sink's broken
 * pipe must come as EPIPE, not as SIGPIPE. */
static int start_thread(struct bus *bus)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&bus->thread, NULL, event_thread, bus);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    bus->running = code == 0;
    if (bus->running)
        pthread_setname_np(bus->thread, "events");
    return -code;
}

int bus_new(struct bus **out, struct sink *sinks, size_t sinks_len, struct err *err)
{
    CLEANUP(bus_free) struct bus *bus = aligned_alloc(alignof(struct bus), sizeof(*bus));
    int code;

    if (!bus)
        return err_set(err, -ENOMEM, "no memory for the event bus");
    memset(bus, 0, sizeof(*bus));
    bus->sinks = sinks;
    bus->sinks_len = sinks_len;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->flushed, NULL);
    bus->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bus->wake_fd < 0)
        return err_sys(err, -errno, "event bus: eventfd");
    code = start_thread(bus);
    if (code < 0)
        return err_sys(err, code, "event bus: starting its thread");
    *out = TAKE(bus);
    return 0;
}

int bus_add_tap(struct bus *bus, const struct bus_tap *tap, struct err *err)
{
    size_t len;

    pthread_mutex_lock(&bus->lock);
    len = atomic_load_explicit(&bus->taps_len, memory_order_relaxed);
    if (len < BUS_TAPS_MAX) {
        bus->taps[len] = *tap;
        atomic_store_explicit(&bus->taps_len, len + 1, memory_order_release);
    }
    pthread_mutex_unlock(&bus->lock);
    return len < BUS_TAPS_MAX ? 0 : err_set(err, -ENOSPC, "event bus: no place for another tap");
}

static void producer_free(struct bus_producer **producer)
{
    struct bus_producer *gone = TAKE(*producer);

    if (!gone)
        return;
    free(gone->name);
    free(gone->slots);
    free(gone);
}

void bus_free(struct bus **bus)
{
    struct bus *gone = TAKE(*bus);
    struct bus_producer *producer;

    if (!gone)
        return;
    for (size_t i = 0; i < gone->sinks_len; i++)
        sink_hurry(&gone->sinks[i], LAST_WORDS_MS);
    if (gone->running) {
        pthread_mutex_lock(&gone->lock);
        gone->stopping = true;
        pthread_mutex_unlock(&gone->lock);
        wake(gone);
        pthread_join(gone->thread, NULL);
    }
    for (size_t i = 0; i < gone->sinks_len; i++)
        sink_give_up(&gone->sinks[i]);
    producer = atomic_load(&gone->producers);
    while (producer) {
        struct bus_producer *next = producer->next;

        producer_free(&producer);
        producer = next;
    }
    fd_close(&gone->wake_fd);
    pthread_cond_destroy(&gone->flushed);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}

int bus_producer_new(struct bus_producer **out, struct bus *bus, const char *name, size_t capacity,
                     struct err *err)
{
    CLEANUP(producer_free)
    struct bus_producer *producer = aligned_alloc(alignof(struct bus_producer), sizeof(*producer));
    struct bus_producer *made;
    size_t slots = 1;

    while (slots < capacity && slots <= SIZE_MAX / 2)
        slots *= 2;
    if (producer) {
        memset(producer, 0, sizeof(*producer));
        producer->name = strdup(name);
        producer->slots = calloc(slots, sizeof(*producer->slots));
    }
    if (!producer || !producer->name || !producer->slots)
        return err_set(err, -ENOMEM, "no memory for the event ring of %s, %zu slots", name, slots);
    producer->bus = bus;
    producer->mask = slots - 1;
    made = *out = TAKE(producer);
    made->next = atomic_load_explicit(&bus->producers, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&bus->producers, &made->next, made,
                                                  memory_order_release, memory_order_relaxed))
        ;
    return 0;
}

/* Under the lock. */
static void wait_flushed(struct bus *bus)
{
    uint64_t wanted = ++bus->flush_wanted;

    wake(bus);
    while (bus->flush_done < wanted)
        pthread_cond_wait(&bus->flushed, &bus->lock);
}

void bus_flush(struct bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    wait_flushed(bus);
    pthread_mutex_unlock(&bus->lock);
}

void bus_flush_within(struct bus *bus, unsigned ms)
{
    uint64_t until_ns = clock_ns() + ms * UINT64_C(1000000), wanted;
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                                   .tv_nsec = (long)(until_ns % 1000000000)};

    pthread_mutex_lock(&bus->lock);
    wanted = ++bus->flush_wanted;
    wake(bus);
    while (bus->flush_done < wanted &&
           pthread_cond_clockwait(&bus->flushed, &bus->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    pthread_mutex_unlock(&bus->lock);
}

void bus_redirect(struct bus *bus, struct sink *sinks, size_t sinks_len)
{
    for (size_t i = 0; i < bus->sinks_len; i++) /* whose readers are not waited for here */
        sink_hurry(&bus->sinks[i], REDIRECT_MS);
    pthread_mutex_lock(&bus->lock);
    bus->then = sinks;
    bus->then_len = sinks_len;
    wait_flushed(bus);
    pthread_mutex_unlock(&bus->lock);
}
