/* backend: how much of the kernel route this kernel can carry, and the programs that do it.
 *
 * The programs of route.bpf.o stand beside the main ones, with whom they share maps: those mark
 * connections and enrol sockets, these hear what is said there. A kernel that refuses them has no
 * kernel route, and the agent goes on without: then nothing is enrolled, and all connections take
 * the proxy route.
 * Called by:  agent_build.c. Leads to:  kernel/ring.c, which reads what was heard. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct backend;
struct keeper;

/* Loads, attaches (what is received is seen at cgroup_fd, borrowed), and tells the programs that
 * mark connections what there is (map `route`). Where the route is not `named`, only programs that
 * use kTLS take it: then nothing is loaded where there is no kTLS, for that takes a while. Where
 * the keeper's programs are kept for the next agent, so are these. The only failure is want of
 * memory: else see backend_name(). `keeper` is borrowed. */
int backend_new(struct backend **out, struct keeper *keeper, int cgroup_fd, bool named,
                struct err *err);
/* The programs of another version are gone: keeper_remove_older(). */
void backend_is_alone(struct backend *backend);
/* backend_free() shall leave all to the next agent, where it is kept. */
void backend_leave(struct backend *backend);
/* From now on no connection takes the kernel route; those that did are no longer heard. */
void backend_free(struct backend **backend);

/* "sockmap": what is sent is seen by an sk_msg program, also what the kernel encrypts, if it does
 * at all; "lsm": what it encrypts, by an LSM program; "none": that is told and judged as what
 * programs encrypt by themselves, or nothing is read. */
const char *backend_name(const struct backend *backend);
/* What that means here, in words. */
const char *backend_words(const struct backend *backend);
/* Why it is not more, in words; "" where there is nothing to say. */
const char *backend_why(const struct backend *backend);
/* How many connections were to be heard, and could not. */
uint64_t backend_unheard(const struct backend *backend);
/* How many denials the kernel had no room to tell. */
uint64_t backend_untold(const struct backend *backend);
/* The ring buffer of struct abi_said; -1: none. Borrowed. */
int backend_said(const struct backend *backend);
