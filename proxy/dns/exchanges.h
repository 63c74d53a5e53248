/* exchanges: the resolver's books: who says what to whom, in the order of last use, and which of
 * them makes way when there are many.
 *
 * Touches no socket and ends nothing: what makes way is the caller's to end.
 * Called by:  resolver.c. */
#pragma once

#include <event2/event_struct.h>

#include "bpf/abi.h"
#include "proxy/dns/lookups.h"
#include "proxy/doors/origin.h"

enum {
    EXCHANGES_OF_POD = 1024,   /* with those that have no upstream socket now */
    EXCHANGES_OPEN_MAX = 4096, /* with an upstream socket, in all */
    EXCHANGES_OPEN_OF_POD = 256,
};

/* What one socket of a program says to one server. */
struct exchange {
    struct abi_tuple key; /* first: what they are found by */
    struct resolver *resolver;
    struct ear *ear;
    struct origin origin;
    struct process *process; /* its flow count is raised; or NULL */
    struct pod *pod;         /* a reference, or NULL */
    struct lookups lookups;
    int fd; /* upstream; -1 while it has none */
    struct event event;
    struct exchange *newer, *older; /* by when they were used last */
};

struct exchanges { /* zeroed at first; holds nothing once all were removed */
    void *tree;    /* tsearch(3) */
    struct exchange *newest, *oldest;
};

/* A zeroed one without an upstream socket, used just now. NULL when out of memory. */
struct exchange *exchanges_add(struct exchanges *exchanges, const struct abi_tuple *key);
void exchanges_remove(struct exchanges *exchanges, struct exchange **exchange); /* and frees it */
struct exchange *exchanges_find(const struct exchanges *exchanges, const struct abi_tuple *key);
void exchanges_used(struct exchanges *exchanges, struct exchange *exchange);

/* A socket may write to one server after another, and a port may be another socket's by now. */
bool exchange_is_of(const struct exchange *exchange, uint64_t cookie, const struct addr *server);
/* The next from `at` on that is this socket's with this server; at may be NULL. */
struct exchange *exchanges_next_of(struct exchange *at, uint64_t cookie, const struct addr *server);

/* One more of this pod is about to be: which has to end first? Likewise of those with an upstream
 * socket: which has to lose it? NULL: none. */
struct exchange *exchanges_to_end(const struct exchanges *exchanges, uint64_t pod);
struct exchange *exchanges_to_quiet(const struct exchanges *exchanges, uint64_t pod);
