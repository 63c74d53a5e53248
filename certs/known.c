#include "certs/known.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "certs/own.h"

struct remembered {
    struct span der; /* behind this */
    X509 *cert;
};

static int by_bytes(const void *one, const void *other)
{
    const struct span *a = one, *b = other;

    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->data, b->data, a->len);
}

static void entry_free(void *arg)
{
    struct remembered *entry = arg;

    X509_free(entry->cert);
    free(entry);
}

void known_fini(struct known *known)
{
    tdestroy(known->tree, entry_free);
    known->tree = NULL;
}

/* Without the memory for it, it is decoded again. */
static void remember(struct known *known, struct span der, X509 *cert)
{
    struct remembered *entry = malloc(sizeof(*entry) + der.len);

    if (!entry)
        return;
    memcpy(entry + 1, der.data, der.len);
    entry->der = span_of(entry + 1, der.len);
    entry->cert = cert;
    if (tsearch(entry, &known->tree, by_bytes))
        X509_up_ref(cert);
    else
        free(entry);
}

/* *at: behind the certificate. Only what has nothing behind it is the same to all readers. */
static X509 *decode(struct known *known, struct span der, const unsigned char **at)
{
    struct remembered **found = known ? tfind(&der, &known->tree, by_bytes) : NULL;
    X509 *cert;

    *at = der.data + der.len;
    if (found) {
        X509_up_ref((*found)->cert);
        return (*found)->cert;
    }
    *at = der.data;
    cert = d2i_X509(NULL, at, (long)der.len);
    if (known && cert && *at == der.data + der.len)
        remember(known, der, cert);
    return cert;
}

X509 *known_cert(struct known *known, struct span der)
{
    const unsigned char *at;

    return decode(known, der, &at);
}

X509 *known_trusted_cert(struct known *known, struct span der)
{
    const unsigned char *at;
    CLEANUP(own_x509) X509 *cert = decode(known, der, &at);

    if (!cert || at == der.data + der.len)
        return TAKE(cert);
    at = der.data;
    return d2i_X509_AUX(NULL, &at, (long)der.len);
}
