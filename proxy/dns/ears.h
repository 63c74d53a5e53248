/* ears: our listeners for datagrams in each namespace we listen in. Control thread only.
 *
 * Called by:  resolver.c, which hears what was sent there. */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/dns/datagram.h"

struct ears;
struct ears_of_net;
struct keeper_net;

/* One listener. */
struct ear {
    const struct keeper_net *net; /* borrowed */
    int fd;                       /* borrowed */
    uint16_t port;
    struct datagram_drops drops;
    struct ears *ears;
    struct event *event;
};

struct ears {
    struct event_base *base; /* borrowed */
    int ready;               /* of all of them: ready_look() has a struct ear each */
    struct ears_of_net *nets;
    void (*hear)(void *arg, struct ear *ear);
    void *arg;
};

/* hear: somebody wrote to this one. The ears stay where they are. */
int ears_init(struct ears *ears, struct event_base *base, void (*hear)(void *arg, struct ear *ear),
              void *arg, struct err *err);
void ears_fini(struct ears *ears);

/* From within hear(), too. */
int ears_watch(struct ears *ears, const struct keeper_net *net, struct err *err);
/* A namespace that is not watched is none. Not from within hear(). */
void ears_unwatch(struct ears *ears, const struct keeper_net *net);
/* Nobody is told any more. */
void ears_stop(struct ears *ears);
