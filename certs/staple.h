/* staple: what upstream stapled to its certificate about its being revoked (OCSP, RFC 6960), said
 * about a leaf of ours.
 *
 * A pod that asks for such a response gets what it would have got: the same status, reason and
 * times, signed by our authority instead of upstream's, or none, so that it comes to the conclusion
 * that it would have come to. Upstream's bytes are hostile. */
#pragma once

#include "base/span.h"
#include "certs/authority.h"

enum staple {
    STAPLE_NONE,
    STAPLE_FAILED, /* see err */
    STAPLE_GOOD,   /* upstream's is proven: signed by who may, about its certificate */
    STAPLE_REVOKED,
    STAPLE_UNKNOWN,  /* ... the responder does not know the certificate */
    STAPLE_UNPROVEN, /* *out is what upstream sent: of a leaf of ours it proves as little */
};

/* stapled: upstream's response, not empty, to its certificate `upstream`, issued by `issuer` and
 * shown with `shown`. *out: what to staple to leaf, the caller's (OPENSSL_free). */
enum staple staple_again(struct span stapled, X509 *upstream, X509 *issuer, STACK_OF(X509) *shown,
                         X509_STORE *roots, const struct authority *authority, X509 *leaf,
                         struct span *out, struct err *err);
