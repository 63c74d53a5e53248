/* authority: the CA that signs leaves: made for one run, or loaded from a directory.
 *
 * Immutable once made, so every thread may read it. P-256 when made here, pathlen 0, at most
 * 90 days. The key never leaves this process. */
#pragma once

#include <openssl/x509.h>
#include <time.h>

#include "base/err.h"

struct authority {
    X509 *cert; /* signs the leaves */
    EVP_PKEY *key;
    STACK_OF(X509) *chain;  /* what a leaf is sent with: cert unless it is self-signed, and what
                               lies between it and the root; never the root; may be empty */
    X509 *root;             /* what pods must trust */
    STACK_OF(X509) *others; /* what else stands beside root in its file: authorities of before and
                               after, say; may be NULL */

    /* Read once, because every leaf needs them. */
    EVP_MD *sha256;
    ASN1_OCTET_STRING *key_id;    /* cert's subject key identifier, or of its key if it has none */
    time_t not_before, not_after; /* when all of cert, chain and root are valid */
};

/* A fresh self-signed authority named after the node. */
int authority_new(struct authority **out, const char *node_name, struct err *err);
/* Reads DIR/tls.crt, tls.key, ca.crt (cert-manager's names; looked for first) or ca-cert.pem,
 * ca-key.pem, root-cert.pem, cert-chain.pem (Istio's; the last may be missing). Refuses, with a
 * sentence that names the file: what is missing or unreadable, a key that does not fit its
 * certificate, a certificate that may not sign (basicConstraints, keyUsage, path length,
 * not yet valid, name constraints are left to OpenSSL) or leads to none of the roots, a key that
 * others than its owner may read. -EKEYEXPIRED: it, or one above it, has expired. */
int authority_load(struct authority **out, const char *dir, struct err *err);
/* The same of DIR/next.crt and next.key, which ca_dir.c writes; -ENOENT: there is none. */
int authority_load_next(struct authority **out, const char *dir, struct err *err);
void authority_free(struct authority **authority);
