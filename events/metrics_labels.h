/* metrics_labels: sentences and words of events -> the few words that metrics have for them. Pure;
 * private to metrics.c and its test.
 *
 * The sentences are our own (flow/, bus.c, resolver.c, identity.c); a new one is "other" until it
 * has a line here. */
#pragma once

#include <stdbool.h>

enum metrics_lost {
    METRICS_LOST_RING,   /* the ring of one of our threads was full */
    METRICS_LOST_KERNEL, /* the kernel's */
    METRICS_LOST_MEMORY, /* out of memory */
    METRICS_LOST_QUESTIONS,
    METRICS_LOST_OTHER,
    METRICS_LOST_MAX
};
enum metrics_lost metrics_lost(const char *reason);
const char *metrics_lost_word(unsigned lost);

enum metrics_version { METRICS_TLS12, METRICS_TLS13, METRICS_VERSION_OTHER, METRICS_VERSION_MAX };
enum metrics_version metrics_version(const char *version);
const char *metrics_version_word(unsigned version);

enum metrics_leg { METRICS_POD, METRICS_UPSTREAM, METRICS_LEG_MAX };
enum metrics_failure {
    METRICS_FAILURE_CERTIFICATE, /* the server's was refused, by us; ours, by the program */
    METRICS_FAILURE_ALERT,       /* the other side ended it with an alert */
    METRICS_FAILURE_TIMEOUT,
    METRICS_FAILURE_CONNECT, /* no connection */
    METRICS_FAILURE_OTHER,
    METRICS_FAILURE_MAX
};
void metrics_failure(const char *error, enum metrics_leg *leg, enum metrics_failure *failure);
const char *metrics_leg_word(unsigned leg);
const char *metrics_failure_word(unsigned failure);
/* Whether this can happen on that side. */
bool metrics_failure_exists(unsigned leg, unsigned failure);

/* What was wrong with HTTP that was refused. */
enum metrics_fault {
    METRICS_FAULT_RESETS, /* too many of them */
    METRICS_FAULT_FLOOD,  /* too many frames of another kind that cost their sender nothing */
    METRICS_FAULT_STREAMS,
    METRICS_FAULT_HEADER_LIST, /* too long */
    METRICS_FAULT_COMPRESSION, /* of headers */
    METRICS_FAULT_WINDOW,      /* more bytes than flow control allows */
    METRICS_FAULT_AUTHORITY,   /* none, not one, or one that is not for this connection */
    METRICS_FAULT_LENGTH,      /* what says where a body ends */
    METRICS_FAULT_FIELD,
    METRICS_FAULT_FRAME,
    METRICS_FAULT_MESSAGE,
    METRICS_FAULT_MEMORY, /* ours is short */
    METRICS_FAULT_OTHER,
    METRICS_FAULT_MAX
};
/* error: of a request that was denied; NULL: there was no memory for it. */
void metrics_fault(const char *error, enum metrics_leg *leg, enum metrics_fault *fault);
const char *metrics_fault_word(unsigned fault);
/* Whether a connection ended for such a fault, and no request's event says so. */
bool metrics_is_fault(const char *error);

enum { METRICS_GRPC_MAX = 18 }; /* gRPC's statuses, and "none" */
unsigned metrics_grpc(const char *status_name);
const char *metrics_grpc_word(unsigned status);

enum { METRICS_REFUSAL_MAX = 12 }; /* the words of flow/refusal.c, and "other" */
unsigned metrics_refusal(const char *word);
const char *metrics_refusal_word(unsigned refusal);

/* Of policies' decisions: the points of policy/decide.h, and "other"; what was done, and "none";
 * how the policy is meant. word: NULL: there is none. */
enum { METRICS_POINT_MAX = 9, METRICS_ACTION_MAX = 5, METRICS_MODE_MAX = 2 };
unsigned metrics_point(const char *word);
unsigned metrics_action(const char *word);
unsigned metrics_mode(const char *word);
const char *metrics_point_word(unsigned point);
const char *metrics_action_word(unsigned action);
const char *metrics_mode_word(unsigned mode);

enum { METRICS_RCODE_MAX = 12 }; /* those with names, and "other" */
unsigned metrics_rcode(const char *rcode);
const char *metrics_rcode_word(unsigned rcode);
