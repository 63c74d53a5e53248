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

enum { METRICS_REFUSAL_MAX = 12 }; /* the words of flow/refusal.c, and "other" */
unsigned metrics_refusal(const char *word);
const char *metrics_refusal_word(unsigned refusal);

enum { METRICS_RCODE_MAX = 12 }; /* those with names, and "other" */
unsigned metrics_rcode(const char *rcode);
const char *metrics_rcode_word(unsigned rcode);
