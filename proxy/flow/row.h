/* row: what an open flow is like at this moment, as plain data that may leave its worker's thread.
 *
 * Called by:  proxy/telemetry/sessions.c, on the worker's thread. */
#pragma once

#include "policy/facts.h"

struct flow;

struct flow_row {
    struct process *process; /* a reference, or NULL */
    struct pod *pod;         /* a reference, or NULL */
    struct addr src, dst;
    uint64_t cookie;
    uint64_t cgroup_id; /* the pod's, by which what it resolved is found */
    uint64_t began_ns;  /* when the program called connect, monotonic */
    uint64_t tx, rx;    /* bytes, as the program sees it */
    enum route route;
    enum visibility visibility;
    enum opaque opaque;
    const char *state;   /* a literal */
    const char *version; /* a literal: "TLS1.3"; NULL: no handshake is done */
    char alpn[32];       /* "": none was agreed */
    char host[256];      /* the name asked for; "": none was */
};

void flow_row_init(struct flow_row *row, const struct flow *flow);
void flow_row_fini(struct flow_row *row);
