/* Each leaf is on two lists: its bucket, by key, and the order of use. Slots are made once; when
 * all are taken, the one that was used longest ago gives way. */
#include "certs/store.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "certs/cert.h"
#include "certs/err_tls.h"
#include "certs/fit.h"
#include "certs/mint.h"
#include "certs/own.h"

enum {
    DIGEST_SIZE = 32, /* SHA-256 */
    KEY_SIZE = 2 * DIGEST_SIZE,
    RENEW_BEFORE = 3600,
};

struct slot {
    uint8_t key[KEY_SIZE];
    X509 *leaf; /* NULL: forgotten */
    time_t renew_at;
    LIST_ENTRY(slot) in_bucket;
    TAILQ_ENTRY(slot) by_use;
};
LIST_HEAD(bucket, slot);

struct store {
    struct leaf_keys keys;
    size_t capacity; /* slots, and buckets too */

    pthread_mutex_t lock; /* of what follows */
    bool has_lock;
    struct slot *slots;
    size_t used;
    struct bucket *buckets;
    TAILQ_HEAD(by_use_head, slot) by_use; /* most recent first */
};

int store_new(struct store **out, size_t capacity, struct err *err)
{
    CLEANUP(store_free) struct store *store = calloc(1, sizeof(*store));
    int rc;

    if (!store)
        return err_set(err, -ENOMEM, "certificate store: out of memory");
    if (capacity == 0)
        return err_set(err, -EINVAL, "a certificate store must have room for one");
    TAILQ_INIT(&store->by_use);
    store->capacity = capacity;
    store->slots = calloc(store->capacity, sizeof(*store->slots));
    store->buckets = calloc(store->capacity, sizeof(*store->buckets));
    if (!store->slots || !store->buckets)
        return err_set(err, -ENOMEM, "certificate store of %zu: out of memory", capacity);
    rc = leaf_keys_init(&store->keys, err);
    if (rc < 0)
        return rc;
    if (pthread_mutex_init(&store->lock, NULL) != 0)
        return err_set(err, -ENOMEM, "certificate store: out of memory");
    store->has_lock = true;
    *out = TAKE(store);
    return 0;
}

void store_free(struct store **store)
{
    if (!*store)
        return;
    for (size_t i = 0; i < (*store)->used; i++)
        X509_free((*store)->slots[i].leaf);
    if ((*store)->has_lock)
        pthread_mutex_destroy(&(*store)->lock);
    leaf_keys_fini(&(*store)->keys);
    free((*store)->slots);
    free((*store)->buckets);
    free(TAKE(*store));
}

static bool signer_digest(const struct authority *authority, uint8_t out[DIGEST_SIZE])
{
    return X509_digest(authority->cert, authority->sha256, out, NULL);
}

/* SHA-256 over the digest of upstream's certificate, the kind of leaf, and the name behind them;
 * then the digest of who signs it. */
static bool make_key(const struct leaf_order *order, const char *name, uint8_t out[KEY_SIZE])
{
    const struct authority *authority = order->authority;
    uint8_t all[DIGEST_SIZE + 1 + MINT_NAME_SIZE];
    size_t len = strlen(name);

    all[DIGEST_SIZE] = (uint8_t)order->kind;
    memcpy(all + DIGEST_SIZE + 1, name, len);
    return X509_digest(order->upstream, authority->sha256, all, NULL) &&
           EVP_Digest(all, DIGEST_SIZE + 1 + len, out, NULL, authority->sha256, NULL) &&
           signer_digest(authority, out + DIGEST_SIZE);
}

static struct bucket *bucket_of(struct store *store, const uint8_t key[KEY_SIZE])
{
    size_t hash;

    memcpy(&hash, key, sizeof(hash));
    return &store->buckets[hash % store->capacity];
}

static struct slot *slot_find(struct store *store, const uint8_t key[KEY_SIZE])
{
    struct slot *slot = LIST_FIRST(bucket_of(store, key));

    while (slot && memcmp(slot->key, key, KEY_SIZE) != 0)
        slot = LIST_NEXT(slot, in_bucket);
    return slot;
}

