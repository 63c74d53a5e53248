/* keeper_client: an agent's end of its conversation with the keeper process (keeper_process.h),
 * which it starts where there is none.
 *
 * A question waits for its answer, at most some seconds. Every function returns 0 or a negative
 * errno; -EPIPE and the client closed: the keeper is gone, or as good as that, and somebody has to
 * keeper_client_open() again. One thread at a time.
 * Called by:  keeper.c. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "proxy/keeper/inside.h"
#include "proxy/keeper/listener.h"

struct keeper_client {
    int fd;      /* -1: closed. Readable while nothing was asked: the keeper is gone */
    bool silent; /* closed because it did not answer: the next one is to be another one */
};

/* Finds the keeper of a runtime directory, or starts one, and says hello. hold_until_fd is the map,
 * borrowed: the keeper writes 0 into it when its last agent is gone. */
int keeper_client_open(struct keeper_client *client, const char *runtime_dir, int hold_until_fd,
                       struct err *err);
void keeper_client_close(struct keeper_client *client);
/* From now on connects wait for its answers. */
void keeper_client_make_haste(struct keeper_client *client);

/* As inside_listen(). Where the keeper has it already, its listeners are the same sockets. */
int keeper_client_add(struct keeper_client *client, int netns_fd, uint64_t *cookie,
                      struct listeners *out, struct err *err);
/* Has it keep what another keeper had opened. */
int keeper_client_give(struct keeper_client *client, uint64_t cookie, int netns_fd,
                       const struct listeners *listeners);
int keeper_client_remove(struct keeper_client *client, uint64_t cookie);
/* The namespace with the next higher cookie than *cookie, all of it the caller's; -ENOENT: none. */
int keeper_client_next(struct keeper_client *client, uint64_t *cookie, int *netns_fd,
                       struct listeners *out);
/* As inside_sockets(). */
size_t keeper_client_sockets(struct keeper_client *client, uint64_t cookie, enum inside_kind kind,
                             int *fds, size_t wanted, int *code);
/* Has it close everything and end; it is gone on return. */
int keeper_client_end(struct keeper_client *client);
