#include "certs/anchors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "certs/err_tls.h"
#include "certs/own.h"
#include "certs/trust.h"

static void own_store_ctx(X509_STORE_CTX **ctx)
{
    X509_STORE_CTX_free(*ctx);
}

int anchors_init(struct anchors *anchors, const struct authority *main, const char *node_name,
                 X509_STORE *const *trust, size_t len, struct err *err)
{
    *anchors = (struct anchors){.main = main, .len = len};
    memcpy(anchors->trust, trust, len * sizeof(*trust));
    for (unsigned set = 0; set < (1U << len) - 1; set++) {
        char name[300];
        int result;

        /* names of their own: some libraries find an issuer by its name alone */
        snprintf(name, sizeof(name), "%u %.255s", set, node_name);
        result = authority_new(&anchors->made[set], name, err);
        if (result < 0)
            return result;
    }
    return 0;
}

void anchors_init_again(struct anchors *anchors, const struct anchors *before,
                        X509_STORE *const *trust)
{
    *anchors = *before;
    anchors->lent = true;
    memcpy(anchors->trust, trust, before->len * sizeof(*trust));
}

void anchors_fini(struct anchors *anchors)
{
    for (size_t i = 0; i < anchors->len; i++)
        X509_STORE_free(anchors->trust[i]);
    for (size_t i = 0; i < ANCHORS_SETS && !anchors->lent; i++)
        authority_free(&anchors->made[i]);
    *anchors = (struct anchors){0};
}

/* Verified anew, as SSL did: another root may lead to the same certificate. */
static bool verifies(X509_STORE *trust, SSL *server, X509 *cert)
{
    CLEANUP(own_store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;

    if (!ctx || X509_STORE_CTX_init(ctx, trust, cert, SSL_get_peer_cert_chain(server)) != 1 ||
        X509_STORE_CTX_set_default(ctx, "ssl_server") != 1)
        return false;
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(server));
    return X509_VERIFY_PARAM_set1(param, SSL_get0_param(server)) == 1 && X509_verify_cert(ctx) == 1;
}

const struct authority *anchors_choose(const struct anchors *anchors, SSL *server)
{
    const STACK_OF(X509) *chain = SSL_get0_verified_chain(server);
    X509 *root = sk_X509_num(chain) > 0 ? sk_X509_value(chain, sk_X509_num(chain) - 1) : NULL;
    CLEANUP(own_x509) X509 *cert = SSL_get1_peer_certificate(server);
    unsigned set = 0;

    if (!anchors->len)
        return anchors->main;
    if (!cert) /* nobody trusts what is not there */
        return anchors->made[0];
    for (size_t i = 0; i < anchors->len; i++)
        if ((root && trust_holds(anchors->trust[i], root)) ||
            verifies(anchors->trust[i], server, cert))
            set |= 1U << i;
    return anchors->made[set] ? anchors->made[set] : anchors->main;
}

STACK_OF(X509) *anchors_roots(const struct anchors *anchors, size_t file)
{
    STACK_OF(X509) *roots = sk_X509_new_null();
    bool ok = roots && sk_X509_push(roots, anchors->main->root);

    for (unsigned set = 0; ok && set < ANCHORS_SETS; set++)
        if (anchors->made[set] && (file == ANCHORS_ANY || (set >> file & 1)))
            ok = sk_X509_push(roots, anchors->made[set]->root);
    if (ok)
        return roots;
    sk_X509_free(roots);
    return NULL;
}

int anchors_show(struct anchors_shown *out, const struct anchors *anchors, struct err *err)
{
    CLEANUP(anchors_shown_fini) struct anchors_shown shown = {{NULL}};

    for (size_t file = 0; file <= ANCHORS_ANY; file++) {
        STACK_OF(X509) *roots = anchors_roots(anchors, file);

        shown.roots[file] = roots ? X509_chain_up_ref(roots) : NULL;
        sk_X509_free(roots);
        if (!shown.roots[file])
            return err_tls(err, -ENOMEM, "the CA's certificates");
    }
    *out = shown;
    shown = (struct anchors_shown){{NULL}};
    return 0;
}

void anchors_shown_fini(struct anchors_shown *shown)
{
    for (size_t file = 0; file <= ANCHORS_ANY; file++) {
        sk_X509_pop_free(shown->roots[file], X509_free);
        shown->roots[file] = NULL;
    }
}
