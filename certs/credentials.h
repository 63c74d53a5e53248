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

struct credentials {
    atomic_uint refs;
    uint64_t generation; /* no two of a process have the same; later ones are larger */
    struct authority *authority;
    struct anchors anchors;
    X509_STORE *roots;            /* what upstreams are verified against */
    struct client_certs *clients; /* what upstreams that ask are shown; NULL: nothing */
};

/* What they are made of. */
struct credentials_parts {
    struct authority *authority;
    X509_STORE *roots;
    struct client_certs *clients;
    X509_STORE *trust[ANCHORS_MAX]; /* what each file of roots trusts, see anchors.h */
    size_t trust_len;
};
void credentials_parts_fini(struct credentials_parts *parts);

/* Takes out of parts what it could use; what is left there stays the caller's. */
int credentials_new(struct credentials **out, struct credentials_parts *parts,
                    const char *node_name, struct err *err);
/* Both accept NULL. */
struct credentials *credentials_ref(struct credentials *credentials);
void credentials_unref(struct credentials **credentials);
