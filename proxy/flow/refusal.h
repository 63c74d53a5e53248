/* refusal: did a program refuse our certificate, and how did it say so?
 *
 * Its leg never leaves the machine, so what ends it is the program (or what kills it), not the
 * network. Pure, but for refusal_note().
 * Called by:  open.c and relay.c, when the pod's leg fails or ends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct flow;

struct refusal {
    bool shown;        /* it was sent our certificate: not so in a session that goes on */
    bool done;         /* the handshake ended well */
    bool said;         /* and then either side said something */
    int alert;         /* its alert, 0: none */
    uint64_t after_ns; /* how long after our certificate it left */
};

/* In one word, as RFC 8446 section 6.2 spells alerts: "unknown_ca"; "closed": it left instead of
 * ending the handshake; "silent": it ended that, and left without a word: perhaps a refusal. NULL:
 * none. */
const char *refusal_word(const struct refusal *refusal);
/* A text that may be such a word as that word; NULL: it is none. */
const char *refusal_find(const char *text);
/* The same as a sentence. */
void refusal_sentence(const char *word, char *out, unsigned size);

/* The pod's leg has failed or ended: if that is a refusal, flow->refused and flow->why say so. */
bool refusal_note(struct flow *flow);
