/* programs: which programs let the kernel encrypt, pod by pod, and so take the kernel route by
 * themselves (`route: auto`).
 *
 * A program is the file that a pod's process runs. It is known by its path, to people, and to the
 * kernel by the inodes that were seen there. What follows from what it does is program.h's to say;
 * here it is remembered, bounded, and written into the kernel's map ktls_programs. It is forgotten
 * with its pod, and with the agent.
 * Control thread only.
 * Called by:  identity.c (records of the kernel), sockets.c (what became of connections),
 *             pods/lifecycle.c (a pod goes), telemetry. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/facts.h"

struct abi_ktls;
struct identity;
struct pods;
struct names;
struct policies;
struct programs;
struct sallyport_bpf;

struct programs_parts { /* all borrowed, all outlive it */
    struct sallyport_bpf *bpf;
    struct identity *identity;
    struct pods *pods;
    struct policies *policies;
    struct names *names;
};
int programs_new(struct programs **out, const struct programs_parts *parts, struct err *err);
/* What is in the kernel's map stays for who may go on with it, and begins with forgetting it. */
void programs_free(struct programs **programs);

/* For identity_on_ktls(). */
void programs_on_ktls(void *programs, const struct abi_ktls *record);

/* A connection of it to dst is looked into: the process is alive, and waits. */
void programs_on_flow(struct programs *programs, struct process *process, const struct addr *dst);

struct programs_closed { /* a connection that has ended; all borrowed */
    const struct process *process;
    const struct addr *dst;
    struct {
        const char *const *list;
        size_t len;
    } names; /* that dst was resolved from */
    enum route route;
    enum visibility visibility;
    enum opaque opaque;
    bool undecided;       /* programs_on_undecided() was told of it */
    bool tls;             /* as in struct sockets_flow */
    uint16_t tls_version; /* likewise */
    const char *tls_cipher;
};
void programs_on_close(struct programs *programs, const struct programs_closed *closed);

/* A connection of it speaks HTTP/2, on whichever route. */
void programs_on_http2(struct programs *programs, const struct process *process);
/* Of a connection in the kernel something was refused that policies do not deny, or as it could not
 * be read there. */
void programs_on_undecided(struct programs *programs, const struct process *process);

void programs_forget_pod(struct programs *programs, uint64_t pod);

struct programs_stats {
    size_t ktls;     /* programs that were seen to let the kernel encrypt */
    size_t bypasses; /* ... whose connections take the kernel route by that */
};
void programs_stats(const struct programs *programs, struct programs_stats *stats);
/* For status_on(): which programs there are, what the kernel does for them, which route they take,
 * and why. */
void programs_tell(void *programs, json_t *answer);
