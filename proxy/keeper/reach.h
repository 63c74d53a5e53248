/* reach: what the kernel programs know of a network namespace: maps `nets` and `own`.
 *
 * Called by:  keeper.c. Read by bpf/connect.bpf.c. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "proxy/keeper/listener.h"
#include "proxy/keeper/net.h"

struct sallyport_bpf;

struct reach {
    uint64_t netns_cookie;
    const struct listeners *listeners; /* open; borrowed */
    struct net_view view;              /* as it was told */
};

/* Replaces what was told by view, which is emptied; on failure the old is mostly still in force. */
int reach_tell(struct reach *reach, struct sallyport_bpf *bpf, struct net_view *view,
               struct err *err);
/* Takes everything back, with the records of connections that nobody accepted. */
void reach_forget(struct reach *reach, struct sallyport_bpf *bpf);

/* Takes back what an agent before us told of namespaces, or of their addresses, that find() does
 * not know (any more). */
void reach_sweep(struct sallyport_bpf *bpf,
                 const struct reach *(*find)(void *arg, uint64_t netns_cookie), void *arg);
