#include "events/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "events/sink.h"

enum {
    RENDER_AHEAD = 64 << 10, /* rendered and not yet written, but for the length of one line */
    TURN_BYTES = 256 << 10,  /* written to one subscriber before the others have their turn */
    BATCH_BYTES = 128 << 10, /* of new events before all have a turn: fewer than one may take */
    LAST_WORDS_MS = 2000,    /* how long one may take nothing at the end */
};

struct subscriber {
    struct subscriber *next;
    struct sink sink; /* what renders wants to know; only seq, color and node_name count */
    struct filter *filter;
    uint64_t since_ns;
    uint64_t at; /* the number of the event to look at next */
    uint64_t
        missing;    /* events that it should have had, before that one, and has not been told of */
    bool no_memory; /* why: not since it is slow */
    size_t sent;    /* of sink.pending */
    bool watched;   /* for room to write */
    bool leaving;   /* has closed its end: it gets what has happened until then ... */
    uint64_t left_in,
        until; /* ... seen in this turn; from the next one on known: before that one */
};

struct feed {
    char *node_name;
    int epoll_fd;
    struct { /* by number & (FEED_EVENTS - 1) */
        struct flow_event *event;
        size_t size;
    } kept[FEED_EVENTS];
    uint64_t first, end; /* numbers of the events kept */
    uint64_t last;       /* subscribers are told what is before it; UINT64_MAX: no end yet */
    atomic_bool dismissed;
    size_t bytes;
    uint64_t turns;
    size_t unseen_bytes;            /* come since the subscribers' last turn */
    struct subscriber *subscribers; /* of the event thread */
    pthread_mutex_t lock;           /* guards newcomers */
    struct subscriber *newcomers;
    atomic_uint subscribers_len; /* newcomers, too */
    _Atomic uint64_t begins_ns, missed;
};
_Static_assert((FEED_EVENTS & (FEED_EVENTS - 1)) == 0, "struct feed: a power of two");

int feed_new(struct feed **out, const char *node_name, struct err *err)
{
    CLEANUP(feed_free) struct feed *feed = calloc(1, sizeof(*feed));

    if (!feed)
        return err_set(err, -ENOMEM, "no memory for the latest events");
    pthread_mutex_init(&feed->lock, NULL);
    feed->last = UINT64_MAX;
    feed->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (feed->epoll_fd < 0)
        return err_sys(err, -errno, "events: epoll");
    feed->node_name = strdup(node_name);
    if (!feed->node_name)
        return err_set(err, -ENOMEM, "no memory for the latest events");
    *out = TAKE(feed);
    return 0;
}

static void subscriber_free(struct subscriber **subscriber)
{
    struct subscriber *gone = TAKE(*subscriber);

    if (!gone)
        return;
    fd_close(&gone->sink.fd);
    sink_fini(&gone->sink);
    filter_free(&gone->filter);
    free(gone);
}

static void free_list(struct subscriber *list)
{
    while (list) {
        struct subscriber *next = list->next;

        subscriber_free(&list);
        list = next;
    }
}

void feed_free(struct feed **feed)
{
    struct feed *gone = TAKE(*feed);

    if (!gone)
        return;
    free_list(gone->subscribers);
    free_list(gone->newcomers);
    for (; gone->first < gone->end; gone->first++)
        flow_event_free(&gone->kept[gone->first % FEED_EVENTS].event);
    fd_close(&gone->epoll_fd);
    pthread_mutex_destroy(&gone->lock);
    free(gone->node_name);
    free(gone);
}

