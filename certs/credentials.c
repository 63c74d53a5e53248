#include "certs/credentials.h"

#include <errno.h>

#include "base/cleanup.h"

static void release(struct credentials *credentials)
{
    anchors_fini(&credentials->anchors);
    authority_free(&credentials->authority);
    client_certs_free(&credentials->clients);
    X509_STORE_free(credentials->roots);
    free(credentials);
}

void credentials_parts_fini(struct credentials_parts *parts)
{
    authority_free(&parts->authority);
    client_certs_free(&parts->clients);
    X509_STORE_free(parts->roots);
    for (size_t i = 0; i < parts->trust_len; i++)
        X509_STORE_free(parts->trust[i]);
    *parts = (struct credentials_parts){0};
}

int credentials_new(struct credentials **out, struct credentials_parts *parts,
                    const char *node_name, struct err *err)
{
    static atomic_uint_fast64_t generations;
    CLEANUP(credentials_unref) struct credentials *credentials = calloc(1, sizeof(*credentials));
    int result;

    if (!credentials)
        return err_set(err, -ENOMEM, "credentials: out of memory");
    atomic_init(&credentials->refs, 1);
    credentials->generation = atomic_fetch_add(&generations, 1) + 1;
    credentials->authority = TAKE(parts->authority);
    credentials->roots = TAKE(parts->roots);
    credentials->clients = TAKE(parts->clients);
    result = anchors_init(&credentials->anchors, credentials->authority, node_name, parts->trust,
                          parts->trust_len, err);
    parts->trust_len = 0; /* taken, even on failure */
    if (result < 0)
        return result;
    *out = TAKE(credentials);
    return 0;
}

struct credentials *credentials_ref(struct credentials *credentials)
{
    if (credentials)
        atomic_fetch_add_explicit(&credentials->refs, 1, memory_order_relaxed);
    return credentials;
}

void credentials_unref(struct credentials **credentials)
{
    struct credentials *gone = TAKE(*credentials);

    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1)
        release(gone);
}
