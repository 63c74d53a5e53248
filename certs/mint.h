/* mint: authority + name + dates -> leaf. Pure but for the random serial.
 *
 * The leaf has what the strictest clients ask of one (Python's VERIFY_X509_STRICT, Chromium's 200
 * days): one SAN of what was asked (none if `cn_only`), CN where it fits, critical SAN when there
 * is no CN, serverAuth only, digitalSignature only (RSA: keyEncipherment, too), CA false, SKI, AKI
 * equal to the authority's SKI bytes, random 128-bit positive serial; at most 199 days, within the
 * dates of `mint_profile` and of the authority, and begun at most an hour ago. */
#pragma once

#include <openssl/x509v3.h>
#include <stdbool.h>
#include <time.h>

#include "base/err.h"
#include "certs/authority.h"

enum { MINT_NAME_SIZE = 254 }; /* the longest DNS name and its NUL */

struct mint_profile {
    const char *name;     /* a DNS name, or an IP address as text (SAN type follows) */
    GENERAL_NAMES *names; /* NULL, or: the leaf has all of these and no CN, and `name` is only what
                             to call them in a failure */
    time_t not_before, not_after; /* upstream's certificate's; clipped as said above */
    bool cn_only; /* upstream's is named in its CN alone (fit.h), so the leaf is, too: clients that
                     do not accept that in one are not to accept it in the other. For a name that is
                     too long for a CN it does not count. */
    bool must_staple; /* upstream's demands that an OCSP response be stapled (RFC 7633), so the leaf
                         does, too */
};

/* Whether name can be put into a leaf: an IP address, or a DNS name of at most 253 characters in
 * labels of letters, digits, '-' and '_' (a closing dot is allowed and dropped). */
bool mint_name_ok(const char *name);
/* The same, and writes the one spelling that the leaf will have: lower case, no closing dot. */
bool mint_name_spell(const char *name, char out[MINT_NAME_SIZE]);

/* The names in upstream's certificate that nobody can misread: DNS names, wildcards in front.
 * Borrows nothing, is the caller's (GENERAL_NAMES_free); NULL when there are none. */
GENERAL_NAMES *mint_names_of(const X509 *upstream);

/* *out is the caller's (X509_free). now is passed in so that tests can choose it. -EKEYEXPIRED:
 * upstream's certificate, or the authority, is not valid now, so no leaf could be. */
int mint_leaf(X509 **out, const struct authority *authority, EVP_PKEY *leaf_key,
              const struct mint_profile *profile, time_t now, struct err *err);
