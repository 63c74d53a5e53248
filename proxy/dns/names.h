/* names: what each pod resolved: address -> the names it was answered for.
 *
 * Filled by lookups.c before an answer is released to its program, so that a connect which follows
 * finds it; read when a connect is told. Bounded for each pod and address, the oldest goes first.
 *
 * A name whose time is over stays as long as there is room: a connection that was made before goes
 * on with it.
 *
 * A pod can ask whom it likes, and be told what it likes. So a name is trusted, which policies go
 * by, only for as long as a server has said that counts: one of the pod's own, or one that a policy
 * lists; and for ever where the pod's /etc/hosts had it (configured.h).
 * Any thread: small and locked for a look-up only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "policy/decide.h"

enum {
    NAMES_TOLD_MAX = 8,           /* names told with one connect, the newest first */
    NAMES_TOLD_BYTES = 1024,      /* of these, but for the first: every open socket keeps a copy */
    NAMES_OF_POD_MAX = 8192,      /* (name, address) pairs a pod may have */
    NAMES_BYTES_OF_POD = 1 << 20, /* and all their names together */
    NAMES_OF_ADDRESS_MAX = 256,   /* names that lead to the same address */
    NAMES_KEPT_SECONDS =
        60, /* at least, however short the TTL: programs connect when it is over, too */
};

struct configured;
struct names;

struct names_found {
    char *text[NAMES_TOLD_MAX]; /* owned */
    size_t len;
    bool incomplete; /* out of memory */
};

struct names_trusted {
    struct policy_names names; /* as policies want them: without the closing dot */
    void *memory;              /* of all of it */
};

int names_new(struct names **out, struct err *err);
void names_free(struct names **names);
/* on_trusted(arg, pod, name, address, until_ns) shall be told of each name that is trusted from now
 * on, or for longer, before what answered it is released; until_ns UINT64_MAX: for ever. Any
 * thread. Before names are added. */
void names_on_trusted(struct names *names,
                      void (*on_trusted)(void *arg, uint64_t pod, const char *name,
                                         const struct addr *address, uint64_t until_ns),
                      void *arg);

/* What the pod is set up with; takes it. Once for each pod. */
void names_configure(struct names *names, uint64_t pod, struct configured **configured);
bool names_is_configured(struct names *names, uint64_t pod);
/* Whether this is one of the pod's own name servers. */
bool names_serves(struct names *names, uint64_t pod, const struct addr *server);

/* The pod (cgroup id) was answered `address` for `name` ("ebpf.io."), for ttl seconds, by a server
 * that is trusted or not; its port does not matter. now_ns: monotonic clock. Out of memory: not
 * kept. */
void names_add(struct names *names, uint64_t pod, const char *name, const struct addr *address,
               uint32_t ttl, bool trusted, uint64_t now_ns);
/* Likewise, as another agent knew it: until when, and until when it is trusted (0: it is not). */
void names_keep(struct names *names, uint64_t pod, const char *name, const struct addr *address,
                uint64_t until_ns, uint64_t trusted_until_ns);
void names_find(struct names *names, uint64_t pod, const struct addr *address, uint64_t now_ns,
                struct names_found *out);
/* The names of this address that are trusted at that time, or came since. Out of memory: none. */
void names_find_trusted(struct names *names, uint64_t pod, const struct addr *address,
                        uint64_t at_ns, struct names_trusted *out);
/* Calls visit() for each that holds, a pod's in the order in which they were answered last, with
 * what names_keep() takes. Not those of /etc/hosts. The lock is held meanwhile. */
void names_each(struct names *names, uint64_t now_ns,
                void (*visit)(void *arg, uint64_t pod, const char *name, const struct addr *address,
                              uint64_t until_ns, uint64_t trusted_until_ns),
                void *arg);
/* Tells on_trusted() of all that are, or were, trusted for this pod. */
void names_tell_trusted(struct names *names, uint64_t pod);
/* The pod is no more. */
void names_forget(struct names *names, uint64_t pod);
void names_found_fini(struct names_found *found);
void names_trusted_fini(struct names_trusted *trusted);
