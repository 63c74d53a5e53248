/* notify: what systemd is told of the agent (sd_notify(3)): ready, reloading, stopping, a status.
 *
 * Datagrams to the socket that $NOTIFY_SOCKET names; without one there is nobody to tell. Nothing
 * here waits: a manager that does not read must not stop us. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Sends assignments ("READY=1\nSTATUS=…") to a socket: a path, or "@name" for an abstract one.
 * 0, also where socket is NULL or empty; else a negative errno. */
int notify_send(const char *socket, const char *assignments);

/* The same to $NOTIFY_SOCKET, a failure told in the log. */
void notify_say(const char *format, ...) PRINTF_LIKE(1, 2);
