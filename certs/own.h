/* own: how CLEANUP() lets go of what OpenSSL hands out. */
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "base/cleanup.h"

static inline void own_bio(BIO **bio)
{
    BIO_free_all(*bio);
}

static inline void own_pkey(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static inline void own_x509(X509 **cert)
{
    X509_free(*cert);
}

static inline void own_x509s(STACK_OF(X509) **certs)
{
    sk_X509_pop_free(*certs, X509_free);
}

static inline void own_general_names(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

static inline void own_x509_store(X509_STORE **store)
{
    X509_STORE_free(*store);
}
