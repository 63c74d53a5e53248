#include "proxy/flow/tls_rules.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/trust.h"
#include "proxy/flow/steps.h"

/* ---- files ---- */

struct rule_file {
    unsigned refs; /* flows', and the worker's: all on its thread */
    char *path;
    bool client;         /* a certificate to show, else roots to trust */
    uint64_t generation; /* of the policies that it was read for */
    X509_STORE *roots;
    uint8_t digest[TLS_RULES_DIGEST]; /* of them */
    struct client_cert cert;
    struct rule_file *next; /* in worker->rule_files */
};

static void unref(struct rule_file **file)
{
    struct rule_file *gone = TAKE(*file);

    if (!gone || --gone->refs)
        return;
    X509_STORE_free(gone->roots);
    client_cert_fini(&gone->cert);
    free(gone->path);
    free(gone);
}

static bool add_root(EVP_MD_CTX *ctx, X509 *root)
{
    unsigned char *der = NULL;
    int len = root ? i2d_X509_AUX(root, &der) : 0; /* with what it is trusted for */
    bool ok = len >= 0 && EVP_DigestUpdate(ctx, der, (size_t)len) == 1;

    OPENSSL_free(der);
    return ok;
}

static bool digest_roots(struct rule_file *file)
{
    const STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(file->roots);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

    for (int i = 0; ok && i < sk_X509_OBJECT_num(objects); i++)
        ok = add_root(ctx, X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i)));
    ok = ok && EVP_DigestFinal_ex(ctx, file->digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static int load(struct rule_file *file, struct err *err)
{
    const char *path = file->path;
    int result;

    if (file->client)
        return client_cert_load(&file->cert, path, err);
    result = trust_roots_new(&file->roots, &path, (const bool[]){true}, 1, NULL, err);
    if (result == 0 && !digest_roots(file))
        result = err_set(err, -ENOMEM, "%s: out of memory", path);
    return result;
}

static struct rule_file *read_file(const char *path, bool client, uint64_t generation,
                                   struct err *err)
{
    struct rule_file *file = calloc(1, sizeof(*file));

    if (file)
        *file = (struct rule_file){
            .refs = 1, .path = strdup(path), .client = client, .generation = generation};
    if (!file || !file->path)
        err_set(err, -ENOMEM, "%s: out of memory", path);
    else if (load(file, err) == 0)
        return file;
    if (file)
        unref(&file);
    return NULL;
}

/* Those of policies that are no more. */
static void sweep(struct worker *worker, uint64_t generation)
{
    struct rule_file **link = &worker->rule_files;

    while (*link) {
        struct rule_file *file = *link;

        if (file->generation == generation) {
            link = &file->next;
            continue;
        }
        *link = file->next;
        unref(&file);
    }
}

/* A reference; NULL: err says why. What could not be read is tried again by the next flow. */
static struct rule_file *find_file(struct flow *flow, const char *path, bool client,
                                   struct err *err)
{
    struct worker *worker = flow->worker;
    uint64_t generation = policy_view_generation(flow->verdicts.view);
    struct rule_file *file = worker->rule_files;

    while (file && !(file->client == client && file->generation == generation &&
                     strcmp(file->path, path) == 0))
        file = file->next;
    if (!file) {
        file = read_file(path, client, generation, err);
        if (!file)
            return NULL;
        sweep(worker, generation);
        file->next = worker->rule_files;
        worker->rule_files = file;
    }
    file->refs++;
    return file;
}

void tls_rules_forget(struct worker *worker)
{
    sweep(worker, UINT64_MAX);
}

void tls_rules_fini(struct tls_rules *rules)
{
    unref(&rules->trust);
    unref(&rules->client);
}

X509_STORE *tls_rules_trust(const struct tls_rules *rules)
{
    return rules->trust ? rules->trust->roots : NULL;
}

const struct client_cert *tls_rules_client(const struct tls_rules *rules)
{
    return rules->client ? &rules->client->cert : NULL;
}

/* ---- what is wanted ---- */

static bool use_file(struct flow *flow, const struct policy_tls_wish *wish,
                     const struct policy_tls *says, const char *path, bool client,
                     struct rule_file **out)
{
    struct err err = {0};

    *out = find_file(flow, path, client, &err);
    if (!*out)
        return verdict_deny(flow, POLICY_POINT_TLS, wish->policy, &says->place, err.text);
    if (!client)
        memcpy(flow->tls_rules.trusted, (*out)->digest, TLS_RULES_DIGEST);
    return true;
}

static bool narrow_versions(struct flow *flow, const struct policy_tls_wish *wish)
{
    flow->tls_rules.version_min = wish->version_min;
    flow->tls_rules.version_max = wish->version_max;
    if (wish->version_min > flow->version_min)
        flow->version_min = wish->version_min;
    if (wish->version_max && wish->version_max < flow->version_max)
        flow->version_max = wish->version_max;
    return flow->version_min <= flow->version_max ||
           verdict_deny(flow, POLICY_POINT_TLS, wish->policy, NULL,
                        "the program offers none of the TLS versions that the rule wants");
}

/* Where all that is left are suites of TLS 1.2, so is the version. */
static bool narrow_suites(struct flow *flow, const struct policy_tls_wish *wish)
{
    const struct policy_tls *says = wish->ciphers;

    if (!says)
        return true;
    flow->suites &= suites_named(says->ciphers, says->ciphers_len);
    if (flow->version_max > TLS1_2_VERSION && flow->version_min <= TLS1_2_VERSION &&
        !suites_fit(flow->suites, flow->version_max))
        flow->version_max = TLS1_2_VERSION;
    return suites_fit(flow->suites, flow->version_max) ||
           verdict_deny(flow, POLICY_POINT_TLS, wish->policy, &says->place,
                        "the program offers none of the cipher suites that the rule wants");
}

bool tls_rules_apply(struct flow *flow)
{
    struct policy_tls_wish wish;

    tls_rules_fini(&flow->tls_rules);
    flow->tls_rules = (struct tls_rules){0};
    if (!verdict_tls_wish(flow, &wish))
        return true;
    return narrow_versions(flow, &wish) && narrow_suites(flow, &wish) &&
           (!wish.trust || use_file(flow, &wish, wish.trust, wish.trust->trusted_ca, false,
                                    &flow->tls_rules.trust)) &&
           (!wish.client || use_file(flow, &wish, wish.client, wish.client->client_certificate,
                                     true, &flow->tls_rules.client));
}