int feed_add(struct feed *feed, struct feed_order *order, struct err *err)
{
    CLEANUP(subscriber_free) struct subscriber *subscriber = NULL;

    if (atomic_load(&feed->dismissed))
        return err_set(err, -ESHUTDOWN, "this agent is being replaced: ask the next one");
    if (atomic_fetch_add(&feed->subscribers_len, 1) >= FEED_SUBSCRIBERS) {
        atomic_fetch_sub(&feed->subscribers_len, 1);
        return err_set(err, -EBUSY, "%d follow the events already: let one of them go",
                       FEED_SUBSCRIBERS);
    }
    subscriber = calloc(1, sizeof(*subscriber));
    if (subscriber) {
        sink_init(&subscriber->sink, order->json ? json_render : text_render, -1, feed->node_name,
                  order->color);
        buffer_text(&subscriber->sink.pending, order->greeting);
        buffer_append(&subscriber->sink.pending, "\n", 1);
    }
    if (!subscriber || subscriber->sink.pending.failed) {
        atomic_fetch_sub(&feed->subscribers_len, 1);
        return err_set(err, -ENOMEM, "no memory for one more who follows the events");
    }
    subscriber->sink.fd = fd_take(&order->fd);
    subscriber->filter = TAKE(order->filter);
    subscriber->since_ns = order->since_ns;
    subscriber->until = UINT64_MAX;
    pthread_mutex_lock(&feed->lock);
    subscriber->next = feed->newcomers;
    feed->newcomers = TAKE(subscriber);
    pthread_mutex_unlock(&feed->lock);
    return 0;
}

void feed_dismiss(struct feed *feed)
{
    atomic_store(&feed->dismissed, true);
}

uint64_t feed_begins_ns(const struct feed *feed)
{
    return atomic_load(&feed->begins_ns);
}

unsigned feed_subscribers(const struct feed *feed)
{
    return atomic_load(&feed->subscribers_len);
}

uint64_t feed_missed(const struct feed *feed)
{
    return atomic_load(&feed->missed);
}

/* ---- one subscriber ---- */

static uint64_t weight(const struct flow_event *event)
{
    return event->kind == FLOW_EVENT_LOST ? event->lost.count : 1;
}

static void miss(struct feed *feed, struct subscriber *subscriber, const struct flow_event *event)
{
    subscriber->missing += weight(event);
    atomic_fetch_add_explicit(&feed->missed, weight(event), memory_order_relaxed);
}

/* False when there was no memory: then pending is as it was. */
static bool render(struct subscriber *subscriber, const struct flow_event *event)
{
    struct buffer *pending = &subscriber->sink.pending;
    size_t before = pending->len;

    subscriber->sink.render(&subscriber->sink, event, pending);
    if (pending->failed) {
        pending->failed = false;
        pending->len = before;
        subscriber->no_memory = true;
        return false;
    }
    subscriber->sink.seq++;
    return true;
}

static bool tell_missing(struct subscriber *subscriber)
{
    struct flow_event event = {.kind = FLOW_EVENT_LOST, .time_ns = flow_event_now()};

    event.lost.count = subscriber->missing;
    event.lost.reason =
        subscriber->no_memory ? "could not be written: out of memory" : "this reader was too slow";
    if (!render(subscriber, &event))
        return false;
    subscriber->missing = 0;
    subscriber->no_memory = false;
    return true;
}

/* No event from here on is for it. */
static uint64_t end_for(const struct feed *feed, const struct subscriber *subscriber)
{
    uint64_t end = feed->last < feed->end ? feed->last : feed->end;

    return subscriber->until < end ? subscriber->until : end;
}

/* Renders on, as far as it should be ahead of the reader. */
static void fill(struct feed *feed, struct subscriber *subscriber)
{
    while (subscriber->sink.pending.len - subscriber->sent < RENDER_AHEAD) {
        const struct flow_event *event;

        if (subscriber->missing && !tell_missing(subscriber))
            return;
        if (subscriber->at >= end_for(feed, subscriber))
            return;
        event = feed->kept[subscriber->at++ % FEED_EVENTS].event;
        if (filter_match(subscriber->filter, event) && !render(subscriber, event))
            miss(feed, subscriber, event);
    }
}

static bool behind(const struct feed *feed, const struct subscriber *subscriber)
{
    return subscriber->sent < subscriber->sink.pending.len ||
           subscriber->at < end_for(feed, subscriber) || subscriber->missing;
}

/* What was sent goes out of memory; an idle reader owns no large buffer. */
static void compact(struct subscriber *subscriber)
{
    struct buffer *pending = &subscriber->sink.pending;

    if (subscriber->sent == pending->len && pending->size > 2 * RENDER_AHEAD) {
        buffer_fini(pending);
    } else {
        memmove(pending->data, pending->data + subscriber->sent, pending->len - subscriber->sent);
        pending->len -= subscriber->sent;
    }
    subscriber->sent = 0;
}

