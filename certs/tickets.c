#include "certs/tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "certs/err_tls.h"

#define ROTATE_NS (TICKETS_ROTATE_SECONDS * UINT64_C(1000000000))

struct key {
    uint8_t name[TICKETS_NAME_SIZE], cipher[32], mac[32];
    uint64_t born_ns; /* 0: there is none */
};

struct tickets {
    EVP_CIPHER *aes;
    pthread_mutex_t lock; /* of what follows */
    bool has_lock;
    struct key keys[2]; /* the one that seals, and the one before it */
};

int tickets_new(struct tickets **out, struct err *err)
{
    CLEANUP(tickets_free) struct tickets *tickets = calloc(1, sizeof(*tickets));

    if (!tickets)
        return err_set(err, -ENOMEM, "keys of session tickets: out of memory");
    tickets->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!tickets->aes)
        return err_tls(err, -EIO, "keys of session tickets");
    if (pthread_mutex_init(&tickets->lock, NULL) != 0)
        return err_set(err, -ENOMEM, "keys of session tickets: out of memory");
    tickets->has_lock = true;
    *out = TAKE(tickets);
    return 0;
}

void tickets_free(struct tickets **tickets)
{
    struct tickets *gone = TAKE(*tickets);

    if (!gone)
        return;
    EVP_CIPHER_free(gone->aes);
    if (gone->has_lock)
        pthread_mutex_destroy(&gone->lock);
    OPENSSL_cleanse(gone->keys, sizeof(gone->keys));
    free(gone);
}

/* The key that seals now: a new one where it has got old. The caller holds the lock. */
static const struct key *current(struct tickets *tickets, uint64_t now_ns)
{
    struct key *now = &tickets->keys[0], fresh = {.born_ns = now_ns};

    if (now->born_ns && now_ns - now->born_ns < ROTATE_NS)
        return now;
    if (RAND_bytes(fresh.name, sizeof(fresh.name)) != 1 ||
        RAND_priv_bytes(fresh.cipher, sizeof(fresh.cipher)) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) != 1)
        return NULL;
    tickets->keys[1] = *now;
    *now = fresh;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return now;
}

static const struct key *named(const struct tickets *tickets, uint64_t now_ns,
                               const uint8_t name[TICKETS_NAME_SIZE])
{
    for (size_t i = 0; i < ARRAY_SIZE(tickets->keys); i++)
        if (tickets->keys[i].born_ns && now_ns - tickets->keys[i].born_ns < 2 * ROTATE_NS &&
            memcmp(tickets->keys[i].name, name, TICKETS_NAME_SIZE) == 0)
            return &tickets->keys[i];
    return NULL;
}

static bool seals_still(const struct key *key, uint64_t now_ns)
{
    return now_ns - key->born_ns < ROTATE_NS;
}

bool tickets_name(struct tickets *tickets, uint64_t now_ns, uint8_t out[TICKETS_NAME_SIZE])
{
    const struct key *key;

    pthread_mutex_lock(&tickets->lock);
    key = current(tickets, now_ns);
    if (key)
        memcpy(out, key->name, TICKETS_NAME_SIZE);
    pthread_mutex_unlock(&tickets->lock);
    return key;
}

int tickets_opens(struct tickets *tickets, uint64_t now_ns, const uint8_t name[TICKETS_NAME_SIZE])
{
    const struct key *key;
    int opens;

    pthread_mutex_lock(&tickets->lock);
    key = named(tickets, now_ns, name);
    opens = !key ? 0 : seals_still(key, now_ns) ? 1 : 2;
    pthread_mutex_unlock(&tickets->lock);
    return opens;
}

/* For SSL_CTX_set_tlsext_ticket_key_evp_cb, whose words these are: -1: failed, 0: no such key, 1:
 * go on, 2: go on, and renew. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    struct tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    uint64_t now_ns = clock_ns();
    const struct key *found;
    struct key key = {0};
    OSSL_PARAM params[3];
    int result;

    pthread_mutex_lock(&tickets->lock);
    found = seal ? current(tickets, now_ns) : named(tickets, now_ns, name);
    if (found)
        key = *found;
    pthread_mutex_unlock(&tickets->lock);
    if (!found)
        return seal ? -1 : 0;
    if (seal)
        memcpy(name, key.name, TICKETS_NAME_SIZE);
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof(key.mac));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0);
    params[2] = OSSL_PARAM_construct_end();
    if ((seal && RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->aes)) != 1) ||
        EVP_CipherInit_ex2(cipher, tickets->aes, key.cipher, iv, seal, NULL) != 1 ||
        EVP_MAC_CTX_set_params(mac, params) != 1)
        result = -1;
    else
        result = seal || seals_still(&key, now_ns) ? 1 : 2;
    OPENSSL_cleanse(&key, sizeof(key));
    return result;
}

bool tickets_use(struct tickets *tickets, SSL_CTX *ctx)
{
    return SSL_CTX_set_app_data(ctx, tickets) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}
