#include "certs/pod_trust.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs/err_tls.h"
#include "certs/own.h"
#include "certs/pem.h"
#include "certs/trust.h"

void pod_trust_fini(struct pod_trust *trust)
{
    X509_STORE_free(trust->roots);
    for (size_t i = 0; i < ANCHORS_MAX; i++)
        X509_STORE_free(trust->files[i]);
    *trust = (struct pod_trust){0};
}

/* ---- reading ---- */

static int read_certs(STACK_OF(X509) *certs, int fd, struct known *known, struct err *err)
{
    struct stat file;
    char path[64];
    unsigned broken = 0;
    int result;

    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode) || file.st_size > POD_TRUST_BYTES_MAX)
        return err_set(err, -EINVAL, "what a pod trusts comes in files of at most %d MiB",
                       POD_TRUST_BYTES_MAX >> 20);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    result = pem_read(certs, path, known, &broken, err);
    if (result == 0 && (broken || (file.st_size && sk_X509_num(certs) == 0)))
        result = err_set(err, -EINVAL, "what a pod trusts is not certificates in PEM alone");
    return result;
}

static int read_one(X509_STORE **out, int fd, struct known *known, struct err *err)
{
    CLEANUP(own_x509s) STACK_OF(X509) *certs = sk_X509_new_null();
    CLEANUP(own_x509_store) X509_STORE *store = NULL;
    int result = certs ? trust_roots_new(&store, NULL, NULL, 0, NULL, err)
                       : err_set(err, -ENOMEM, "what a pod trusts");

    if (result == 0)
        result = read_certs(certs, fd, known, err);
    for (int i = 0; result == 0 && i < sk_X509_num(certs); i++)
        if (!X509_STORE_add_cert(store, sk_X509_value(certs, i)))
            result = err_tls(err, -ENOMEM, "what a pod trusts");
    if (result == 0)
        *out = TAKE(store);
    return result;
}

int pod_trust_read(struct pod_trust *out, const int *fds, size_t len, struct err *err)
{
    CLEANUP(pod_trust_fini) struct pod_trust trust = {0};
    CLEANUP(known_fini) struct known known = {0};
    int result;

    if (len < 1 || len > POD_TRUST_FILES)
        return err_set(err, -EINVAL, "what a pod trusts comes in 1 to %d files", POD_TRUST_FILES);
    result = read_one(&trust.roots, fds[0], &known, err);
    for (size_t i = 1; result == 0 && i < len; i++) {
        result = read_one(&trust.files[i - 1], fds[i], &known, err);
        trust.len = i;
    }
    if (result < 0)
        return result;
    *out = trust;
    trust = (struct pod_trust){0};
    return 0;
}

/* ---- writing ---- */

static int write_one(int *out, X509_STORE *store, struct err *err)
{
    CLEANUP(own_x509s) STACK_OF(X509) *certs = X509_STORE_get1_all_certs(store);
    CLEANUP(text_free) char *text = certs ? pem_write(certs) : NULL;
    CLEANUP(fd_close) int fd = memfd_create("sallyport-trust", MFD_CLOEXEC);
    size_t len = text ? strlen(text) : 0;

    if (!text)
        return err_tls(err, -ENOMEM, "what the command trusts");
    if (fd < 0 || (len && write(fd, text, len) != (ssize_t)len))
        return err_sys(err, fd < 0 ? -errno : -EIO, "what the command trusts");
    *out = fd_take(&fd);
    return 0;
}

int pod_trust_write(const struct pod_trust *trust, int fds[POD_TRUST_FILES], struct err *err)
{
    size_t len = 0;
    int result = write_one(&fds[len++], trust->roots, err);

    for (size_t i = 0; result == 0 && i < trust->len; i++)
        result = write_one(&fds[len++], trust->files[i], err);
    while (result < 0 && --len) /* the last was not made */
        fd_close(&fds[len - 1]);
    return result;
}
