/* leaf_fuzz: a name, and behind its NUL what an upstream shows as its certificate (DER). Whatever
 * they are, there is a leaf or a sentence that says why not; and a leaf leads to our authority, is
 * for that name and no other, and is valid within the dates of both. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "certs/cert.h"
#include "certs/mint.h"
#include "certs/own.h"
#include "certs/store.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct authority *authority;
static struct store *store;
static SSL_CTX *ctx;
static X509_STORE *roots;
static time_t now;

/* Stands before libc's: what the corpus has found stays what it is. */
time_t time(time_t *out)
{
    if (out)
        *out = now;
    return now;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct timespec ts;

    (void)argc;
    (void)argv;
    clock_gettime(CLOCK_REALTIME, &ts);
    now = ts.tv_sec;
    CHECK(authority_new(&authority, "node", NULL) == 0);
    CHECK(store_new(&store, 16, NULL) == 0);
    ctx = SSL_CTX_new(TLS_server_method());
    roots = X509_STORE_new();
    CHECK(ctx && roots && X509_STORE_add_cert(roots, authority->root));
    return 0;
}

static void check_chain(X509 *leaf, const char *name)
{
    X509_STORE_CTX *chain = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;

    CHECK(chain && X509_STORE_CTX_init(chain, roots, leaf, authority->chain));
    X509_STORE_CTX_set_flags(chain, X509_V_FLAG_X509_STRICT);
    CHECK(X509_STORE_CTX_set_purpose(chain, X509_PURPOSE_SSL_SERVER));
    param = X509_STORE_CTX_get0_param(chain);
    if (name && !X509_VERIFY_PARAM_set1_ip_asc(param, name))
        CHECK(X509_VERIFY_PARAM_set1_host(param, name, 0));
    if (X509_verify_cert(chain) != 1)
        fprintf(stderr, "%s\n", X509_verify_cert_error_string(X509_STORE_CTX_get_error(chain)));
    CHECK(X509_STORE_CTX_get_error(chain) == X509_V_OK);
    X509_STORE_CTX_free(chain);
}

static void check_leaf(X509 *leaf, const char *name, const X509 *upstream)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    time_t from, until, not_before, not_after;

    /* without one the common name counts: check_chain(); those of upstream are all of one type */
    CHECK(!name || sk_GENERAL_NAME_num(names) <= 1);
    for (int i = 0; !name && i < sk_GENERAL_NAME_num(names); i++)
        CHECK(sk_GENERAL_NAME_value(names, i)->type == GEN_DNS);
    GENERAL_NAMES_free(names);
    CHECK(cert_dates(leaf, &from, &until));
    CHECK(from <= now && now < until);
    CHECK(from >= authority->not_before && until <= authority->not_after);
    CHECK(cert_dates(upstream, &not_before, &not_after));
    CHECK(from >= not_before && until <= not_after);
    CHECK(X509_get_extended_key_usage(leaf) == XKU_SSL_SERVER);
    CHECK(!(X509_get_extension_flags(leaf) & EXFLAG_CA));
    check_chain(leaf, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL, *der = end ? end + 1 : NULL;
    CLEANUP(own_x509)
    X509 *upstream = end ? d2i_X509(NULL, &der, (long)(data + size - der)) : NULL;
    const char *name = end && end > data ? (const char *)data : NULL; /* else upstream's names */
    const struct leaf_order order = {
        .authority = authority, .kind = LEAF_ECDSA, .name = name, .upstream = upstream};
    char spelled[MINT_NAME_SIZE];
    struct err err = {0};
    int result;
    SSL *ssl;

    ERR_clear_error();
    if (!upstream)
        return 0;
    ssl = SSL_new(ctx);
    CHECK(ssl);
    for (int turn = 0; turn < 2; turn++) { /* minted, and found again */
        result = store_use_leaf(store, ssl, &order, &err);
        CHECK(ERR_peek_error() == 0);
        if (result < 0) {
            CHECK(err.text[0] && !SSL_get_certificate(ssl));
            CHECK(result == -EINVAL || result == -EKEYEXPIRED || result == -EIO);
            break;
        }
        CHECK(!name || mint_name_spell(name, spelled));
        check_leaf(SSL_get_certificate(ssl), name ? spelled : NULL, upstream);
    }
    ERR_clear_error();
    SSL_free(ssl);
    return 0;
}
