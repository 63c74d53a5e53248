#include "certs/authority.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "certs/cert.h"
#include "certs/err_tls.h"
#include "certs/file.h"
#include "certs/own.h"
#include "certs/pem.h"

enum {
    LIFE = 90 * 24 * 3600,
    BACKDATE = 3600, /* for pods' clocks that are behind ours */
};

/* The files of a directory, by whoever names them. */
struct layout {
    const char *cert, *key, *root;
    const char *chain; /* NULL: cert holds it too */
};
static const struct layout layouts[] = {
    {"tls.crt", "tls.key", "ca.crt", NULL},
    {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"},
};
/* Ours: one that is published, and signs later. */
static const struct layout next_layout = {"next.crt", "next.key", "next.crt", NULL};

void authority_free(struct authority **authority)
{
    if (!*authority)
        return;
    X509_free((*authority)->cert);
    EVP_PKEY_free((*authority)->key);
    sk_X509_pop_free((*authority)->chain, X509_free);
    sk_X509_pop_free((*authority)->others, X509_free);
    X509_free((*authority)->root);
    EVP_MD_free((*authority)->sha256);
    ASN1_OCTET_STRING_free((*authority)->key_id);
    free(TAKE(*authority));
}

static struct authority *authority_empty(void)
{
    CLEANUP(authority_free) struct authority *authority = calloc(1, sizeof(*authority));

    if (!authority)
        return NULL;
    authority->chain = sk_X509_new_null();
    authority->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!authority->chain || !authority->sha256)
        return NULL;
    return TAKE(authority);
}

static bool narrow_dates(struct authority *authority, const X509 *cert)
{
    time_t not_before, not_after;

    if (!cert_dates(cert, &not_before, &not_after))
        return false;
    if (not_before > authority->not_before)
        authority->not_before = not_before;
    if (not_after < authority->not_after)
        authority->not_after = not_after;
    return true;
}

/* Fills what is derived from cert, chain and root. */
static bool read_once(struct authority *authority)
{
    const ASN1_OCTET_STRING *stored = X509_get0_subject_key_id(authority->cert);

    authority->key_id =
        stored ? ASN1_OCTET_STRING_dup(stored) : cert_key_id(authority->cert, authority->sha256);
    if (!authority->key_id ||
        !cert_dates(authority->cert, &authority->not_before, &authority->not_after))
        return false;
    for (int i = 0; i < sk_X509_num(authority->chain); i++)
        if (!narrow_dates(authority, sk_X509_value(authority->chain, i)))
            return false;
    return narrow_dates(authority, authority->root);
}

/* "Sallyport <node> <random>": the random part keeps the authorities of two runs apart, because a
 * client that trusts both looks them up by subject. */
static bool name_authority(X509 *cert, const char *node_name)
{
    unsigned char raw[4];
    char text[65]; /* ub-common-name is 64, RFC 5280 appendix A.1 */
    X509_NAME *name = X509_get_subject_name(cert);

    if (RAND_bytes(raw, sizeof(raw)) != 1)
        return false;
    snprintf(text, sizeof(text), "Sallyport %.45s %02x%02x%02x%02x", node_name, raw[0], raw[1],
             raw[2], raw[3]);
    for (char *c = text; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '-';
    return X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_ASC,
                                      (const unsigned char *)"Sallyport", -1, -1, 0) &&
           X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
                                      (const unsigned char *)text, -1, -1, 0) &&
           X509_set_issuer_name(cert, name);
}

static X509 *certify_self(EVP_PKEY *key, const EVP_MD *sha256, const char *node_name)
{
    static const int signs[] = {5, 6, -1}; /* keyCertSign, cRLSign */
    time_t now = time(NULL);
    CLEANUP(own_x509) X509 *cert = cert_begin(key, now - BACKDATE, now - BACKDATE + LIFE);
    ASN1_OCTET_STRING *key_id = cert ? cert_key_id(cert, sha256) : NULL;
    bool ok = key_id && name_authority(cert, node_name) && cert_add_basic(cert, true) &&
              cert_add_usage(cert, signs) && cert_add_key_ids(cert, key_id, key_id) &&
              cert_sign(cert, key, sha256);

    ASN1_OCTET_STRING_free(key_id);
    return ok ? TAKE(cert) : NULL;
}

int authority_new(struct authority **out, const char *node_name, struct err *err)
{
    CLEANUP(authority_free) struct authority *authority = authority_empty();

    if (!authority)
        return err_tls(err, -ENOMEM, "cannot make an authority");
    authority->key = EVP_EC_gen("P-256");
    if (authority->key)
        authority->cert = certify_self(authority->key, authority->sha256, node_name);
    if (!authority->cert || !X509_up_ref(authority->cert))
        return err_tls(err, -EIO, "cannot make an authority");
    authority->root = authority->cert;
    if (!read_once(authority))
        return err_tls(err, -EIO, "cannot make an authority");
    *out = TAKE(authority);
    return 0;
}

struct paths {
    char cert[PATH_MAX], key[PATH_MAX], root[PATH_MAX], chain[PATH_MAX];
};

static bool join(char out[PATH_MAX], const char *dir, const char *name)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

static int name_files(struct paths *paths, const char *dir, const struct layout *layout,
                      struct err *err)
{
    if (!join(paths->cert, dir, layout->cert) || !join(paths->key, dir, layout->key) ||
        !join(paths->root, dir, layout->root) ||
        !join(paths->chain, dir, layout->chain ? layout->chain : layout->cert))
        return err_set(err, -ENAMETOOLONG, "authority directory %.200s: name too long", dir);
    return 0;
}

