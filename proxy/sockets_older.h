/* sockets_older: connections that nobody told the agent of, among the sockets that are followed:
 * they are older than their pod's registration, or than the agent; and all that no flow tells of,
 * for `sessions`.
 *
 * Control thread only.
 * Called by:  pods/existing.c, telemetry/sessions.c. */
#pragma once

#include "policy/decide.h"
#include "proxy/sockets.h"

struct flow_row;

struct sockets_older {
    struct addr src, dst;
    uint64_t cookie, tx, rx;
    uint64_t began_ns; /* boot clock; 0: nobody knows */
    uint16_t tls;      /* the version, where the kernel encrypts; else 0 */
    enum route route;
    enum visibility visibility;
    struct process *process; /* with its flow count raised (identity.h), taken; or NULL */
    struct pod *pod;         /* borrowed */
    bool untold;             /* an agent before us has told of it */
    bool unheard;            /* the kernel will not say when it ends */
    const struct policy_verdict *verdict; /* NULL: no policy has a say */
    bool reset;                           /* ... by which it is ended */
};

enum sockets_known {
    SOCKETS_NEW,
    SOCKETS_MET,   /* as an older one, which nobody has reset */
    SOCKETS_KNOWN, /* else, by whatever destination */
};
enum sockets_known sockets_know(const struct sockets *sockets, uint64_t cookie);
/* Follows it from now on, and tells of it: as a connect (unless it was met before, for a pod that
 * was registered then), and what a policy says. Its close is told when the
 * kernel's record of that comes. */
void sockets_meet(struct sockets *sockets, const struct sockets_older *older);

#define SOCKETS_RESET "reset"
/* As an older one, by a policy: its state is SOCKETS_RESET until its program closes it. */
bool sockets_was_reset(const struct sockets *sockets, uint64_t cookie);
/* Calls visit(arg, row) for each connection that is open and no flow; row is borrowed. */
void sockets_each_row(const struct sockets *sockets,
                      void (*visit)(void *arg, const struct flow_row *row), void *arg);
