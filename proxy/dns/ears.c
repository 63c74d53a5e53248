#include "proxy/dns/ears.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/doors/ready.h"
#include "proxy/keeper/keeper.h"

struct ears_of_net {
    struct ears_of_net *next;
    const struct keeper_net *net; /* borrowed */
    struct ear all[2 * ABI_PEERS];
    size_t len;
};

static void on_asked(evutil_socket_t fd, short what, void *arg)
{
    struct ear *ear = arg;

    (void)fd;
    (void)what;
    ear->ears->hear(ear->ears->arg, ear);
}

static void ears_of_net_free(struct ears_of_net **net)
{
    struct ears_of_net *gone = TAKE(*net);

    if (!gone)
        return;
    for (size_t i = 0; i < gone->len; i++) {
        ready_unwatch(gone->all[i].ears->ready, gone->all[i].fd);
        event_free(gone->all[i].event);
    }
    free(gone);
}

static int add_ear(struct ears *ears, struct ears_of_net *to, const struct keeper_net *net, int fd,
                   uint16_t port)
{
    struct ear *ear = &to->all[to->len];

    if (fd < 0)
        return 0;
    *ear = (struct ear){.net = net, .fd = fd, .port = port, .ears = ears};
    ear->event = event_new(ears->base, fd, EV_READ | EV_PERSIST, on_asked, ear);
    if (!ear->event)
        return -ENOMEM;
    to->len++;
    if (event_add(ear->event, NULL) < 0)
        return -ENOMEM;
    return ready_watch(ears->ready, fd, ear, NULL);
}

int ears_watch(struct ears *ears, const struct keeper_net *net, struct err *err)
{
    const struct listeners *listeners = keeper_net_listeners(net);
    CLEANUP(ears_of_net_free) struct ears_of_net *here = calloc(1, sizeof(*here));
    int code = here ? 0 : -ENOMEM;

    for (size_t i = 0; code == 0 && i < ABI_PEERS; i++) {
        const struct listener *both = &listeners->datagram[i];

        code = add_ear(ears, here, net, both->v4, both->port);
        if (code == 0)
            code = add_ear(ears, here, net, both->v6, both->port);
    }
    if (code < 0)
        return err_set(err, code, "watching the datagrams of a network namespace");
    here->net = net;
    here->next = ears->nets;
    ears->nets = TAKE(here);
    return 0;
}

void ears_unwatch(struct ears *ears, const struct keeper_net *net)
{
    struct ears_of_net **at = &ears->nets, *gone;

    while (*at && (*at)->net != net)
        at = &(*at)->next;
    if (!(gone = *at))
        return;
    *at = gone->next;
    ears_of_net_free(&gone);
}

void ears_stop(struct ears *ears)
{
    for (struct ears_of_net *net = ears->nets; net; net = net->next)
        for (size_t i = 0; i < net->len; i++)
            event_del(net->all[i].event);
}

int ears_init(struct ears *ears, struct event_base *base, void (*hear)(void *arg, struct ear *ear),
              void *arg, struct err *err)
{
    *ears = (struct ears){.base = base, .ready = ready_new(err), .hear = hear, .arg = arg};
    return ears->ready < 0 ? ears->ready : 0;
}

void ears_fini(struct ears *ears)
{
    while (ears->nets) {
        struct ears_of_net *gone = ears->nets;

        ears->nets = gone->next;
        ears_of_net_free(&gone);
    }
    fd_close(&ears->ready);
}
