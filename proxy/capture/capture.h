/* capture: what one asker is to be given of one pod: packets or key lines that its flows put in, on
 * any thread, and the control thread takes out.
 *
 * Whoever puts in never waits for who reads: what finds no room is counted, and that is all.
 * Called by:  flow/tap.c, on workers' threads.
 * Leads to:   captures.c, which sends it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "policy/facts.h"
#include "proxy/capture/pcapng.h"

enum {
    CAPTURES_MAX = 4,
    CAPTURE_ROOM = 4 << 20, /* bytes that wait to be taken; twice, with those being sent */
    CAPTURE_HEAD = 4,       /* bytes before those of each load, for captures.c */
};

enum capture_kind { CAPTURE_KEYS, CAPTURE_PCAP, CAPTURE_KIND_MAX };

struct capture {
    atomic_uint refs;
    enum capture_kind kind;
    struct pod *pod;   /* a reference */
    uint64_t max;      /* bytes, at most */
    int wake_fd;       /* an eventfd: there is something to be taken; borrowed while not over */
    atomic_bool over;  /* nothing more is put in */
    atomic_bool full;  /* ... as max is reached */
    atomic_bool known; /* to all workers */
    pthread_mutex_t lock;
    struct buffer load; /* under lock, as the rest */
    uint64_t bytes;     /* put in so far, without heads */
    uint64_t came, missed;
};

const char *capture_kind_name(enum capture_kind kind); /* "keys", "pcap" */

/* A reference; NULL: no memory. Takes a reference to pod. */
struct capture *capture_new(enum capture_kind kind, struct pod *pod, uint64_t max, int wake_fd);
struct capture *capture_ref(struct capture *capture);
void capture_unref(struct capture **capture); /* accepts an empty one */

/* Either may be called for a capture that is over, or of the other kind: then nothing happens. */
void capture_packet(struct capture *capture, const struct pcapng_packet *packet);
void capture_line(struct capture *capture, const char *line);

/* Moves out what waits: CAPTURE_HEAD bytes, and then that. false: there is nothing. *load is empty
 * before. */
bool capture_take(struct capture *capture, struct buffer *load);
/* Nothing more is put in, nor woken for, from the return on. */
void capture_end(struct capture *capture);

/* Those under way. */
struct capture_table {
    pthread_mutex_t lock;
    struct capture *slots[CAPTURES_MAX]; /* references, under lock */
    atomic_uint used, keys;              /* how many there are, and how many of them are of keys */
};

void capture_table_init(struct capture_table *table);
void capture_table_fini(struct capture_table *table);
/* False: all places are taken. Takes a reference of its own. */
bool capture_table_add(struct capture_table *table, struct capture *capture);
void capture_table_remove(struct capture_table *table, struct capture *capture);
/* Those of this pod, with references; how many. Costs nothing where there are none at all. */
unsigned capture_table_find(struct capture_table *table, const struct pod *pod,
                            struct capture *out[CAPTURES_MAX]);
