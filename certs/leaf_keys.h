/* leaf_keys: the keys of minted leaves, one of each kind for all of a run: P-256 from the start,
 * RSA-2048 once a client asks for it. Making that takes a fifth of a second and more, too long for
 * a thread that serves others: a thread of its own does it. */
#pragma once

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

enum leaf_kind {
    LEAF_ECDSA, /* P-256 */
    LEAF_RSA,   /* 2048 bits, for clients that know nothing else */
    LEAF_KINDS
};

struct leaf_keys {
    EVP_PKEY *ecdsa;
    atomic_bool stop; /* the maker shall give up */

    pthread_mutex_t lock; /* of what follows */
    bool has_lock;
    EVP_PKEY *rsa; /* NULL until it is made */
    pthread_t maker;
    enum { MAKER_NONE, MAKER_WORKS, MAKER_DONE } state;
};

int leaf_keys_init(struct leaf_keys *keys, struct err *err);
void leaf_keys_fini(struct leaf_keys *keys); /* at ease with a half-built one */

/* *out is borrowed from keys. -EAGAIN: it is being made, ask again in some milliseconds. Any
 * thread. */
int leaf_keys_find(struct leaf_keys *keys, enum leaf_kind kind, EVP_PKEY **out, struct err *err);
