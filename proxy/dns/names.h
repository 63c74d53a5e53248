/* names: what each pod resolved: address -> the names it was answered for.
 *
 * Filled by lookups.c before an answer is released to its program, so that a connect which follows
 * finds it; read when a connect is told. Bounded for each pod and address, the oldest goes first.
 * Any thread: small and locked for a look-up only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

enum {
    NAMES_TOLD_MAX = 8,           /* names told with one connect, the newest first */
    NAMES_TOLD_BYTES = 1024,      /* of these, but for the first: every open socket keeps a copy */
    NAMES_OF_POD_MAX = 8192,      /* (name, address) pairs a pod may have */
    NAMES_BYTES_OF_POD = 1 << 20, /* and all their names together */
    NAMES_OF_ADDRESS_MAX = 256,   /* names that lead to the same address */
    NAMES_KEPT_SECONDS =
        60, /* at least, however short the TTL: programs connect when it is over, too */
};

struct names;

struct names_found {
    char *text[NAMES_TOLD_MAX]; /* owned */
    size_t len;
    bool incomplete; /* out of memory */
};

int names_new(struct names **out, struct err *err);
void names_free(struct names **names);
/* The pod (cgroup id) was answered `address` for `name` ("ebpf.io."), for ttl seconds; its port
 * does not matter. now_ns: monotonic clock. Out of memory: not kept. */
void names_add(struct names *names, uint64_t pod, const char *name, const struct addr *address,
               uint32_t ttl, uint64_t now_ns);
void names_find(struct names *names, uint64_t pod, const struct addr *address, uint64_t now_ns,
                struct names_found *out);
/* Calls visit(arg, pod, name, address, seconds) for each that holds for `seconds` more, a pod's in
 * the order in which they were answered last. The lock is held meanwhile. */
void names_each(struct names *names, uint64_t now_ns,
                void (*visit)(void *arg, uint64_t pod, const char *name, const struct addr *address,
                              uint32_t seconds),
                void *arg);
/* The pod is no more. */
void names_forget(struct names *names, uint64_t pod);
void names_found_fini(struct names_found *found);
