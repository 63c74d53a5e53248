/* verdict_own: what the files of verdict.h share; private to them. */
#pragma once

#include "proxy/flow/steps.h"

/* The facts of a flow, and what they point to. */
struct known {
    struct policy_facts facts;
    struct addr dst;
    const char *led_to;
};

/* ---- verdict_facts.c ---- */

/* Where the flow leads to, through a tunnel if it is one. */
void known_place(struct flow *flow, struct known *out);
/* The same, and whom TLS is with. */
void known_flow(struct flow *flow, struct known *out);
/* Where a proxy is asked to lead to: an address; or a name that the proxy looks up, so that all to
 * be known of the place is that it is called so. */
void known_led(struct flow *flow, const char *host, uint16_t port, struct known *out);
/* The names of its address, as they are now. */
void known_names(struct flow *flow);
/* A proxy of which nothing need be read may lead anywhere: whoever allows it without conditions
 * allows what goes through it, but for what is denied expressly. */
void known_proxy(struct flow *flow, struct policy_verdict *verdict);

/* ---- verdict.c ---- */

/* The newest policies, for what comes from here on. */
void verdict_renew(struct flow *flow);
/* Tells of a verdict and does what it says. Whether it goes on; request: which one it is about, or
 * NULL: the flow. */
bool verdict_settle(struct flow *flow, enum policy_point point,
                    const struct policy_verdict *verdict, const struct facts_request *request);
/* All is denied, as there was no memory to look policies up. */
bool verdict_settle_unknown(struct flow *flow, enum policy_point point,
                            const struct facts_request *request);
