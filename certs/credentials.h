/* credentials: what the flows of a pod are ended and verified with: who signs leaves, and which
 * roots servers are judged by, and what they are shown when they ask for a certificate.
 *
 * Immutable once made, and counted: a flow takes a reference when it is given to its worker, so new
 * ones are taken up by swapping a pointer (agent_use_credentials()) and no flow under way sees any
 * of it. Any thread may read, take and let go. */
#pragma once

#include <stdatomic.h>

#include "certs/anchors.h"
#include "certs/authority.h"
#include "certs/client_certs.h"
#include "certs/pod_trust.h"

struct credentials {
    atomic_uint refs;
    uint64_t generation; /* no two of a process have the same; later ones are larger */
    struct authority *authority;
    struct anchors anchors;
    X509_STORE *roots;            /* what upstreams are verified against */
    X509_STORE *upstream;         /* of these, what pods need not trust themselves; or NULL */
    struct client_certs *clients; /* what upstreams that ask are shown; NULL: nothing */
    /* References. Of a pod's: the agent's, whose clients and, unless there is an elder, authority
     * they are; and the first ones of this pod, whose authorities they are. */
    struct credentials *agents, *elder;
};

/* What they are made of. */
struct credentials_parts {
    struct authority *authority;
    X509_STORE *roots, *upstream;
    struct client_certs *clients;
    X509_STORE *trust[ANCHORS_MAX]; /* what each file of roots trusts, see anchors.h */
    size_t trust_len;
};
void credentials_parts_fini(struct credentials_parts *parts);

/* Takes out of parts what it could use; what is left there stays the caller's. */
int credentials_new(struct credentials **out, struct credentials_parts *parts,
                    const char *node_name, struct err *err);
/* Those of a pod whose programs read files of roots that are not the agent's: the agent's, but
 * servers are verified against what the pod trusts, and shown to whom each file trusts. name is for
 * its authorities. With `before`, the pod's former ones (else NULL), it keeps their authorities,
 * for copies of its files hold no others. All but out are borrowed. */
int credentials_new_of_pod(struct credentials **out, struct credentials *agents,
                           const struct pod_trust *trust, struct credentials *before,
                           const char *name, struct err *err);
/* Both accept NULL. */
struct credentials *credentials_ref(struct credentials *credentials);
void credentials_unref(struct credentials **credentials);
