/* ends: connections of the kernel route of which something may not leave end at once, so that their
 * programs learn of it, and so that it does not leave when the kernel programs are gone; before
 * they or a pod go, so do those that rules judge, that nobody has open any more, and that have not
 * sent all yet.
 *
 * Control thread only. Its reading of a namespace's connections is one go: it is for the few of
 * which the kernel programs said so.
 * Called by:  agent.c, pods/lifecycle.c. Leads to:   ../keeper/diag.h. The kernel's side:
 * bpf/ending.h. */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"

struct abi_socket;
struct ends;
struct keeper;

/* Borrows all. What an agent before us did not come to is done here. */
int ends_new(struct ends **out, struct event_base *base, struct keeper *keeper, struct err *err);
void ends_free(struct ends **ends);

/* Records of sockets; others than ABI_SOCKET_HELD are left alone. */
void ends_on_socket(struct ends *ends, const struct abi_socket *record);

/* Nobody will judge what the pod sends from now on. */
void ends_on_pod_gone(struct ends *ends, uint64_t pod);
/* The kernel programs are about to go: what nobody has open any more has a moment to come through
 * what judges it, and ends then. */
void ends_finish(struct ends *ends);
