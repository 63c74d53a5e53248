/* fit: is a certificate for a name?
 *
 * Pure. As curl decides it, and so at least as strictly as any client of note: OpenSSL's own check
 * would take a common name beside an address in subjectAltName, or the first of several. Upstreams
 * are checked by it, and its answer says which kind of leaf to make, so that each client judges the
 * leaf as it would have judged upstream's certificate. */
#pragma once

#include <openssl/x509.h>

enum fit {
    FIT_NOT,
    FIT_ALT_NAME,    /* a DNS name or an address in subjectAltName */
    FIT_COMMON_NAME, /* there is none of them, and the last common name fits; not every client
                        accepts such a certificate */
};

/* name: a DNS name without a closing dot, or an IP address as text. */
enum fit fit_name(const X509 *cert, const char *name);
