/* followers: the control socket's verb "events": who wants to see which events, and how.
 *
 *   {"verb":"events","types":["http"],"namespaces":["shop"],"pods":["^cart"],"processes":["curl"],
 *    "output":"json","color":false,"since":"1795456800000000000"}
 *
 * All but the verb may be missing. The answer's first line is the control socket's usual one, with
 * "begins" where events from "since" on are not kept any more; behind it the connection carries
 * events, a line each, until either end closes it.
 * Called by:  telemetry.c. Leads to: events/feed.c. */
#pragma once

#include "events/feed.h"
#include "proxy/control/control.h"

/* Borrows feed, which must outlive control. */
int followers_serve(struct control *control, struct feed *feed, struct err *err);
