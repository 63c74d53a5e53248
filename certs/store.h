/* store: minted leaves by (name, upstream certificate), bounded, shared by all workers.
 *
 * A lock is held for a look-up only, not while minting; two workers may mint the same leaf at
 * once, and one of them is kept. Least recently used goes first; a leaf about to expire (less than
 * an hour, or a tenth of its life if that is less) is minted anew. The keys: leaf_keys.h. */
#pragma once

#include <openssl/ssl.h>

#include "certs/authority.h"
#include "certs/leaf_keys.h"
#include "certs/staple.h"

struct store;

/* Borrows the authority. capacity: leaves kept, at least one. */
int store_new(struct store **out, const struct authority *authority, size_t capacity,
              struct err *err);
void store_free(struct store **store);

/* Puts a leaf for name into ssl (certificate, key and chain), minting it if need be; NULL: for
 * the names that upstream's certificate has (mint_names_of()).
 * upstream is the certificate that the real server showed: it bounds the dates and is part of the
 * store's key. -EAGAIN: a key of this kind is being made, ask again in some milliseconds. Any
 * thread. */
int store_use_leaf(struct store *store, SSL *ssl, enum leaf_kind kind, const char *name,
                   X509 *upstream, struct err *err);

/* Staples to the leaf in ssl what upstream stapled to its certificate (staple.h), if anything, and
 * says what that is: STAPLE_NONE when nothing. */
enum staple store_use_staple(struct store *store, SSL *ssl, SSL *upstream, struct err *err);
