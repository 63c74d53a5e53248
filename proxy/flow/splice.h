/* splice: a flow passed untouched: the kernel moves the bytes through a pipe (splice(2)), we count
 * them and pass on the ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct flow;
enum flow_state;

struct splice_way {
    int pipe[2];
    size_t held; /* bytes in the pipe */
    bool ended;  /* the sender's end was read */
};

struct splice {
    struct splice_way up, down;
};

void splice_init(struct splice *splice);
void splice_fini(struct splice *splice);

/* The step of FLOW_SPLICING. */
enum flow_state splice_run(struct flow *flow);
