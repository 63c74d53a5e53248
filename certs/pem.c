#include "certs/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>

#include "certs/err_tls.h"
#include "certs/file.h"
#include "certs/own.h"

/* OpenSSL has no other sign for the end of the input than that it found no further beginning. */
static bool at_end(void)
{
    unsigned long last = ERR_peek_last_error();

    return ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
}

int pem_read(STACK_OF(X509) *into, const char *path, unsigned *broken, struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    CLEANUP(own_bio) BIO *bio = NULL;
    int rc = file_read(&file, path, err);

    if (rc < 0)
        return rc;
    bio = BIO_new_mem_buf(file.data, (int)file.len);
    if (!bio)
        return err_tls(err, -ENOMEM, "cannot read %s", path);
    *broken = 0;
    for (;;) {
        size_t left = BIO_ctrl_pending(bio);
        X509 *cert;

        ERR_clear_error();
        cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        if (!cert && at_end())
            break;
        if (cert && sk_X509_push(into, cert))
            continue;
        if (cert || BIO_ctrl_pending(bio) == left) { /* no step forward: it could not even begin */
            X509_free(cert);
            return err_tls(err, -ENOMEM, "cannot read %s", path);
        }
        ++*broken;
    }
    ERR_clear_error();
    return 0;
}
