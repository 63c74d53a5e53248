/* fd_store: what the keeper process holds is kept by systemd, too (FDSTORE= of sd_notify(3)), so
 * that connects wait even when agent and keeper are killed together.
 *
 * Each descriptor has a name that says whose it is and what. The namespace itself is put in last
 * and taken out first: where it is there, nothing else of it is missing.
 * Called by:  keeper.c and its thread, for `run` alone. */
#pragma once

#include "base/err.h"
#include "proxy/keeper/keeper_wire.h"

enum {
    /* What a descriptor is: a listener's number in the order of keeper_wire_listeners(), or: */
    FD_STORE_NETNS = KEEPER_WIRE_LISTENERS,
    FD_STORE_PARTS,
    FD_STORE_NAME_MAX = 18, /* see FileDescriptorStoreMax= in sallyport.service */
};

/* The name: the cookie as lower-case hexadecimal number, a capital for the part: "1f0A". */
void fd_store_name(char out[FD_STORE_NAME_MAX], uint64_t cookie, unsigned int part);
/* False: it is none of ours. */
bool fd_store_parse(struct span name, uint64_t *cookie, unsigned int *part);

/* That these descriptors (-1: none) are a whole namespace: itself, and in it the sockets that we
 * would have opened there. *out borrows them. */
bool fd_store_is_whole(uint64_t cookie, const int fds[FD_STORE_PARTS], struct listeners *out);

/* Systemd drops what it has already. Whatever fails is told. */
void fd_store_add(uint64_t cookie, int netns_fd, const struct listeners *listeners);
void fd_store_remove(uint64_t cookie);

/* What systemd kept and passed to this process: to be taken before another process is started,
 * which shall inherit none of it. The caller's to free; NULL: nothing. */
struct fd_store_kept *fd_store_take(void);
void fd_store_free(struct fd_store_kept **kept);
/* Has give() take each whole namespace of these, all descriptors borrowed. Systemd closes the rest.
 */
void fd_store_give(struct fd_store_kept *kept,
                   int (*give)(void *arg, uint64_t cookie, int netns_fd,
                               const struct listeners *listeners),
                   void *arg);
/* This namespace is to be added: this process is systemd's own start of the service, no successor,
 * and what systemd passed to it, once that was given, was not all of it. */
bool fd_store_lacks(const struct fd_store_kept *kept, uint64_t cookie);
