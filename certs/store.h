/* store: minted leaves by (name, upstream certificate), bounded, shared by all workers.
 *
 * A lock is held for a look-up only, not while minting; two workers may mint the same leaf at
 * once, and one of them is kept. Least recently used goes first; a leaf about to expire (less than
 * an hour, or a tenth of its life if that is less) is minted anew. The keys: leaf_keys.h. */
#pragma once

#include <openssl/ssl.h>

#include "certs/anchors.h"
#include "certs/authority.h"
#include "certs/leaf_keys.h"
#include "certs/staple.h"

struct store;

/* capacity: leaves kept, at least one. */
int store_new(struct store **out, size_t capacity, struct err *err);
void store_free(struct store **store);

/* What a leaf shall be. */
struct leaf_order {
    const struct authority *authority; /* who signs it */
    enum leaf_kind kind;
    const char *name; /* NULL: the names that upstream's certificate has (mint_names_of()) */
    X509 *upstream;   /* the certificate that the real server showed: it bounds the dates */
};

/* 0: the key of this kind of leaf is there; -EAGAIN: it is being made, ask again in some
 * milliseconds. Any thread. */
int store_ready(struct store *store, enum leaf_kind kind, struct err *err);
/* Puts a leaf into ssl (certificate, key and chain), minting it if need be. -EAGAIN, too, as
 * store_ready() says. Any thread. */
int store_use_leaf(struct store *store, SSL *ssl, const struct leaf_order *order, struct err *err);

/* Lets go of the leaves that an authority of `gone` signed, unless it is one of `kept`, too. They
 * would not be shown again, but take the place of others. */
void store_forget(struct store *store, const struct anchors *gone, const struct anchors *kept);

/* Staples to the leaf in ssl, which authority signed, what upstream stapled to its certificate
 * (staple.h), if anything, and says what that is: STAPLE_NONE when nothing. issuer: of upstream's
 * certificate, as it was verified (its own, if that is its own anchor), against roots. */
enum staple store_use_staple(const struct authority *authority, SSL *ssl, SSL *upstream,
                             X509 *issuer, X509_STORE *roots, struct err *err);
