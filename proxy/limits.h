/* limits: how much of the machine connections may take: open files and memory. Who comes when it is
 * used up is refused, as by an overloaded host, and what is open goes on; there is room again as
 * soon as something ends.
 *
 * Where there are several pods, each may hold at most LIMITS_FAIR times what is still free: so one
 * alone gets most of it, never all; who comes later finds some, and the more pods want, the more
 * equal are their shares. What is taken on top leaves LIMITS_ASIDE of it all to new connections.
 *
 * Fixed at start by what the machine gives. Counts and decides, touches nothing; any thread.
 * Called by:  attempts.c, acceptor.c, kernel/ (a connection), doors.c (a namespace), worker.c (its
 * buffers), flow/splice.c (its pipes), flow/streams.c (what HTTP/2 keeps). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/facts.h"

enum limit {
    LIMIT_NONE,
    LIMIT_FILES,
    LIMIT_MEMORY,
    LIMIT_SHARE, /* there is some, but for other pods */
    LIMIT_MAX
};

enum {
    LIMITS_FLOW_FILES = 2,   /* a connection's two sockets */
    LIMITS_SPLICE_FILES = 4, /* ... and the pipes of one that passes unread */
    /* What a connection may take that is promised to each: two TLS states with half a record in
     * each, and windows of WORKER_SMALL bytes. Larger windows, and heads, are taken on top. */
    LIMITS_FLOW_BYTES = 80 << 10,
    /* ... and one that the kernel route only listens to: windows, and no file. */
    LIMITS_STREAM_BYTES = 48 << 10,
    LIMITS_FAIR = 4,
    LIMITS_ASIDE = 8, /* an eighth */
};

/* What the machine gives. */
struct limits_machine {
    uint64_t files;      /* RLIMIT_NOFILE */
    uint64_t files_open; /* used before there was any connection */
    uint64_t memory;     /* bytes that are available */
};

struct limits {
    uint64_t most[LIMIT_MAX]; /* for connections */
    atomic_uint_fast64_t used[LIMIT_MAX];
    atomic_uint_fast64_t connections, peak; /* now; at most since limits_ebbed() */
    atomic_uint_fast64_t admitted;          /* connections so far */
    atomic_uint_fast64_t refused[LIMIT_MAX], told[LIMIT_MAX]; /* how often so far */
    atomic_uint_fast64_t told_ns;
    atomic_bool shared; /* among several pods */
};

/* Of the machine we are on, as it is now; what cannot be read counts as without limit. */
void limits_read_machine(struct limits_machine *machine);
void limits_init(struct limits *limits, const struct limits_machine *machine);

/* Pure: the bytes that a line of /proc/meminfo says are available, 0 when it is another line. */
uint64_t limits_available(const char *line);

/* So many pods share it from now on. */
void limits_share(struct limits *limits, size_t pods);
/* Pure: one more for a pod that holds so much, of what there is so much left. */
bool limits_fair(uint64_t held, uint64_t left);

/* One more connection of this pod (NULL: nobody's): LIMIT_NONE, and what each has is taken until
 * limits_leave(); or what it lacks. */
enum limit limits_admit(struct limits *limits, struct pod *pod);
void limits_leave(struct limits *limits, struct pod *pod);
/* The same of a connection of the kernel route. */
enum limit limits_admit_stream(struct limits *limits, struct pod *pod);
void limits_leave_stream(struct limits *limits, struct pod *pod);
/* An admitted one is another pod's. Either may be NULL. */
void limits_move(struct pod *from, struct pod *to);

/* Far fewer connections than there were: time to give back to the system what they had. Says so
 * once for each flood. */
bool limits_ebbed(struct limits *limits);

/* Further files or bytes of an admitted one, until given back. */
bool limits_take(struct limits *limits, enum limit what, uint64_t amount);
/* The same for what is of use and not needed: only of the half that others do not want yet. */
bool limits_take_spare(struct limits *limits, enum limit what, uint64_t amount);
void limits_give(struct limits *limits, enum limit what, uint64_t amount);

/* Something was refused: counts it, and once a second says how much was since the last time, and
 * why, as a line for the log. 0: nothing to say now. */
size_t limits_refuse(struct limits *limits, enum limit what, uint64_t now_ns, char *line,
                     size_t size);
/* Why, for the event of one that was refused. */
const char *limits_reason(enum limit what);
