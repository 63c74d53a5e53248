#include "certs/credentials.h"

#include <errno.h>

#include "base/cleanup.h"
#include "certs/trust.h"

static void release(struct credentials *credentials)
{
    anchors_fini(&credentials->anchors);
    if (!credentials->agents) {
        authority_free(&credentials->authority);
        client_certs_free(&credentials->clients);
    }
    X509_STORE_free(credentials->roots);
    X509_STORE_free(credentials->upstream);
    credentials_unref(&credentials->elder);
    credentials_unref(&credentials->agents);
    free(credentials);
}

void credentials_parts_fini(struct credentials_parts *parts)
{
    authority_free(&parts->authority);
    client_certs_free(&parts->clients);
    X509_STORE_free(parts->roots);
    X509_STORE_free(parts->upstream);
    for (size_t i = 0; i < parts->trust_len; i++)
        X509_STORE_free(parts->trust[i]);
    *parts = (struct credentials_parts){0};
}

static struct credentials *empty(struct err *err)
{
    static atomic_uint_fast64_t generations;
    struct credentials *credentials = calloc(1, sizeof(*credentials));

    if (!credentials) {
        err_set(err, -ENOMEM, "credentials: out of memory");
        return NULL;
    }
    atomic_init(&credentials->refs, 1);
    credentials->generation = atomic_fetch_add(&generations, 1) + 1;
    return credentials;
}

int credentials_new(struct credentials **out, struct credentials_parts *parts,
                    const char *node_name, struct err *err)
{
    CLEANUP(credentials_unref) struct credentials *credentials = empty(err);
    int result;

    if (!credentials)
        return -ENOMEM;
    credentials->authority = TAKE(parts->authority);
    credentials->roots = TAKE(parts->roots);
    credentials->upstream = TAKE(parts->upstream);
    credentials->clients = TAKE(parts->clients);
    result = anchors_init(&credentials->anchors, credentials->authority, node_name, parts->trust,
                          parts->trust_len, err);
    parts->trust_len = 0; /* taken, even on failure */
    if (result < 0)
        return result;
    *out = TAKE(credentials);
    return 0;
}

int credentials_new_of_pod(struct credentials **out, struct credentials *agents,
                           const struct pod_trust *trust, struct credentials *before,
                           const char *name, struct err *err)
{
    CLEANUP(credentials_unref) struct credentials *credentials = empty(err);
    CLEANUP(credentials_parts_fini) struct credentials_parts parts = {0};
    int result = credentials ? 0 : -ENOMEM;

    if (result == 0)
        result = trust_join_new(&parts.roots, trust->roots, agents->upstream, err);
    for (size_t i = 0; result == 0 && i < trust->len; i++) {
        result = trust_join_new(&parts.trust[i], trust->files[i], agents->upstream, err);
        parts.trust_len += result == 0;
    }
    if (result < 0)
        return result;
    credentials->agents = credentials_ref(agents);
    credentials->clients = agents->clients;
    credentials->roots = TAKE(parts.roots);
    credentials->authority = before ? before->authority : agents->authority;
    if (before) {
        credentials->elder = credentials_ref(before->elder ? before->elder : before);
        anchors_init_again(&credentials->anchors, &before->anchors, parts.trust);
    } else {
        result = anchors_init(&credentials->anchors, credentials->authority, name, parts.trust,
                              parts.trust_len, err);
    }
    parts.trust_len = 0; /* taken, even on failure */
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
