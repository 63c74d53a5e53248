/* counts: what connections that nobody here reads have carried by now, as the kernel counts it; it
 * tells that by itself only when they are closed.
 *
 * Control thread only, which waits for the answers: every namespace of pods is asked for its
 * sockets (sock_diag(7)), until all of them were found.
 * Called by:  sessions.c. */
#pragma once

#include <stddef.h>

struct flow_row;
struct keeper;

/* Sets tx and rx of those rows that are looked into by nobody; the others', and those of sockets
 * that are not found, stay. The rows are put in another order. */
void counts_take(struct keeper *keeper, struct flow_row *rows, size_t len);
