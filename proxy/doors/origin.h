/* origin: an accepted connection, or a datagram that came to us -> where the pod meant to go, and
 * who it was. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct keeper;
struct sallyport_bpf;
struct abi_origin;
struct abi_tuple;

struct origin {
    struct addr src;   /* the program's side, as we see it */
    struct addr dst;   /* where it meant to go */
    struct addr bound; /* the source address the program bound itself (port 0), if has_bound */
    bool has_bound;
    uint64_t cookie, pod, cgroup, netns_cookie, start_ns, time_ns;
    uint32_t pid;
};

/* As the kernel tells of it. */
void origin_from(const struct abi_origin *filed, const struct addr *src, struct origin *out);

/* The addresses at both ends of an accepted socket: 0 or a negative errno. */
int origin_peer(int accepted_fd, struct addr *peer);
int origin_local(int accepted_fd, struct addr *local);

/* Takes (and so removes: a record is used once) what sockops filed for this accepted socket.
 * -ENOENT: nothing was filed, a stranger dialled the listener; close the connection. */
int origin_take(struct sallyport_bpf *bpf, int accepted_fd, struct origin *out, struct err *err);
/* The same out of another such map (-1: there is none). */
int origin_take_from(int origins_fd, int accepted_fd, struct origin *out, struct err *err);

/* The same, also where the programs of a build before us filed it (hooks_older()). */
int origin_take_kept(struct keeper *keeper, int accepted_fd, struct origin *out);

/* What was filed for the socket that sends such datagrams, likewise; it stays until it is
 * forgotten. -ENOENT: a stranger's. */
int origin_of_asker(struct keeper *keeper, const struct abi_tuple *key, struct origin *out,
                    struct err *err);
void origin_forget_asker(struct sallyport_bpf *bpf, const struct abi_tuple *key);
