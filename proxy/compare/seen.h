/* seen: what the events of a run say was seen of the command. Pure: lines in, counts out.
 *
 * Called by:  command/compare_round.c, line by line.
 * Leads to:   rows.h. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEEN_TEXTS_MAX = 8, SEEN_TEXT_MAX = 128 };

/* How often each of some texts was there; of others only how many. */
struct seen_texts {
    struct {
        char text[SEEN_TEXT_MAX];
        uint64_t count;
    } list[SEEN_TEXTS_MAX];
    size_t len;
    uint64_t more;
};

struct seen { /* zeroed: nothing yet */
    uint64_t requests;
    double *latencies_us; /* of those that were answered */
    size_t latencies_len, latencies_size;
    struct seen_texts hosts;      /* of requests */
    struct seen_texts names;      /* of TLS connections: what was asked for by SNI */
    struct seen_texts tls;        /* ... "TLS1.3 TLS_AES_128_GCM_SHA256" */
    struct seen_texts visibility; /* of TCP connections */
    struct seen_texts routes;     /* ... which they took indeed */
    uint64_t bytes;               /* written and read by TCP connections that have ended */
    uint64_t tls_bytes;           /* ... of those that spoke TLS */
    uint64_t crypted;             /* how often one of these was encrypted or decrypted here: by the
                                     command (or the kernel for it), and twice by us where we end TLS */
    uint64_t lost;                /* events that there was no room for */
    uint64_t *tls_sockets;        /* cookies of those that speak TLS, until they end */
    size_t tls_sockets_len, tls_sockets_size;
    bool failed; /* no memory for all of it */
};

void seen_fini(struct seen *seen);
/* One event; whatever it is. */
void seen_add(struct seen *seen, const json_t *line);