/* Writes until the reader has all, or takes no more for now: 0; or its error. *moved: how many
 * bytes it took. */
static int pump(struct feed *feed, struct subscriber *subscriber, size_t *moved)
{
    struct buffer *pending = &subscriber->sink.pending;

    *moved = 0;
    while (*moved < TURN_BYTES) {
        ssize_t n;

        fill(feed, subscriber);
        if (subscriber->sent == pending->len)
            break;
        n = send(subscriber->sink.fd, pending->data + subscriber->sent,
                 pending->len - subscriber->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -errno;
        if (n < 0)
            break;
        subscriber->sent += (size_t)n;
        *moved += (size_t)n;
        if (subscriber->sent >= RENDER_AHEAD / 2 || subscriber->sent == pending->len)
            compact(subscriber);
    }
    return 0;
}

static int watch(const struct feed *feed, struct subscriber *subscriber, int operation,
                 bool for_room)
{
    struct epoll_event event = {.events = (subscriber->leaving ? 0u : EPOLLRDHUP) |
                                          (for_room ? EPOLLOUT : 0),
                                .data.ptr = subscriber};

    subscriber->watched = for_room;
    return epoll_ctl(feed->epoll_fd, operation, subscriber->sink.fd, &event);
}

/* Whether it closes its end, which it may have before it reads the rest. Followers have nothing to
 * say: what they send is thrown away, for behind it their end would not be seen. */
static bool left(const struct subscriber *subscriber)
{
    char ignored[4096];
    ssize_t n = 0;

    for (int i = 0; i < 16; i++) {
        n = recv(subscriber->sink.fd, ignored, sizeof(ignored), MSG_DONTWAIT);
        if (n <= 0)
            break;
    }
    return n == 0;
}

/* What happened before it closed its end may be in the rings yet: they are empty after a turn that
 * began behind that. */
static bool has_left(const struct feed *feed, struct subscriber *subscriber)
{
    if (!subscriber->leaving) {
        subscriber->leaving = left(subscriber);
        subscriber->left_in = feed->turns;
        if (subscriber->leaving)
            watch(feed, subscriber, EPOLL_CTL_MOD, subscriber->watched);
    } else if (subscriber->until == UINT64_MAX && feed->turns > subscriber->left_in) {
        subscriber->until = feed->end;
    }
    return subscriber->until != UINT64_MAX && !behind(feed, subscriber);
}

/* ---- the event thread ---- */

/* The first event from since_ns on: behind it, all are told, whatever the clock was set to. */
static uint64_t place(const struct feed *feed, uint64_t since_ns)
{
    uint64_t at = since_ns ? feed->first : feed->end;

    while (at < feed->end && feed->kept[at % FEED_EVENTS].event->time_ns < since_ns)
        at++;
    return at;
}

static void take_newcomers(struct feed *feed)
{
    struct subscriber *list, *next;

    pthread_mutex_lock(&feed->lock);
    list = TAKE(feed->newcomers);
    pthread_mutex_unlock(&feed->lock);
    for (; list; list = next) {
        next = list->next;
        list->at = place(feed, list->since_ns);
        if (watch(feed, list, EPOLL_CTL_ADD, false) < 0) {
            subscriber_free(&list);
            atomic_fetch_sub(&feed->subscribers_len, 1);
            continue;
        }
        list->next = feed->subscribers;
        feed->subscribers = list;
    }
}

/* Everybody's turn. Returns whether anybody took a byte. */
static bool serve(struct feed *feed)
{
    struct subscriber **link = &feed->subscribers;
    bool any = false;

    while (*link) {
        struct subscriber *subscriber = *link;
        size_t moved = 0;
        bool want, gone = pump(feed, subscriber, &moved) < 0 || has_left(feed, subscriber);

        any |= moved > 0;
        gone |= feed->last != UINT64_MAX && !behind(feed, subscriber);
        /* what there was no memory for waits for the next turn, not for the reader */
        want = !gone && (subscriber->sent < subscriber->sink.pending.len ||
                         (subscriber->at < end_for(feed, subscriber) && !subscriber->missing));
        if (!gone && want != subscriber->watched)
            gone = watch(feed, subscriber, EPOLL_CTL_MOD, want) < 0;
        if (!gone) {
            link = &subscriber->next;
            continue;
        }
        *link = subscriber->next;
        atomic_fetch_sub(&feed->subscribers_len, 1); /* before its reader sees the end */
        subscriber_free(&subscriber); /* closes it, which takes it out of the epoll set */
    }
    feed->unseen_bytes = 0;
    return any;
}

static void forget_oldest(struct feed *feed)
{
    size_t slot = feed->first % FEED_EVENTS;
    struct flow_event *event = feed->kept[slot].event;

    for (struct subscriber *one = feed->subscribers; one; one = one->next) {
        if (one->at != feed->first)
            continue;
        if (one->at < one->until && one->at < feed->last && filter_match(one->filter, event))
            miss(feed, one, event);
        one->at++;
    }
    atomic_store_explicit(&feed->begins_ns, event->time_ns + 1, memory_order_relaxed);
    feed->bytes -= feed->kept[slot].size;
    feed->first++;
    flow_event_free(&feed->kept[slot].event);
}

/* Of one that lasts for the call only. NULL: no memory. */
static struct flow_event *copy_loss(const struct flow_event *event)
{
    struct flow_event *copy = flow_event_new(FLOW_EVENT_LOST, NULL, NULL);

    if (!copy)
        return NULL;
    copy->time_ns = event->time_ns;
    copy->lost.count = event->lost.count;
    copy->lost.reason = flow_event_text(copy, span_of_text(event->lost.reason));
    if (copy->incomplete)
        flow_event_free(&copy);
    return copy;
}

static void on_event(void *arg, struct flow_event *event)
{
    struct feed *feed = arg;
    struct flow_event *kept =
        event->kind == FLOW_EVENT_LOST ? copy_loss(event) : flow_event_hold(event);
    size_t size;

    if (!kept) {
        for (struct subscriber *one = feed->subscribers; one; one = one->next)
            miss(feed, one, event);
        return;
    }
    size = flow_event_size(kept);

    while (feed->first < feed->end &&
           (feed->end - feed->first == FEED_EVENTS || feed->bytes + size > FEED_BYTES))
        forget_oldest(feed);
    feed->kept[feed->end % FEED_EVENTS].event = kept;
    feed->kept[feed->end % FEED_EVENTS].size = size;
    feed->end++;
    feed->bytes += size;
    feed->unseen_bytes += size;
    if (feed->unseen_bytes >= BATCH_BYTES)
        serve(feed);
}

static bool anybody_behind(const struct feed *feed)
{
    for (const struct subscriber *one = feed->subscribers; one; one = one->next)
        if (behind(feed, one))
            return true;
    return false;
}

/* The rest for those who read; who takes nothing for so long has lost it. */
static void say_last_words(struct feed *feed)
{
    uint64_t moved_ns = clock_ns();

    while (anybody_behind(feed) && clock_ns() - moved_ns < LAST_WORDS_MS * UINT64_C(1000000)) {
        struct epoll_event ready[FEED_SUBSCRIBERS];

        epoll_wait(feed->epoll_fd, ready, FEED_SUBSCRIBERS, LAST_WORDS_MS);
        if (serve(feed))
            moved_ns = clock_ns();
    }
    free_list(TAKE(feed->subscribers));
    atomic_store(&feed->subscribers_len, FEED_SUBSCRIBERS); /* nobody else is let in */
}

static void on_turn(void *arg, bool last)
{
    struct feed *feed = arg;

    feed->turns++;
    take_newcomers(feed);
    if (feed->last == UINT64_MAX && atomic_load(&feed->dismissed))
        feed->last = feed->end;
    if (feed->subscribers)
        serve(feed);
    if (last)
        say_last_words(feed);
}

struct bus_tap feed_tap(struct feed *feed)
{
    return (struct bus_tap){
        .arg = feed, .on_event = on_event, .on_turn = on_turn, .fd = feed->epoll_fd};
}
