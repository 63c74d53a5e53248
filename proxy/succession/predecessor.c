#include "proxy/succession/predecessor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "events/bus.h"
#include "events/forward.h"
#include "proxy/control/client.h"
#include "proxy/identity/identity.h"
#include "proxy/dns/names.h"
#include "proxy/kernel/ring_handover.h"
#include "proxy/sockets_handover.h"

enum { LEARN_MS = 35000, READ_SIZE = 65536, EVENTS_FIRST = 256 };

struct predecessor {
    struct client client; /* what it knows, what becomes of flows */
    int events_fd;        /* its events */
    int pid;
    char *frames; /* of events, as far as they have come */
    size_t len, size;
    struct sockets *sockets; /* borrowed from here on */
    struct bus_producer *producer;
    struct event *on_line, *on_events;
};

static void free_event(struct event **event)
{
    if (*event)
        event_free(TAKE(*event));
}

void predecessor_free(struct predecessor **predecessor)
{
    struct predecessor *gone = TAKE(*predecessor);

    if (!gone)
        return;
    free_event(&gone->on_line);
    free_event(&gone->on_events);
    client_fini(&gone->client);
    fd_close(&gone->events_fd);
    free(gone->frames);
    free(gone);
}

/* ---- making way ---- */

int predecessor_would(const char *runtime_dir, bool replace, bool *would, struct err *err)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    json_t *answer = NULL;
    int result = client_connect(&client, runtime_dir, err);

    *would = false;
    if (result == -ENOENT)
        return 0;
    if (result == 0)
        result = client_call(
            &client,
            json_pack("{s:s, s:b, s:b}", "verb", "takeover", "replace", (int)replace, "asked", 1),
            NULL, 0, &answer, err);
    if (result == -EPIPE)
        return 0; /* it has just died */
    if (result < 0)
        return result;
    *would = true;
    json_decref(answer);
    return 0;
}

int predecessor_ask(struct predecessor **out, const char *runtime_dir, bool replace,
                    struct err *err)
{
    CLEANUP(predecessor_free) struct predecessor *asked = calloc(1, sizeof(*asked));
    json_t *answer = NULL;
    int pair[2], result;

    *out = NULL;
    if (!asked)
        return err_set(err, -ENOMEM, "taking over");
    asked->client.fd = asked->events_fd = -1;
    result = client_connect(&asked->client, runtime_dir, err);
    if (result == -ENOENT)
        return 0;
    if (result < 0)
        return result;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(err, -errno, "taking over");
    asked->events_fd = pair[0];
    result = client_call(&asked->client,
                         json_pack("{s:s, s:b}", "verb", "takeover", "replace", (int)replace),
                         &pair[1], 1, &answer, err);
    close(pair[1]);
    if (result == -EPIPE)
        return 0; /* it has just died */
    if (result < 0)
        return result;
    asked->pid = (int)json_integer_value(json_object_get(answer, "pid"));
    json_decref(answer);
    *out = TAKE(asked);
    return 0;
}

/* ---- what it knows ---- */

static void learn_name(const json_t *row, struct names *names)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *address = json_string_value(json_object_get(row, "address"));
    json_int_t until_ns = json_integer_value(json_object_get(row, "until_ns"));
    json_int_t trusted_ns = json_integer_value(json_object_get(row, "trusted_until_ns"));
    uint64_t pod = (uint64_t)json_integer_value(json_object_get(row, "pod"));
    struct addr at = {.ip = {[10] = 0xff, [11] = 0xff}};

    if (!name || !address || until_ns <= 0 || trusted_ns < 0 || trusted_ns > until_ns)
        return;
    if (inet_pton(AF_INET, address, at.ip + 12) != 1 && inet_pton(AF_INET6, address, at.ip) != 1)
        return;
    names_keep(names, pod, name, &at, (uint64_t)until_ns, (uint64_t)trusted_ns);
}

static void learn_process(const json_t *row, struct identity *identity)
{
    json_int_t pid = json_integer_value(json_object_get(row, "pid"));

    if (pid > 0 && pid <= INT32_MAX)
        identity_adopt(identity, (uint32_t)pid,
                       (uint64_t)json_integer_value(json_object_get(row, "start_ns")),
                       (uint64_t)json_integer_value(json_object_get(row, "pod")));
}

static int learn(struct predecessor *predecessor, struct identity *identity, struct names *names,
                 struct sockets *sockets, struct ring *ring, struct err *err)
{
    for (;;) {
        json_t *line = NULL;
        const json_t *row;
        bool last;
        int result = client_read_line(&predecessor->client, LEARN_MS, &line, err);

        if (result == 0)
            return err_set(err, -EPIPE, "agent %d ended before it had handed over",
                           predecessor->pid);
        if (result < 0)
            return err_wrap(err, "taking over from agent %d", predecessor->pid), result;
        if ((row = json_object_get(line, "process")))
            learn_process(row, identity);
        else if ((row = json_object_get(line, "name")))
            learn_name(row, names);
        else if ((row = json_object_get(line, "socket")))
            sockets_adopt(sockets, row);
        else if (ring && (row = json_object_get(line, "stream")))
            ring_take_over(ring, row);
        last = json_is_true(json_object_get(line, "yours"));
        json_decref(line);
        if (last)
            return 0;
    }
}

