/* origin: an accepted connection -> where the pod meant to go, and who it was. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct sallyport_bpf;

struct origin {
    struct addr src;   /* the program's side, as accept() saw it */
    struct addr dst;   /* where it meant to go */
    struct addr bound; /* the source address the program bound itself (port 0), if has_bound */
    bool has_bound;
    uint64_t cookie, pod, cgroup, netns_cookie, start_ns, time_ns;
    uint32_t pid;
};

/* Takes (and so removes: a record is used once) what sockops filed for this accepted socket.
 * -ENOENT: nothing was filed, a stranger dialled the listener; close the connection. */
int origin_take(struct sallyport_bpf *bpf, int accepted_fd, struct origin *out, struct err *err);
