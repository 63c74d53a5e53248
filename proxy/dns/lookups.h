/* lookups: questions to a name server and what their answers mean, for datagrams and connections
 * alike: who asked what is told, and what was answered is bound to the pod before it is released.
 *
 * Touches no socket: bytes in, and what to send on out. An answer that nobody asked for is not
 * released; one that two readers could understand differently becomes a SERVFAIL, after which
 * resolvers turn to their next server. What a program sends is passed on whatever it is, unless a
 * policy denies it.
 * Called by:  resolver.c, flow/query.c.
 * Leads to:   consent.c, names.c, and events. */
#pragma once

#include "base/span.h"
#include "events/bus.h"
#include "proxy/dns/consent.h"

struct act;
struct names;
struct policies;

enum {
    /* questions that wait for an answer; further ones push out the oldest */
    LOOKUPS_OPEN_MAX = 1024,
    LOOKUPS_FAULTS_MAX = 8,    /* messages that make no sense are told so often, of one exchange */
    LOOKUPS_REFUSAL_MAX = 512, /* bytes of an answer of our own */
};

/* One exchange with one name server. Whoever embeds it fills in the upper part, all borrowed, and
 * zeroes the rest. */
struct lookups {
    struct names *names;
    struct policies *policies;     /* may be NULL */
    struct act *act;               /* likewise: there are no pods to act on */
    struct bus_producer *producer; /* the calling thread's */
    struct process *process;       /* may be NULL */
    struct pod *pod;               /* likewise: then nothing is bound */
    struct addr src, dst;          /* as the program sees them */
    uint64_t cookie;
    enum protocol protocol;
    bool tls;                /* DNS over TLS */
    const char *server_name; /* ... with whom; NULL: no name was said */

    struct consent consent;
    struct lookups_question **open; /* the oldest first */
    size_t open_len, open_room;
    bool asked;      /* at least once */
    bool foreign;    /* the program sent what is no question: what comes back is passed on, too */
    unsigned faults; /* told so far */
};
void lookups_fini(struct lookups *lookups); /* at ease with a zeroed one */

/* Why a question must not go on. */
struct lookups_denial {
    uint8_t answer[LOOKUPS_REFUSAL_MAX]; /* what to release instead */
    size_t answer_len;                   /* 0: nothing */
    char reason[320];                    /* a sentence */
};
/* The program sends this to the server. 0; -EBADMSG when it is not a question of the DNS; -ENOMEM
 * when it must not go on, because its answer could not be told from a stranger's; -EACCES when a
 * policy denies it: *denial is filled. */
int lookups_ask(struct lookups *lookups, struct span message, struct lookups_denial *denial);

enum lookups_result {
    LOOKUPS_RELAY,   /* release it as it came */
    LOOKUPS_CHANGED, /* release what is in out instead */
    LOOKUPS_DROP,
};
/* The server sends this to the program. out has room for as much as message, and for
 * LOOKUPS_REFUSAL_MAX bytes at least. */
enum lookups_result lookups_answer(struct lookups *lookups, struct span message, uint8_t *out,
                                   size_t *out_len);

/* This question did not reach the server (a negative errno); of may be its beginning only, and
 * without an id it is the oldest one open. out: room for LOOKUPS_REFUSAL_MAX bytes of a SERVFAIL,
 * whose length is returned, 0 when the question is not open; NULL: the program learns it by other
 * means. */
size_t lookups_refuse(struct lookups *lookups, int code, struct span of, uint8_t *out);
