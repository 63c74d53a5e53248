/* attempts: connections that pods' programs have begun and whose upstream has not answered yet.
 *
 * While a program's SYN is held back (bpf/hold.h) we connect to where it meant to go. When that
 * succeeds the SYN is sent on to our listener, and the accepted connection finds its upstream ready
 * here; when it fails the program's socket is told the same, by the packet that would have told it.
 * Where policies do not let it go, nothing does: its SYN goes to our listener at once, and the flow
 * refuses it.
 * Control thread only.
 * Called by:  identity_records.c (records), doors.c (accept), agent_build.c. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/doors/origin.h"

struct abi_syn;
struct attempts;
struct connects;
struct keeper;
struct limits;
struct pod;
struct pods;
struct sockets;

struct attempts_parts { /* all borrowed, all outlive it */
    struct event_base *base;
    struct keeper *keeper;
    struct sockets *sockets;
    struct connects *connects;
    struct limits *limits;
    struct pods *pods;
};

/* From now on SYNs are held, if we may send packets (CAP_NET_RAW). */
int attempts_new(struct attempts **out, const struct attempts_parts *parts, struct err *err);
/* No SYN is held any more; those that are will be repeated by the kernel. */
void attempts_free(struct attempts **attempts);

/* Another agent is told of SYNs from now on, and accepts: what was begun here is ended here. */
void attempts_retire(struct attempts *attempts);
/* How many wait for their upstream. */
size_t attempts_open(const struct attempts *attempts);

/* For identity_on_syn(): a record of the kernel's; NULL: it has told all, and what programs have
 * not given up until then is begun. */
void attempts_on_record(void *attempts, const struct abi_syn *record);

/* Whether any are under way in this namespace: without us there their programs would be refused. */
bool attempts_are_in(const struct attempts *attempts, uint64_t netns_cookie);

/* The upstream socket of a connection that was accepted: connected, or about to be. The caller's;
 * and admitted by limits, for this pod; -1 when there is none: its SYN was not held. */
int attempts_take(struct attempts *attempts, const struct origin *origin, struct pod *pod);
