/* keeper_parts: what keeper.c and its thread share; private to them. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "proxy/keeper/inside.h"
#include "proxy/keeper/keeper.h"
#include "proxy/keeper/keeper_client.h"
#include "proxy/keeper/reach.h"

enum { KINDS = KEEPER_KINDS, SOCKETS_AHEAD = KEEPER_AHEAD };
struct ahead {
    int fds[SOCKETS_AHEAD];
    size_t len;
    bool wanted;
    unsigned int turns; /* how often the thread was here for it */
    int code;           /* of its last turn */
};

struct keeper_net {
    struct keeper_net *next; /* in keeper->nets */
    struct keeper_net *next_queued;
    bool queued, leaving;
    bool unstored;       /* systemd shall keep it, too, once it is open */
    struct err *opening; /* for the story, while the listeners are wanted; else NULL */
    int *diag;           /* where a socket for sock_diag is to be put; NULL: none is wanted */
    struct ahead ahead[KINDS];

    int netns_fd; /* from here on: set before others see it, then the control thread's */
    struct listeners listeners;
    int watch, ask; /* rtnetlink */
    struct reach reach;
};

struct keeper {
    struct hooks *hooks;
    char *runtime_dir;           /* where the keeper process is met; NULL: there shall be none */
    struct keeper_client client; /* the thread's, once it runs */
    int home_fd;                 /* the namespace the agent itself is in */
    uint64_t home_cookie;
    pthread_t thread;
    bool has_thread;
    int wake_fd;         /* an eventfd, for the thread */
    atomic_bool leaving; /* set by the control thread */
    pthread_mutex_t lock;
    pthread_cond_t served;
    bool stopping; /* this and all below: under the lock */
    struct keeper_net *nets;
    struct keeper_net *queue, **queue_end;
    struct keeper_net *busy; /* what the thread is at */
};

/* keeper_thread.c. Starting and stopping are the control thread's. */
int keeper_thread_start(struct keeper *keeper, struct err *err);
void keeper_thread_stop(struct keeper *keeper);

/* Under the lock: has the thread look after net; waits until it has. */
void keeper_thread_enqueue(struct keeper *keeper, struct keeper_net *net);
void keeper_thread_wait(struct keeper *keeper, const struct keeper_net *net);

/* The sockets that tell of a namespace's addresses and routes. The thread's; or, before it runs,
 * the control thread's. */
int keeper_thread_follow(struct keeper *keeper, struct keeper_net *net, struct err *err);
