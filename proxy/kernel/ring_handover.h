/* ring_handover: the connections of the kernel route, for the agent that comes after this one.
 *
 * Control thread. Called by:  ../succession/, at either end. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct ring;

/* Of one that is paused (ring_pause()): ends all streams here, though they go on there, when the
 * workers have read what there is, for which it waits. The ring is stopped then. */
void ring_hand_over(struct ring *ring);
/* Calls visit(arg, row) with a row, the visitor's, or NULL without memory, for each of those. */
void ring_each_handed(const struct ring *ring, void (*visit)(void *arg, json_t *row), void *arg);
/* As if it had been followed here. False: it is none of ours, or there is no room for it. */
bool ring_take_over(struct ring *ring, const json_t *row);