/* A slot for key without a leaf yet: a fresh one, or the one least recently used. */
static struct slot *slot_claim(struct store *store, const uint8_t key[KEY_SIZE])
{
    struct slot *slot;

    if (store->used < store->capacity) {
        slot = &store->slots[store->used++];
    } else {
        slot = TAILQ_LAST(&store->by_use, by_use_head);
        TAILQ_REMOVE(&store->by_use, slot, by_use);
        LIST_REMOVE(slot, in_bucket);
        X509_free(TAKE(slot->leaf));
    }
    memcpy(slot->key, key, KEY_SIZE);
    slot->renew_at = 0;
    LIST_INSERT_HEAD(bucket_of(store, key), slot, in_bucket);
    TAILQ_INSERT_HEAD(&store->by_use, slot, by_use);
    return slot;
}

/* A reference on the leaf in slot, or NULL when it has too little time left. */
static X509 *slot_use(struct store *store, struct slot *slot, time_t now)
{
    if (now >= slot->renew_at)
        return NULL;
    TAILQ_REMOVE(&store->by_use, slot, by_use);
    TAILQ_INSERT_HEAD(&store->by_use, slot, by_use);
    X509_up_ref(slot->leaf);
    return slot->leaf;
}

static X509 *look_up(struct store *store, const uint8_t key[KEY_SIZE], time_t now)
{
    struct slot *slot;
    X509 *leaf = NULL;

    pthread_mutex_lock(&store->lock);
    slot = slot_find(store, key);
    if (slot)
        leaf = slot_use(store, slot, now);
    pthread_mutex_unlock(&store->lock);
    return leaf;
}

/* Keeps a reference on *leaf, or exchanges it for the one that another worker minted meanwhile. */
static void keep(struct store *store, const uint8_t key[KEY_SIZE], X509 **leaf, time_t now,
                 time_t renew_at)
{
    struct slot *slot;
    X509 *theirs;

    pthread_mutex_lock(&store->lock);
    slot = slot_find(store, key);
    if (!slot)
        slot = slot_claim(store, key);
    theirs = slot_use(store, slot, now);
    if (theirs) {
        X509_free(*leaf);
        *leaf = theirs;
    } else {
        X509_free(slot->leaf);
        X509_up_ref(*leaf);
        slot->leaf = *leaf;
        slot->renew_at = renew_at;
    }
    pthread_mutex_unlock(&store->lock);
}

static bool is_of(const struct anchors *anchors, const uint8_t signer[DIGEST_SIZE])
{
    uint8_t digest[DIGEST_SIZE];

    if (signer_digest(anchors->main, digest) && memcmp(digest, signer, DIGEST_SIZE) == 0)
        return true;
    for (size_t i = 0; i < ANCHORS_SETS; i++)
        if (anchors->made[i] && signer_digest(anchors->made[i], digest) &&
            memcmp(digest, signer, DIGEST_SIZE) == 0)
            return true;
    return false;
}

/* A slot without its leaf is the next to be claimed. */
void store_forget(struct store *store, const struct anchors *gone, const struct anchors *kept)
{
    pthread_mutex_lock(&store->lock);
    for (struct slot *slot = store->slots; slot < store->slots + store->used; slot++) {
        const uint8_t *signer = slot->key + DIGEST_SIZE;

        if (!slot->leaf || !is_of(gone, signer) || is_of(kept, signer))
            continue;
        X509_free(TAKE(slot->leaf));
        slot->renew_at = 0;
        TAILQ_REMOVE(&store->by_use, slot, by_use);
        TAILQ_INSERT_TAIL(&store->by_use, slot, by_use);
    }
    pthread_mutex_unlock(&store->lock);
}

static bool demands_staple(const X509 *cert)
{
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    bool demands = false;

    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        demands = demands || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) ==
                                 TLSEXT_TYPE_status_request;
    TLS_FEATURE_free(features);
    return demands;
}

static int mint(struct store *store, const struct authority *authority, const uint8_t key[KEY_SIZE],
                EVP_PKEY *leaf_key, const char *name, const X509 *upstream, X509 **out,
                struct err *err)
{
    struct mint_profile profile = {.name = name};
    CLEANUP(own_general_names) GENERAL_NAMES *names = NULL;
    time_t now = time(NULL), not_before, not_after, margin;
    int rc;

