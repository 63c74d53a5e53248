/* notify: what systemd is told of the agent (sd_notify(3)): ready, reloading, stopping, a status.
 *
 * Datagrams to the socket that $NOTIFY_SOCKET names; without one there is nobody to tell. Where
 * systemd's queue is full, and a pod's descriptors alone may fill it, what is said waits for some
 * seconds: without READY=1 the service would be taken for one that does not start. A manager that
 * does not read at all must not stop us. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Sends assignments ("READY=1\nSTATUS=…") and a descriptor (borrowed; -1: none) to a socket: a
 * path, or "@name" for an abstract one. 0, also where socket is NULL or empty; else a negative
 * errno. */
int notify_send(const char *socket, const char *assignments, int fd);

/* The same to $NOTIFY_SOCKET, a failure told in the log. */
void notify_say(const char *format, ...) PRINTF_LIKE(1, 2);

/* Has $NOTIFY_SOCKET's manager keep a descriptor under this name for whoever it starts next in our
 * place; has it close all that it keeps under this name. 0, also without a manager; else a negative
 * errno. */
int notify_store(const char *name, int fd);
int notify_unstore(const char *name);
