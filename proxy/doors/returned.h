/* returned: is an accepted connection our own, to a server, that a rule has sent back to us? Left
 * alone, each would make the next.
 *
 * Called by:  gate.c. */
#pragma once

#include <stdbool.h>

#include "base/addr.h"

/* The mark (SO_MARK) of our connections to servers, by which rules leave them alone. In the low
 * byte, where neither Kubernetes nor the common network plugins keep theirs. */
enum { RETURNED_MARK = 0x53 };

/* A socket to ask the kernel by (sock_diag), or a negative errno. */
int returned_open(void);
/* Whether the socket of this host that is connected from src to dst bears our mark. Only with
 * CAP_NET_ADMIN, without which there are no marks. */
bool returned_is_ours(int fd, const struct addr *src, const struct addr *dst);
