/* passthrough: servers whose TLS is never ended, only passed on, by setting; and those of which a
 * program was seen to refuse our certificate, where a policy says so.
 *
 * By name: the one that the program asks for by SNI, which it could choose, or, if it tells none,
 * those that it has resolved to the address; or by address. Any thread; it may be set anew at any
 * time, and flows under way stay as they are.
 * Called by:  flow/judge.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct passthrough;

int passthrough_new(struct passthrough **out, struct err *err); /* of nothing */
void passthrough_free(struct passthrough **passthrough);

/* Whether an item can be understood: a name or pattern as policy/match.h has them, an address or
 * its network. err says what to write instead. */
int passthrough_check(const char *item, struct err *err);
/* These from now on; on failure those before stay. */
int passthrough_set(struct passthrough *passthrough, char *const *items, size_t len,
                    struct err *err);

bool passthrough_name(struct passthrough *passthrough, const char *name);
bool passthrough_address(struct passthrough *passthrough, const struct addr *address);

enum { PASSTHROUGH_LEARNT_MAX = 4096 };

/* A program of a pod (cgroup id) refused our certificate for this server. Bounded: who was learnt
 * first is forgotten first. */
void passthrough_learn(struct passthrough *passthrough, uint64_t pod, const char *program,
                       const char *name);
bool passthrough_learnt(struct passthrough *passthrough, uint64_t pod, const char *program,
                        const char *name);
