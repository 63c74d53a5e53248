/* splice: a flow passed untouched: the kernel moves the bytes through a pipe (splice(2)), we count
 * them and pass on the ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct flow;
struct worker;
enum flow_state;

struct splice_way {
    int pipe[2];
    size_t held; /* bytes in the pipe */
    bool ended;  /* the sender's end was read */
};

struct splice {
    struct splice_way up, down;
    bool counted; /* among the files that connections take */
};

void splice_init(struct splice *splice);
/* Makes the pipes; false when there are no files left for them. */
bool splice_open(struct splice *splice, struct worker *worker);
void splice_fini(struct splice *splice, struct worker *worker);

/* The step of FLOW_SPLICING. */
enum flow_state splice_run(struct flow *flow);
