/* inside: what we open in a pod's network namespace, which the calling thread enters for that and
 * leaves again: a thread that stood in it would keep it alive.
 *
 * Called by:  keeper.c's thread, and keeper_process.c. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "proxy/keeper/listener.h"

enum inside_kind { /* of sockets */
                   INSIDE_STREAM4,
                   INSIDE_STREAM6,
                   INSIDE_DATAGRAM4,
                   INSIDE_DATAGRAM6,
                   INSIDE_WATCH, /* rtnetlink: net_open_watch(), net_open_ask() */
                   INSIDE_ASK,
                   INSIDE_DIAG, /* sock_diag: diag_open() */
                   INSIDE_KINDS,
};

/* Of the calling thread's namespace, which is where it comes home to. */
int inside_home(int *home_fd, uint64_t *cookie, struct err *err);

/* Listens in the namespace of netns_fd. Where *cookie is not 0 and not the namespace's, nothing is
 * opened and -ESTALE returned; *cookie is the namespace's afterwards. On failure *out has nothing
 * open. */
int inside_listen(int home_fd, int netns_fd, uint64_t *cookie, struct listeners *out,
                  struct err *err);
/* Makes up to `wanted` sockets; returns how many, and in *code why not all. */
size_t inside_sockets(int home_fd, int netns_fd, enum inside_kind kind, int *fds, size_t wanted,
                      int *code);
