/* follow: the events of a running agent, a line each, from its connection to a file, by a thread of
 * its own: who reads the file slowly holds up nobody else.
 *
 * Called by:  exec_join.c. The other end: events/feed.c. */
#pragma once

#include "base/err.h"
#include "proxy/control/client.h"

struct follow;

/* Takes the connection, behind the answer to "events". to is borrowed. */
int follow_new(struct follow **out, struct client *events, int to, struct err *err);
/* Until all that has happened so far is written. Gives up where no byte was taken for 30 s, or when
 * a signal is to be read that would end us. */
void follow_finish(struct follow *follow, int signal_fd);
/* Why not all was written; 0: it was. */
int follow_error(const struct follow *follow);
void follow_free(struct follow **follow);