static int find_files(struct paths *paths, const char *dir, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
        int rc = name_files(paths, dir, &layouts[i], err);

        if (rc < 0)
            return rc;
        if (access(paths->cert, F_OK) == 0 || errno != ENOENT)
            return 0; /* unreadable is for who reads it to tell */
    }
    return err_set(err, -ENOENT,
                   "%s holds no authority: put tls.crt, tls.key and ca.crt there, or ca-cert.pem, "
                   "ca-key.pem, cert-chain.pem and root-cert.pem, or have one made: sallyport ca "
                   "init %s",
                   dir, dir);
}

/* NULL when cert may sign, with `below` other authorities between it and a leaf. */
static const char *why_not_sign(X509 *cert, long below)
{
    long path_len = X509_get_pathlen(cert);

    if (!(X509_get_key_usage(cert) & KU_KEY_CERT_SIGN)) /* all ones without the extension */
        return "its keyUsage lacks keyCertSign";
    if (X509_check_ca(cert) != 1) /* other values: tolerated without basicConstraints */
        return "its basicConstraints do not say CA:TRUE";
    if (X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 1) != 1)
        return "its extendedKeyUsage lacks serverAuth";
    if (path_len >= 0 && path_len < below)
        return "its path length is too short";
    return NULL;
}

static int check_chain(const STACK_OF(X509) *chain, const struct paths *paths, struct err *err)
{
    int len = sk_X509_num(chain);

    for (int i = 0; i < len; i++) {
        const char *why = why_not_sign(sk_X509_value(chain, i), i);

        if (why && i == 0)
            return err_set(err, -EINVAL, "%s may not sign: %s", paths->cert, why);
        if (why)
            return err_set(err, -EINVAL, "%s may not sign for %s: %s",
                           i == len - 1 ? paths->root : paths->chain, paths->cert, why);
    }
    return 0;
}

/* Finds the way from cert to one of the roots, and keeps it as chain and root. */
static int find_chain(struct authority *authority, STACK_OF(X509) *between, STACK_OF(X509) *roots,
                      const struct paths *paths, struct err *err)
{
    CLEANUP(own_x509s) STACK_OF(X509) *found = NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int why = X509_V_ERR_OUT_OF_MEM, at = 0, rc;

    if (ctx && X509_STORE_CTX_init(ctx, NULL, authority->cert, between)) {
        X509_STORE_CTX_set0_trusted_stack(ctx, roots);
        if (X509_verify_cert(ctx) == 1)
            found = X509_STORE_CTX_get1_chain(ctx);
        else
            at = X509_STORE_CTX_get_error_depth(ctx);
        why = X509_STORE_CTX_get_error(ctx);
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    if (!found)
        return err_set(err, why == X509_V_ERR_CERT_HAS_EXPIRED ? -EKEYEXPIRED : -EINVAL,
                       "%s does not lead to a root in %s: %s (certificate %d)", paths->cert,
                       paths->root, X509_verify_cert_error_string(why), at + 1);
    rc = check_chain(found, paths, err);
    if (rc < 0)
        return rc;
    authority->root = sk_X509_pop(found);
    sk_X509_free(authority->chain); /* the empty one */
    authority->chain = TAKE(found);
    return 0;
}

static void keep_others(struct authority *authority, STACK_OF(X509) *roots)
{
    for (int i = sk_X509_num(roots) - 1; i >= 0; i--)
        if (X509_cmp(sk_X509_value(roots, i), authority->root) == 0)
            X509_free(sk_X509_delete(roots, i));
    authority->others = roots;
}

static int load(struct authority **out, const struct paths *paths, struct err *err)
{
    CLEANUP(authority_free) struct authority *authority = authority_empty();
    CLEANUP(own_x509s) STACK_OF(X509) *certs = sk_X509_new_null();
    CLEANUP(own_x509s) STACK_OF(X509) *roots = sk_X509_new_null();
    int rc;

    if (!authority || !certs || !roots)
        return err_tls(err, -ENOMEM, "cannot load the authority in %s", paths->cert);
    if ((rc = pem_read_whole(certs, paths->cert, err)) < 0)
        return rc;
    authority->cert = sk_X509_shift(certs); /* the first one signs; the rest lies behind it */
    if ((rc = pem_read_key(&authority->key, authority->cert, paths->key, paths->cert, err)) < 0 ||
        (rc = pem_read_whole(roots, paths->root, err)) < 0)
        return rc;
    if (strcmp(paths->chain, paths->cert) != 0) {
        rc = pem_read_whole(certs, paths->chain, err);
        if (rc < 0 && rc != -ENOENT)
            return rc;
    }
    rc = find_chain(authority, certs, roots, paths, err);
    if (rc < 0)
        return rc;
    if (!read_once(authority))
        return err_tls(err, -EINVAL, "cannot read the dates or key of %s", paths->cert);
    keep_others(authority, TAKE(roots));
    *out = TAKE(authority);
    return 0;
}

int authority_load(struct authority **out, const char *dir, struct err *err)
{
    struct paths paths;
    int rc = find_files(&paths, dir, err);

    return rc < 0 ? rc : load(out, &paths, err);
}

int authority_load_next(struct authority **out, const char *dir, struct err *err)
{
    struct paths paths;
    int rc = name_files(&paths, dir, &next_layout, err);

    return rc < 0 ? rc : load(out, &paths, err);
}
