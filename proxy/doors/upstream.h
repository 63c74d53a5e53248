/* upstream: the TCP connection to where a pod's program meant to go, as the program would have made
 * it.
 *
 * Called by:  attempts.c, before the program's own connect() succeeds; flow/dial.c, where that did
 * not happen. */
#pragma once

#include "base/err.h"
#include "proxy/doors/origin.h"

struct keeper;

/* A socket for it in the program's namespace, or a negative errno. Any thread. Without a keeper: in
 * our own namespace, with our mark (returned.h) if we may set it. */
int upstream_socket(struct keeper *keeper, const struct origin *origin, struct err *err);
/* Begins to connect it. 0 or a negative errno: the failure was known at once. */
int upstream_begin(int fd, const struct origin *origin, struct err *err);
