/* tls_rules: what a flow's policies want of its TLS with upstream: versions, cipher suites, whom to
 * trust and what to show; and the files that they name for it.
 *
 * A file is read when a flow first needs it, and again for each set of policies that names it: who
 * watches it (enforce/sources_named.c) has them put in force anew when it changes.
 * Called by:  judge.c, before upstream is dialled; dial.c, open.c and resume.c keep to it. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "certs/client_certs.h"

struct flow;
struct rule_file;
struct worker;

enum { TLS_RULES_DIGEST = 32 };

struct tls_rules {
    uint16_t version_min, version_max; /* 0: whatever both ends agree on */
    struct rule_file *trust, *client;  /* references; NULL: what the pod trusts, what a setting has
                                          for the server */
    uint8_t trusted[TLS_RULES_DIGEST]; /* of the roots of trust; zeros: rules do not say */
};

/* Looks up what is wanted, and narrows what the program offers to it. False: that leaves nothing,
 * or a file cannot be read: the flow is denied (verdict.h). */
bool tls_rules_apply(struct flow *flow);
void tls_rules_fini(struct tls_rules *rules);

/* Borrowed; NULL: rules do not say. */
X509_STORE *tls_rules_trust(const struct tls_rules *rules);
const struct client_cert *tls_rules_client(const struct tls_rules *rules);

/* Those that a worker has read; the last of their flows has ended. */
void tls_rules_forget(struct worker *worker);
