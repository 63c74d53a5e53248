/* keeper_io: messages of keeper_wire.h with their descriptors, over a SOCK_SEQPACKET socket.
 *
 * Called by:  keeper_client.c, keeper_process.c. */
#pragma once

#include "proxy/keeper/keeper_wire.h"

struct keeper_parcel {
    struct keeper_message message;
    int fds[KEEPER_WIRE_FDS_MAX]; /* keeper_wire_fds() of them: the receiver's to close or take */
};

/* fds are borrowed. 0 or a negative errno; never waits, never raises SIGPIPE. */
int keeper_send(int socket, const struct keeper_message *message, const int *fds);
/* Waits as the socket does. -EPIPE: the other side is gone; -EPROTO: it speaks nonsense. *out has
 * nothing to close unless 0 is returned. */
int keeper_receive(int socket, struct keeper_parcel *out);
void keeper_parcel_fini(struct keeper_parcel *parcel); /* closes what nobody took */
