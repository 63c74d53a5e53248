/* gate: connections that the node's own rules send us, without BPF: `--listen`.
 *
 * nftables or iptables turn them to our listener, and the kernel knows where they were meant to go:
 * conntrack after REDIRECT or DNAT (SO_ORIGINAL_DST), the accepted socket itself after TPROXY.
 * Nobody knows the process; the client's address says who it is. Control thread only.
 * Called by:  agent.c, in the place of the keeper and all that needs it. The path goes on in
 * worker.c, as for any flow. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct credentials;
struct gate;
struct limits;
struct sockets;
struct worker;

struct gate_parts { /* all borrowed, all outlive the gate */
    struct event_base *base;
    struct sockets *sockets;
    struct credentials *const *credentials; /* those in force */
    struct limits *limits;
    struct worker *const *workers;
    unsigned workers_len;
};

/* Listens at each of these addresses (at least one). */
int gate_new(struct gate **out, const struct gate_parts *parts, const struct addr *at, size_t len,
             struct err *err);
/* From here on nobody is accepted. */
void gate_free(struct gate **gate);
/* Accepts what waits to be accepted. */
void gate_accept(struct gate *gate);

/* Pure: "192.0.2.1:15001", "[2001:db8::1]:15001", the address by number, the port not 0. */
int gate_parse(const char *text, struct addr *out, struct err *err);

/* How a connection came. */
enum gate_way {
    GATE_REDIRECTED,  /* its destination was rewritten, by REDIRECT or DNAT */
    GATE_TRANSPARENT, /* it is ours by TPROXY, its destination still stands in it */
    GATE_ITSELF,      /* it was addressed to us: a stranger's, or a loop; to be closed */
    GATE_RETURNED,    /* it is our own, on its way to a server, sent back to us; to be closed */
    GATE_WAYS
};
/* What the kernel says of an accepted connection. */
struct gate_seen {
    struct addr local;    /* the address at our end */
    struct addr original; /* as conntrack has it; port 0: it knows nothing */
};
/* Pure, but for is_own(): whether the address is one of this host's. listening: the ports of our
 * listeners. *dst: where it was meant to go. */
enum gate_way gate_judge(const struct gate_seen *seen, const uint16_t *listening, size_t len,
                         bool (*is_own)(const struct addr *), struct addr *dst);
