/* make: certificates, keys and files as a test wants them, wrong ones too. Whatever fails here is
 * the test's own fault, so it fails the test at once. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "certs/own.h"

enum { DAY = 24 * 3600 };

struct made {
    X509 *cert;
    EVP_PKEY *key;
};

/* What differs from a plain authority: P-256, self-signed, CA:TRUE, keyCertSign, 30 days. */
struct make {
    const char *name;                              /* CN; NULL for "test root" */
    const char *algorithm;                         /* "P-384", "ED25519", "RSA" */
    const struct made *issuer;                     /* NULL: itself */
    const char *basic, *usage, *purposes, *key_id; /* extensions; NULL: usual; "": none */
    const char *alt;                               /* subjectAltName; NULL: none */
    long from, until; /* seconds from now; both 0 for -1 day to 30 days */
};

static inline EVP_PKEY *make_key(const char *algorithm)
{
    EVP_PKEY *key;

    if (algorithm && strcmp(algorithm, "RSA") == 0)
        key = EVP_RSA_gen(2048);
    else if (algorithm && strcmp(algorithm, "ED25519") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        key = EVP_EC_gen(algorithm ? algorithm : "P-256");
    assert_non_null(key);
    return key;
}

static inline void make_extension(X509V3_CTX *ctx, X509 *cert, int nid, const char *given,
                                  const char *usual)
{
    const char *value = given ? given : usual;
    X509_EXTENSION *extension;

    if (!value || !*value)
        return;
    extension = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    assert_non_null(extension);
    assert_true(X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static inline struct made make_cert(const struct make *how)
{
    static long serial = 1;
    struct made made = {.cert = X509_new(), .key = make_key(how->algorithm)};
    const struct made *issuer = how->issuer ? how->issuer : &made;
    const char *name = how->name ? how->name : "test root";
    bool usual_dates = how->from == 0 && how->until == 0;
    X509V3_CTX ctx;

    assert_non_null(made.cert);
    assert_true(X509_set_version(made.cert, 2));
    assert_true(ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++));
    X509_gmtime_adj(X509_getm_notBefore(made.cert), usual_dates ? -DAY : how->from);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), usual_dates ? 30 * DAY : how->until);
    assert_true(X509_set_pubkey(made.cert, made.key));
    assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(made.cert), "CN", MBSTRING_UTF8,
                                           (const unsigned char *)name, -1, -1, 0));
    assert_true(X509_set_issuer_name(made.cert, X509_get_subject_name(issuer->cert)));
    X509V3_set_ctx(&ctx, issuer->cert, made.cert, NULL, NULL, 0);
    make_extension(&ctx, made.cert, NID_basic_constraints, how->basic, "critical,CA:TRUE");
    make_extension(&ctx, made.cert, NID_key_usage, how->usage, "critical,keyCertSign,cRLSign");
    make_extension(&ctx, made.cert, NID_ext_key_usage, how->purposes, NULL);
    make_extension(&ctx, made.cert, NID_subject_alt_name, how->alt, NULL);
    make_extension(&ctx, made.cert, NID_subject_key_identifier, how->key_id, "hash");
    if (issuer != &made && X509_get_ext_by_NID(issuer->cert, NID_subject_key_identifier, -1) >= 0)
        make_extension(&ctx, made.cert, NID_authority_key_identifier, NULL, "keyid:always");
    assert_true(X509_sign(made.cert, issuer->key,
                          EVP_PKEY_is_a(issuer->key, "ED25519") ? NULL : EVP_sha256()) > 0);
    return made;
}

static inline void made_free(struct made *made)
{
    X509_free(TAKE(made->cert));
    EVP_PKEY_free(TAKE(made->key));
}

/* A directory of its own for each test, in cmocka's *state; see make_dir_remove. */
static inline int make_dir(void **state)
{
    static char dir[64];

    strcpy(dir, "/tmp/sallyport-certs-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* OpenSSL's queue must be empty too: what waits there would be taken for the next caller's. */
static inline int make_dir_remove(void **state)
{
    assert_int_equal(ERR_peek_error(), 0);
    return nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* An empty directory inside that one, the same for every case of a table. */
static inline const char *make_empty_dir(void **state)
{
    static char dir[80];

    snprintf(dir, sizeof(dir), "%s/case", (const char *)*state);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(dir, 0700), 0);
    return dir;
}

/* A stack of one, for the next call. */
static inline const STACK_OF(X509) *ours(X509 *cert)
{
    static STACK_OF(X509) *certs;

    if (!certs)
        certs = sk_X509_new_null();
    sk_X509_zero(certs);
    assert_true(sk_X509_push(certs, cert) == 1);
    return certs;
}

/* DIR/NAME; one of four buffers in turn. */
static inline const char *at(const char *dir, const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % ARRAY_SIZE(paths)];

    assert_true(snprintf(path, sizeof(paths[0]), "%s/%s", dir, name) < (int)sizeof(paths[0]));
    return path;
}

static inline void write_bytes(const char *path, const void *data, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text), 0644);
}

/* The two files are for the same people; the umask counts for nothing. */
static inline void assert_same_access(const char *path, const char *as)
{
    struct stat st, want;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(stat(as, &want), 0);
    assert_int_equal(st.st_mode & 07777, want.st_mode & 0777);
    assert_int_equal(st.st_uid, want.st_uid);
    assert_int_equal(st.st_gid, want.st_gid);
}

/* Appends. */
static inline void write_cert(const char *path, X509 *cert)
{
    FILE *file = fopen(path, "a");

    assert_non_null(file);
    assert_true(PEM_write_X509(file, cert));
    assert_int_equal(fclose(file), 0);
}

static inline void write_key(const char *path, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    assert_int_equal(fclose(file), 0);
}

/* The whole file, with a NUL behind; the caller's. */
static inline char *read_text(const char *path, size_t *len)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    assert_non_null(file);
    assert_non_null(text);
    *len = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    return text;
}

/* Whether leaf, sent with chain, passes for name against root alone under OpenSSL's strict rules.
 * Prints OpenSSL's reason if not. */
static inline bool verifies(X509 *leaf, STACK_OF(X509) *chain, X509 *root, const char *name)
{
    X509_STORE *roots = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;
    bool ok;

    assert_non_null(roots);
    assert_non_null(ctx);
    assert_true(X509_STORE_add_cert(roots, root));
    assert_true(X509_STORE_CTX_init(ctx, roots, leaf, chain));
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    assert_true(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER));
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_auth_level(param, 2); /* Debian's default for TLS */
    if (!X509_VERIFY_PARAM_set1_ip_asc(param, name))
        assert_true(X509_VERIFY_PARAM_set1_host(param, name, 0));
    ok = X509_verify_cert(ctx) == 1;
    if (!ok)
        print_message("    %s\n", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(roots);
    return ok;
}