int predecessor_learn(struct predecessor *predecessor, struct identity *identity,
                      struct names *names, struct sockets *sockets, struct ring *ring,
                      struct err *err)
{
    int result;

    /* the place is to be ours now; if it has ended it is free anyway */
    (void)!send(predecessor->client.fd, "\n", 1, MSG_NOSIGNAL);
    result = learn(predecessor, identity, names, sockets, ring, err);
    identity_pause(identity, false);
    return result;
}

/* ---- until it ends ---- */

/* True: go on. */
static bool read_frames(struct predecessor *predecessor)
{
    struct flow_event *event = NULL;
    size_t at = 0, used;

    for (;;) {
        switch (
            forward_read(span_of(predecessor->frames + at, predecessor->len - at), &event, &used)) {
        case FORWARD_DONE:
        case FORWARD_NO_MEMORY: /* a NULL is counted as lost */
            bus_emit(predecessor->producer, &event);
            at += used;
            continue;
        case FORWARD_INVALID:
            log_warn("agent %d, whose place this one took, tells of its flows in words that are "
                     "not understood: its last events are lost",
                     predecessor->pid);
            return false;
        case FORWARD_PARTIAL:
            memmove(predecessor->frames, predecessor->frames + at, predecessor->len - at);
            predecessor->len -= at;
            return true;
        }
    }
}

static bool make_room(struct predecessor *predecessor)
{
    size_t size = predecessor->size ? 2 * predecessor->size : 2 * (size_t)READ_SIZE;
    char *grown;

    if (predecessor->size - predecessor->len >= READ_SIZE)
        return true;
    grown = realloc(predecessor->frames, size);
    if (!grown)
        return false;
    predecessor->frames = grown;
    predecessor->size = size;
    return true;
}

/* Whether there was anything. */
static bool read_events(struct predecessor *predecessor)
{
    ssize_t n = -1;
    bool room = make_room(predecessor);

    if (room)
        n = recv(predecessor->events_fd, predecessor->frames + predecessor->len,
                 predecessor->size - predecessor->len, MSG_DONTWAIT);
    if (!room || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        event_del(predecessor->on_events);
        return false;
    }
    if (n < 0)
        return false;
    predecessor->len += (size_t)n;
    if (read_frames(predecessor))
        return true;
    event_del(predecessor->on_events);
    return false;
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_events(arg);
}

static void learn_flow(struct predecessor *predecessor, const json_t *row)
{
    struct sockets_flow *flow = malloc(sizeof(*flow));

    if (flow && sockets_flow_read(row, flow))
        sockets_flow_done(predecessor->sockets, &flow);
    free(flow);
}

static void on_line(evutil_socket_t fd, short what, void *arg)
{
    struct predecessor *predecessor = arg;
    json_t *line = NULL;
    struct err err;
    int result;

    (void)fd;
    (void)what;
    for (int i = 0; i < EVENTS_FIRST && !predecessor_is_over(predecessor); i++)
        if (!read_events(predecessor))
            break; /* what a flow told comes before what became of it */
    do {           /* more lines may have come by the same read */
        result = client_read_line(&predecessor->client, 0, &line, &err);
        if (result <= 0)
            break;
        learn_flow(predecessor, json_object_get(line, "flow"));
        json_decref(line);
    } while (result > 0);
    if (result == 0 || (result < 0 && result != -ETIMEDOUT))
        event_del(predecessor->on_line);
}

int predecessor_follow(struct predecessor *predecessor, struct event_base *base,
                       struct sockets *sockets, struct bus_producer *producer, struct err *err)
{
    predecessor->sockets = sockets;
    predecessor->producer = producer;
    predecessor->on_line =
        event_new(base, predecessor->client.fd, EV_READ | EV_PERSIST, on_line, predecessor);
    predecessor->on_events =
        event_new(base, predecessor->events_fd, EV_READ | EV_PERSIST, on_events, predecessor);
    if (!predecessor->on_line || !predecessor->on_events ||
        event_add(predecessor->on_line, NULL) < 0 || event_add(predecessor->on_events, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    event_active(predecessor->on_line, EV_READ, 0); /* lines that were read already */
    return 0;
}

bool predecessor_is_over(const struct predecessor *predecessor)
{
    return !predecessor->on_events || !event_pending(predecessor->on_events, EV_READ, NULL);
}
