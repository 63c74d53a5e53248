/* tap: what a flow gives to those who asked for its bytes or its keys; nothing, as a rule.
 *
 * Called by:  flow.c at its ends; relay.c, streams.c and ../kernel/stream.c for what the program
 * says and hears; ../capture/captures.c. Leads to:   proxy/capture/. */
#pragma once

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

struct flow;
struct tap; /* one of those who asked */
struct worker;

enum tap_side { TAP_PROGRAM, TAP_SERVER, TAP_SIDE_MAX };

/* Looks who has asked, and who does no more; at its beginning, and when that changes. */
void tap_look(struct flow *flow);
/* What this side said, as the program sees it. */
void tap_bytes(struct flow *flow, enum tap_side who, const uint8_t *data, size_t len);
/* The flow ends. */
void tap_end(struct flow *flow);

/* Has all flows of a worker look, and its TLS tell keys as long as anybody wants to know them. On
 * the worker's thread. */
void tap_look_all(struct worker *worker);
