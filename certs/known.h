/* known: certificates by their bytes, so that what stands in several files is decoded once: the
 * roots of a machine stand in a bundle, in a hashed directory and in Java's truststore, and
 * decoding them is most of what reading them takes.
 *
 * Called by:  what reads files of roots; NULL stands for one that remembers nothing. */
#pragma once

#include <openssl/x509.h>

#include "base/span.h"

struct known {
    void *tree; /* tsearch(3) */
};
void known_fini(struct known *known);

/* The certificate that these bytes begin with, as d2i_X509() reads it; the caller's (X509_free), to
 * look at only, for others have it too. NULL, with OpenSSL's errors: there is none. */
X509 *known_cert(struct known *known, struct span der);
/* The same of the bytes of a "TRUSTED CERTIFICATE", which has its settings behind it or is a plain
 * one. */
X509 *known_trusted_cert(struct known *known, struct span der);