    ERR_set_mark(); /* an extension that cannot be read is none, and no failure */
    profile.cn_only = fit_name(upstream, name) == FIT_COMMON_NAME;
    profile.must_staple = demands_staple(upstream);
    ERR_pop_to_mark();
    if (!name[0]) {
        profile.name = name = "the names it has";
        profile.names = names = mint_names_of(upstream);
        if (!names)
            return err_set(err, -EINVAL, "the server's certificate has no DNS name");
    }
    if (!cert_dates(upstream, &profile.not_before, &profile.not_after))
        return err_tls(err, -EINVAL, "the server's certificate for %s has unreadable dates", name);
    rc = mint_leaf(out, authority, leaf_key, &profile, now, err);
    if (rc < 0)
        return rc;
    cert_dates(*out, &not_before, &not_after);
    margin = (not_after - now) / 10;
    keep(store, key, out, now, not_after - (margin < RENEW_BEFORE ? margin : RENEW_BEFORE));
    return 0;
}

int store_ready(struct store *store, enum leaf_kind kind, struct err *err)
{
    EVP_PKEY *key;

    return leaf_keys_find(&store->keys, kind, &key, err);
}

int store_use_leaf(struct store *store, SSL *ssl, const struct leaf_order *order, struct err *err)
{
    CLEANUP(own_x509) X509 *leaf = NULL;
    EVP_PKEY *leaf_key;
    char spelled[MINT_NAME_SIZE] = "";
    uint8_t key[KEY_SIZE];
    int rc;

    if (order->name && !mint_name_spell(order->name, spelled))
        return err_set(err, -EINVAL, "'%.260s' is neither a DNS name nor an address", order->name);
    rc = leaf_keys_find(&store->keys, order->kind, &leaf_key, err);
    if (rc < 0)
        return rc;
    if (!make_key(order, spelled, key))
        return err_tls(err, -EIO, "cannot look up the certificate for %s", spelled);
    leaf = look_up(store, key, time(NULL));
    if (!leaf) {
        rc = mint(store, order->authority, key, leaf_key, spelled, order->upstream, &leaf, err);
        if (rc < 0)
            return rc;
    }
    /* The chain goes with it even if it is empty: without one OpenSSL would search for it anew in
     * every handshake. */
    if (!SSL_use_cert_and_key(ssl, leaf, leaf_key, order->authority->chain, 1))
        return err_tls(err, -EIO, "cannot use the certificate for %s", spelled);
    return 0;
}

/* The certificate that issued the one at hand, among those shown beside it; borrowed. */
static X509 *shown_issuer(STACK_OF(X509) *shown, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(shown); i++)
        if (X509_check_issued(sk_X509_value(shown, i), cert) == X509_V_OK)
            return sk_X509_value(shown, i);
    return NULL;
}

enum staple store_use_staple(const struct authority *authority, SSL *ssl, SSL *upstream,
                             X509 *issuer, X509_STORE *roots, struct err *err)
{
    STACK_OF(X509) *shown = SSL_get_peer_cert_chain(upstream);
    X509 *cert = SSL_get0_peer_certificate(upstream);
    const unsigned char *bytes;
    long len = SSL_get_tlsext_status_ocsp_resp(upstream, &bytes);
    struct span out;
    enum staple says;

    if (len <= 0 || !bytes)
        return STAPLE_NONE;
    says = staple_again(span_of(bytes, (size_t)len), cert, issuer, shown, roots, authority,
                        SSL_get_certificate(ssl), &out, err);
    if (says == STAPLE_FAILED)
        return says;
    SSL_set_tlsext_status_ocsp_resp(ssl, (void *)out.data, (int)out.len); /* takes them */
    /* some clients (curl) believe only an issuer whom the server shows, even if it is a root */
    if (shown_issuer(shown, cert) && !sk_X509_num(authority->chain) &&
        !SSL_add1_chain_cert(ssl, authority->cert)) {
        err_tls(err, -ENOMEM, "cannot staple an OCSP response");
        return STAPLE_FAILED;
    }
    return says;
}
