#include "certs/leaf_keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "certs/err_tls.h"

enum { RSA_BITS = 2048 };

int leaf_keys_init(struct leaf_keys *keys, struct err *err)
{
    keys->ecdsa = EVP_EC_gen("P-256");
    if (!keys->ecdsa)
        return err_tls(err, -EIO, "cannot make the key of the certificates");
    if (pthread_mutex_init(&keys->lock, NULL) != 0)
        return err_set(err, -ENOMEM, "keys of the certificates: out of memory");
    keys->has_lock = true;
    return 0;
}

void leaf_keys_fini(struct leaf_keys *keys)
{
    if (keys->has_lock) {
        bool called;

        atomic_store(&keys->stop, true);
        pthread_mutex_lock(&keys->lock);
        called = keys->state != MAKER_NONE;
        pthread_mutex_unlock(&keys->lock);
        if (called)
            pthread_join(keys->maker, NULL);
        pthread_mutex_destroy(&keys->lock);
    }
    EVP_PKEY_free(keys->rsa);
    EVP_PKEY_free(keys->ecdsa);
}

/* OpenSSL asks between its tries, some thousand times a second. 0: give up. */
static int goes_on(EVP_PKEY_CTX *ctx)
{
    const struct leaf_keys *keys = EVP_PKEY_CTX_get_app_data(ctx);

    return !atomic_load(&keys->stop);
}

static void *make_rsa(void *arg)
{
    struct leaf_keys *keys = arg;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *made = NULL;

    if (ctx && EVP_PKEY_keygen_init(ctx) > 0 &&
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, RSA_BITS) > 0) {
        EVP_PKEY_CTX_set_app_data(ctx, keys);
        EVP_PKEY_CTX_set_cb(ctx, goes_on);
        EVP_PKEY_generate(ctx, &made);
    }
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_thread_stop();
    pthread_mutex_lock(&keys->lock);
    keys->rsa = made;
    keys->state = MAKER_DONE;
    pthread_mutex_unlock(&keys->lock);
    return NULL;
}

/* Under the lock, without a key. A maker that is done has failed: the next to ask tries again. */
static int call_maker(struct leaf_keys *keys, struct err *err)
{
    int failed;

    if (keys->state == MAKER_WORKS)
        return -EAGAIN;
    if (keys->state == MAKER_DONE) {
        pthread_join(keys->maker, NULL);
        keys->state = MAKER_NONE;
        return err_set(err, -EIO, "cannot make an RSA key of %d bits", RSA_BITS);
    }
    failed = pthread_create(&keys->maker, NULL, make_rsa, keys);
    if (failed)
        return err_sys(err, -failed, "cannot make an RSA key");
    pthread_setname_np(keys->maker, "rsa key");
    keys->state = MAKER_WORKS;
    return -EAGAIN;
}

int leaf_keys_find(struct leaf_keys *keys, enum leaf_kind kind, EVP_PKEY **out, struct err *err)
{
    int result = 0;

    if (kind == LEAF_ECDSA) {
        *out = keys->ecdsa;
        return 0;
    }
    pthread_mutex_lock(&keys->lock);
    if (keys->rsa)
        *out = keys->rsa;
    else
        result = call_maker(keys, err);
    pthread_mutex_unlock(&keys->lock);
    return result;
}
