#include "certs/trust.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>

#include "certs/err_tls.h"
#include "certs/file.h"
#include "certs/own.h"
#include "certs/pem.h"

const char *const trust_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Alpine, Arch */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* where the one above leads */
    "/etc/ssl/cert.pem",                                 /* OpenSSL's default on Alpine */
    "/etc/ssl/ca-bundle.pem",                            /* SUSE */
    "/var/lib/ca-certificates/ca-bundle.pem",            /* where the one above leads */
    NULL,
};

const char *const trust_variables[] = {
    "SSL_CERT_FILE",      "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",     "AWS_CA_BUNDLE",
    "PIP_CERT",           "CARGO_HTTP_CAINFO",
    "DENO_CERT",          "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",  "PERL_LWP_SSL_CA_FILE",
    "HTTPS_CA_FILE",      "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",  NULL,
};

static void dir_close(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* Adds the certificates of one file; their number, or a negative errno. */
static int add_file(X509_STORE *store, const char *path, struct known *known, struct err *err)
{
    CLEANUP(own_x509s) STACK_OF(X509) *certs = sk_X509_new_null();
    unsigned broken;
    int rc;

    if (!certs)
        return err_tls(err, -ENOMEM, "cannot read %s", path);
    rc = pem_read(certs, path, known, &broken, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < sk_X509_num(certs); i++)
        if (!X509_STORE_add_cert(store, sk_X509_value(certs, i)))
            return err_tls(err, -ENOMEM, "cannot keep the certificates of %s", path);
    return sk_X509_num(certs);
}

/* "<8 hex digits>.<number>", the name under which OpenSSL looks for a subject. */
static bool is_hashed_name(const char *name)
{
    size_t hash = strspn(name, "0123456789abcdef");

    return hash == 8 && name[8] == '.' && name[9] &&
           strspn(name + 9, "0123456789") == strlen(name + 9);
}

static int add_dir(X509_STORE *store, const char *path, struct known *known, struct err *err)
{
    CLEANUP(dir_close) DIR *dir = opendir(path);
    const struct dirent *entry;
    int total = 0;

    if (!dir)
        return err_sys(err, -errno, "cannot read %s", path);
    while ((entry = readdir(dir))) {
        char file[PATH_MAX];
        int rc;

        if (!is_hashed_name(entry->d_name) ||
            snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) >= PATH_MAX)
            continue;
        rc = add_file(store, file, known, NULL); /* a link to nowhere is usual in cut-down images */
        if (rc > 0)
            total += rc;
    }
    return total;
}

static int add_path(X509_STORE *store, const char *path, struct known *known, struct err *err)
{
    struct stat st;
    bool is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int rc = is_dir ? add_dir(store, path, known, err) : add_file(store, path, known, err);

    if (rc == 0)
        return err_set(err, -EINVAL, "%s holds no certificate%s", path,
                       is_dir ? " under a hashed name (c_rehash makes them)" : " in PEM");
    return rc;
}

int trust_roots_new(X509_STORE **out, const char *const *files, const bool *required, size_t len,
                    struct known *known, struct err *err)
{
    CLEANUP(own_x509_store) X509_STORE *store = X509_STORE_new();

    if (!store || !X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN))
        return err_tls(err, -ENOMEM, "cannot make a store of roots");
    for (size_t i = 0; i < len; i++) {
        int rc = add_path(store, files[i], known, required[i] ? err : NULL);

        if (rc < 0 && required[i])
            return rc;
    }
    *out = TAKE(store);
    return 0;
}

/* The same certificate in a store, which goes on owning it; its settings may be others. */
static X509 *find(X509_STORE *trust, X509 *cert)
{
    X509_OBJECT *wanted = X509_OBJECT_new();
    const X509_OBJECT *found = NULL;

    if (wanted && X509_OBJECT_set1_X509(wanted, cert) == 1 && X509_STORE_lock(trust)) {
        found = X509_OBJECT_retrieve_match(X509_STORE_get0_objects(trust), wanted);
        X509_STORE_unlock(trust);
    }
    X509_OBJECT_free(wanted);
    return found ? X509_OBJECT_get0_X509(found) : NULL;
}

/* By the settings of a "TRUSTED CERTIFICATE". */
static bool is_rejected(X509 *cert)
{
    return X509_check_trust(cert, X509_TRUST_SSL_SERVER, 0) == X509_TRUST_REJECTED;
}

bool trust_holds(X509_STORE *trust, X509 *root)
{
    X509 *found = find(trust, root);

    return found && !is_rejected(found);
}

bool trust_same(X509_STORE *one, X509_STORE *other)
{
    CLEANUP(own_x509s) STACK_OF(X509) *certs = X509_STORE_get1_all_certs(one);
    int len = sk_X509_OBJECT_num(X509_STORE_get0_objects(other));
    bool same = certs && sk_X509_num(certs) == len;

    for (int i = 0; same && i < len; i++) {
        X509 *cert = sk_X509_value(certs, i), *found = find(other, cert);

        same = found && is_rejected(found) == is_rejected(cert);
    }
    return same;
}

bool trust_join(X509_STORE *trust, X509_STORE *more)
{
    CLEANUP(own_x509s) STACK_OF(X509) *certs = X509_STORE_get1_all_certs(more);
    bool ok = certs;

    for (int i = 0; ok && i < sk_X509_num(certs); i++)
        ok = X509_STORE_add_cert(trust, sk_X509_value(certs, i));
    return ok;
}

int trust_join_new(X509_STORE **out, X509_STORE *one, X509_STORE *other, struct err *err)
{
    CLEANUP(own_x509_store) X509_STORE *store = NULL;
    int result = trust_roots_new(&store, NULL, NULL, 0, NULL, err);

    if (result < 0)
        return result;
    if ((one && !trust_join(store, one)) || (other && !trust_join(store, other)))
        return err_tls(err, -ENOMEM, "cannot make a store of roots");
    *out = TAKE(store);
    return 0;
}

int trust_merge(const char *path, const char *original, const STACK_OF(X509) *roots,
                struct err *err)
{
    static const char comment[] = "# The authority of Sallyport on this node\n";
    CLEANUP(file_free) struct file file = {0};
    CLEANUP(own_bio) BIO *merged = BIO_new(BIO_s_mem());
    bool ok = merged;
    char *data;
    long len;

    if (original) {
        int rc = file_read(&file, original, err);

        if (rc < 0)
            return rc;
    }
    if (ok && file.len)
        ok = BIO_write(merged, file.data, (int)file.len) == (int)file.len &&
             (file.data[file.len - 1] == '\n' || BIO_puts(merged, "\n") > 0);
    ok = ok && BIO_puts(merged, comment) > 0;
    for (int i = 0; ok && i < sk_X509_num(roots); i++)
        ok = PEM_write_bio_X509(merged, sk_X509_value(roots, i));
    if (!ok)
        return err_tls(err, -ENOMEM, "cannot write %s", path);
    len = BIO_get_mem_data(merged, &data);
    return file_replace(path, span_of(data, (size_t)len), original ? &file : NULL, err);
}
