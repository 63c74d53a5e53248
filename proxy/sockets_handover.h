/* sockets_handover: what an agent knows of open sockets, for the agent that comes after it.
 *
 * Control thread only. Called by:  succession/, at either end. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "proxy/sockets.h"

/* Calls visit(arg, row) with a row, the visitor's, or NULL without memory, for each socket there
 * is. */
void sockets_each(const struct sockets *sockets, void (*visit)(void *arg, json_t *row), void *arg);
/* As if its connect had been told here. False: no row of ours, or no memory (counted as lost). */
bool sockets_adopt(struct sockets *sockets, const json_t *row);

/* The same for what became of a flow of a socket that was handed over. NULL without memory. */
json_t *sockets_flow_row(const struct sockets_flow *flow);
bool sockets_flow_read(const json_t *row, struct sockets_flow *out);
