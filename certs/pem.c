#include "certs/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <string.h>

#include "certs/err_tls.h"
#include "certs/file.h"
#include "certs/own.h"

/* OpenSSL has no other sign for the end of the input than that it found no further beginning. */
static bool at_end(void)
{
    unsigned long last = ERR_peek_last_error();

    return ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
}

/* As PEM_read_bio_X509_AUX() does it. */
static X509 *next_cert(BIO *bio, struct known *known)
{
    unsigned char *der = NULL;
    long len = 0;
    X509 *cert = NULL;

    if (PEM_bytes_read_bio(&der, &len, NULL, PEM_STRING_X509_TRUSTED, bio, NULL, NULL))
        cert = known_trusted_cert(known, span_of(der, (size_t)len));
    OPENSSL_free(der);
    return cert;
}

int pem_parse(STACK_OF(X509) *into, struct span bytes, const char *name, struct known *known,
              unsigned *broken, struct err *err)
{
    CLEANUP(own_bio) BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.len);

    if (!bio)
        return err_tls(err, -ENOMEM, "cannot read %s", name);
    *broken = 0;
    for (;;) {
        size_t left = BIO_ctrl_pending(bio);
        X509 *cert;

        ERR_clear_error();
        cert = next_cert(bio, known);
        if (!cert && at_end())
            break;
        if (cert && sk_X509_push(into, cert))
            continue;
        if (cert || BIO_ctrl_pending(bio) == left) { /* no step forward: it could not even begin */
            X509_free(cert);
            return err_tls(err, -ENOMEM, "cannot read %s", name);
        }
        ++*broken;
    }
    ERR_clear_error();
    return 0;
}

int pem_read(STACK_OF(X509) *into, const char *path, struct known *known, unsigned *broken,
             struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    int rc = file_read(&file, path, err);

    return rc < 0 ? rc : pem_parse(into, span_of(file.data, file.len), path, known, broken, err);
}

/* Most readers know no other kind than the plain one. */
static bool write_cert(BIO *bio, X509 *cert)
{
    bool plain = !X509_get0_trust_objects(cert) && !X509_get0_reject_objects(cert);

    return plain ? PEM_write_bio_X509(bio, cert) : PEM_write_bio_X509_AUX(bio, cert);
}

char *pem_write(const STACK_OF(X509) *certs)
{
    CLEANUP(own_bio) BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio;
    char *text = NULL;
    long len;

    for (int i = 0; ok && i < sk_X509_num(certs); i++)
        ok = write_cert(bio, sk_X509_value(certs, i));
    len = ok ? BIO_get_mem_data(bio, &text) : 0;
    return ok ? strndup(text ? text : "", (size_t)len) : NULL;
}

int pem_read_whole(STACK_OF(X509) *into, const char *path, struct err *err)
{
    int before = sk_X509_num(into);
    unsigned broken = 0;
    int rc = pem_read(into, path, NULL, &broken, err);

    if (rc < 0)
        return rc;
    if (broken) /* one left out would be missed much later */
        return err_set(err, -EINVAL, "%u of the certificates in %s cannot be read", broken, path);
    if (sk_X509_num(into) == before)
        return err_set(err, -EINVAL, "%s holds no certificate in PEM", path);
    return 0;
}

/* OpenSSL would ask on the terminal. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

int pem_read_key(EVP_PKEY **out, X509 *cert, const char *path, const char *cert_path,
                 struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    CLEANUP(own_bio) BIO *bio = NULL;
    CLEANUP(own_pkey) EVP_PKEY *key = NULL;
    int rc = file_read(&file, path, err);

    if (rc < 0)
        return rc;
    if (file.mode & 077)
        return err_set(err, -EPERM,
                       "%s has mode %04o: others than its owner must have no access to the key; "
                       "chmod 0600 it, or set defaultMode 0400 on its volume",
                       path, file.mode);
    bio = BIO_new_mem_buf(file.data, (int)file.len);
    if (bio)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (!key)
        return err_tls(err, -EINVAL, "%s holds no private key in PEM without a password", path);
    if (!X509_check_private_key(cert, key))
        return err_tls(err, -EINVAL, "%s is not the key of %s", path, cert_path);
    *out = TAKE(key);
    return 0;
}
