/* splice: a flow passed untouched: the kernel moves the bytes through a pipe (splice(2)), we count
 * them and pass on the ends. What it begins with is looked at where it lies, so that a turn to TLS
 * is told. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proxy/wire/starttls.h"

struct flow;
struct worker;
enum flow_state;

struct splice_way {
    int pipe[2];
    size_t held; /* bytes in the pipe */
    bool ended;  /* nothing more comes: the sender's end was read, or it broke */
    bool dead;   /* nothing more goes: the receiver broke */
};

struct splice {
    struct splice_way up, down;
    bool counted; /* among the files that connections take */
    bool wide;    /* its pipes are large, and counted among their memory */
    struct starttls starttls;
    bool broken; /* a leg was lost: reset both when what it sent before has been passed on */
};

void splice_init(struct splice *splice);
/* Makes the pipes; false when there are no files left for them. */
bool splice_open(struct splice *splice, struct worker *worker);
void splice_fini(struct splice *splice, struct worker *worker);

/* The step of FLOW_SPLICING. */
enum flow_state splice_run(struct flow *flow);
