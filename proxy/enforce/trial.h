/* trial: what policies say of a request that nobody sends: by the same decisions, in the order in
 * which a real one would come to them.
 *
 * Question and answer are JSON, since they go to the agent and back, too. A question has "binary",
 * "address" (the destination's; else any), "resolved" (the names it was answered for; else the
 * host's own), and one of
 *   "method", "url", "headers" ("name: value" each), "server_name" (by SNI; else the URL's host)
 *   "question", "type", and "name_server" (that it is sent to; else one of the pod's own)
 *   "connect": "ADDRESS:PORT/PROTOCOL"
 * An answer has "verdict" and what decided it, and "steps", a point each. Strangers may ask.
 * Pure. Called by:  command/policy_explain.c, sources_verbs.c.
 * Leads to:   ../../policy/decide.h, explain.h. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "policy/view.h"

/* The pod that is asked for: "pod", "namespace", "labels" (an object of texts); a reference. */
int trial_pod(struct pod **out, const json_t *question, struct err *err);
/* *answer is the caller's. -EINVAL: that is no question; -ENOMEM. */
int trial_run(json_t **answer, struct policy_view *view, const json_t *question, struct err *err);
