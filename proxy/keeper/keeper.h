/* keeper: what needs root: load and attach bpf/, listeners and sockets inside pods' namespaces.
 *
 * One thread of its own does everything that changes network namespace (setns(2) is per thread),
 * so no other thread ever stands in a pod's namespace. It parses nothing that pods send.
 * Called by:  agent.c (set-up, take-down), flow/ (keeper_socket), the control thread
 * (keeper_net_*). What the kernel programs do with what is told them here: see the heads of
 * bpf/connect.bpf.c and sockops.bpf.c. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/keeper/listener.h"

enum {
    KEEPER_KINDS = 4,  /* of sockets made ahead: two families, streams and datagrams */
    KEEPER_AHEAD = 16, /* made ahead of a namespace and kind, once it was asked for one */
    /* What is open of a namespace at most: listeners, raw sockets, rtnetlink, itself. */
    KEEPER_NET_FILES = 2 + 2 * ABI_PEERS + 4 + 3 + KEEPER_KINDS * KEEPER_AHEAD,
};

struct keeper;
struct keeper_net; /* one network namespace we listen in; owned by the keeper */
struct sallyport_bpf;

/* Loads the programs, attaches the cgroup ones to cgroup_fd (a directory of cgroup v2, borrowed)
 * and pins their links in pin_dir (a directory in a bpffs), so that they outlive a killed agent;
 * attaches the process tracepoints unpinned; starts the thread. Every failure is a sentence that
 * says which program or map the kernel refused and why. */
int keeper_new(struct keeper **out, int cgroup_fd, const char *pin_dir, struct err *err);
/* The same for an agent whose pods outlive it. Links and maps are pinned as hooks_new_kept() does;
 * what must stay open is held by the keeper process (keeper_process.h) at runtime_dir, which is
 * started where there is none, and again when it dies. Namespaces that it holds from an agent
 * before are listened in at once, by the same sockets; what that one had told the kernel programs
 * of others is taken back. */
int keeper_new_kept(struct keeper **out, int cgroup_fd, const char *pin_dir,
                    const char *runtime_dir, struct err *err);
/* From now on nothing is taken away, neither from the kernel programs nor from the keeper process,
 * for another agent goes on with it; keeper_free() and keeper_net_remove() just let go. False, and
 * nothing changes, where it is not kept; with `idle_too` false also where no pod is registered. */
bool keeper_leave(struct keeper *keeper, bool idle_too);
/* Unpins, detaches, closes listeners and sockets, ends the thread and the keeper process. */
void keeper_free(struct keeper **keeper);

/* What another build of us had pinned: see hooks_disarm_older(). */
struct pins_older;
void keeper_disarm_older(struct keeper *keeper);
void keeper_remove_older(struct keeper *keeper);
const struct pins_older *keeper_older(const struct keeper *keeper, size_t i);

/* Where links and maps are pinned that go with the kernel programs; false: they are not kept. */
bool keeper_set_dir(const struct keeper *keeper, char out[PATH_MAX]);

struct sallyport_bpf *keeper_bpf(struct keeper *keeper); /* for the maps; borrowed */
int keeper_options_program(const struct keeper *keeper); /* as hooks_options_program() */

/* Listens in the namespace that netns_fd names (borrowed; /proc/PID/ns/net) and tells the kernel
 * programs. A namespace that is known already is returned again. Where wanted_cookie is not 0 and
 * not the namespace's, nothing is opened there and -ESTALE returned: the pid was another process's.
 * *out, NULL on failure, lives until keeper_net_remove, after which keeper_socket knows the
 * namespace no more. */
int keeper_net_add(struct keeper *keeper, struct keeper_net **out, int netns_fd,
                   uint64_t wanted_cookie, struct err *err);
void keeper_net_remove(struct keeper *keeper, struct keeper_net **net);

/* NULL: nobody listens there (any more). Borrowed; the control thread's. */
struct keeper_net *keeper_net_find(struct keeper *keeper, uint64_t netns_cookie);
/* All of them, in no order: after NULL comes the first, NULL after the last. */
struct keeper_net *keeper_net_next(struct keeper *keeper, const struct keeper_net *after);
uint64_t keeper_net_cookie(const struct keeper_net *net);
int keeper_net_fd(const struct keeper_net *net); /* the namespace itself; borrowed */
/* What we listen to there; borrowed. */
const struct listeners *keeper_net_listeners(const struct keeper_net *net);
/* A netlink socket (non-blocking) that becomes readable when addresses or routes change; borrowed.
 * Then call keeper_net_refresh: it drains the socket, reads both anew and updates the maps. */
int keeper_net_watch(const struct keeper_net *net);
int keeper_net_refresh(struct keeper *keeper, struct keeper_net *net, struct err *err);

/* A socket to ask for its connections by (diag.h); the caller's. Or a negative errno. */
int keeper_net_diag(struct keeper *keeper, struct keeper_net *net);

/* A non-blocking, close-on-exec socket made in the namespace with this cookie; family AF_INET or
 * AF_INET6 (v6 only), type SOCK_STREAM (TCP) or SOCK_DGRAM (UDP). Taken from a few made ahead;
 * waits for the keeper's thread only when there are none. Any thread. Returns the descriptor (the
 * caller's) or a negative errno: -ENONET when the namespace is not known. */
int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err);
