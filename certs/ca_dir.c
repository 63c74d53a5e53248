#include "certs/ca_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "certs/cert.h"
#include "certs/err_tls.h"
#include "certs/file.h"
#include "certs/file_set.h"
#include "certs/own.h"

enum { WARN_EVERY = 24 * 3600 };
#define TIME_FORMAT "%Y-%m-%dT%H:%M:%SZ"
#define DATE_SIZE   sizeof("2026-11-25T18:00:00Z")

static void date_text(time_t at, char out[DATE_SIZE])
{
    struct tm tm;

    gmtime_r(&at, &tm);
    if (!strftime(out, DATE_SIZE, TIME_FORMAT, &tm))
        out[0] = 0;
}

/* ---- reading ---- */

void ca_dir_fini(struct ca_dir *ca)
{
    authority_free(&ca->current);
    authority_free(&ca->next);
}

static int read_next_from(struct ca_dir *ca, const char *path, struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    char text[DATE_SIZE + 1] = "";
    struct tm tm = {0};
    const char *end;
    int rc = file_read(&file, path, err);

    if (rc < 0)
        return rc;
    if (file.len < sizeof(text))
        memcpy(text, file.data, file.len);
    end = strptime(text, TIME_FORMAT, &tm);
    if (!end || strcmp(end, "\n") != 0)
        return err_set(err, -EINVAL, "%s holds no time, such as 2026-11-25T18:00:00Z", path);
    ca->next_from = timegm(&tm);
    return 0;
}

static int read_next(struct ca_dir *ca, const char *dir, const char *version, struct err *err)
{
    char set[PATH_MAX], from[PATH_MAX];
    int rc;

    if (snprintf(set, sizeof(set), "%s/%s", dir, version) >= (int)sizeof(set) ||
        snprintf(from, sizeof(from), "%s/next.from", set) >= (int)sizeof(from))
        return err_set(err, -ENAMETOOLONG, "%.200s: name too long", dir);
    if (access(from, F_OK) < 0 && errno == ENOENT)
        return 0;
    rc = read_next_from(ca, from, err);
    if (rc == 0)
        rc = authority_load_next(&ca->next, set, err);
    return rc == -EKEYEXPIRED ? 0 : rc; /* as if there were none */
}

static int read_set(void *arg, const char *dir, const char *version, struct err *err)
{
    struct ca_dir *ca = arg;
    struct err why = {0};
    int rc;

    ca_dir_fini(ca);
    *ca = (struct ca_dir){.ours = file_set_is_ours(version)};
    rc = authority_load(&ca->current, dir, &why);
    if (rc == -EKEYEXPIRED) {
        ca->why = why;
        rc = 0;
    } else if (rc < 0 && err) {
        *err = why;
    }
    if (rc == 0 && ca->ours)
        rc = read_next(ca, dir, version, err);
    return rc;
}

int ca_dir_read(struct ca_dir *out, const char *dir, struct err *err)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    int rc = file_set_read(dir, read_set, &ca, err);

    if (rc < 0)
        return rc;
    *out = ca;
    ca = (struct ca_dir){0};
    return 0;
}

/* ---- what it means ---- */

struct rotation ca_dir_rotation(const struct ca_dir *ca)
{
    return (struct rotation){
        .current = ca->current,
        .current_until = ca->current ? ca->current->not_after : 0,
        .next = ca->next,
        .next_from = ca->next_from,
        .next_until = ca->next ? ca->next->not_after : 0,
    };
}

struct authority *ca_dir_signer(const struct ca_dir *ca, time_t now)
{
    const struct rotation rotation = ca_dir_rotation(ca);

    switch (rotation_signer(&rotation, now)) {
    case ROTATION_CURRENT:
        return ca->current;
    case ROTATION_NEXT:
        return ca->next;
    default:
        return NULL;
    }
}

/* Unless it has expired, or is there already. */
static bool add_root(STACK_OF(X509) *bundle, X509 *root, time_t now)
{
    time_t not_before, not_after;

    if (!cert_dates(root, &not_before, &not_after) || not_after < now)
        return true;
    for (int i = 0; i < sk_X509_num(bundle); i++)
        if (X509_cmp(sk_X509_value(bundle, i), root) == 0)
            return true;
    return sk_X509_push(bundle, root);
}

STACK_OF(X509) *ca_dir_bundle(const struct ca_dir *ca, time_t now)
{
    const struct authority *all[] = {ca_dir_signer(ca, now), ca->next, ca->current};
    STACK_OF(X509) *bundle = sk_X509_new_null();
    bool ok = bundle;

    for (size_t i = 0; ok && i < ARRAY_SIZE(all); i++)
        ok = !all[i] || add_root(bundle, all[i]->root, now);
    for (size_t i = 0; ok && i < ARRAY_SIZE(all); i++)
        for (int j = 0; ok && all[i] && j < sk_X509_num(all[i]->others); j++)
            ok = add_root(bundle, sk_X509_value(all[i]->others, j), now);
    if (ok)
        return bundle;
    sk_X509_free(bundle);
    return NULL;
}

void ca_dir_warn(const struct ca_dir *ca, const char *dir, time_t now, char out[CA_WARNING_SIZE])
{
    const struct authority *signer = ca_dir_signer(ca, now);
    const struct rotation rotation = ca_dir_rotation(ca);
    time_t due = signer ? rotation_due_at(&rotation, signer->not_before, now) : -1;
    char date[DATE_SIZE];

    out[0] = 0;
    if (due < 0 || now < due)
        return;
    date_text(signer->not_after, date);
    snprintf(out, CA_WARNING_SIZE, "the CA in %.300s expires at %s, and none comes after it; %s",
             dir, date,
             ca->ours ? "'sallyport ca rotate' makes one" : "who wrote it should renew it");
}

static time_t look_again(const struct ca_dir *ca, const struct authority *signer, time_t now)
{
    const struct rotation rotation = ca_dir_rotation(ca);
    time_t changes = rotation_changes_at(&rotation, now);
    time_t due = rotation_due_at(&rotation, signer->not_before, now);

    if (due >= 0 && due <= now)
        due = now + WARN_EVERY;
    return due >= 0 && due < changes ? due : changes;
}

int ca_dir_load(struct ca_now *out, const char *dir, struct err *err)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    time_t now = time(NULL);
    struct authority *signer;
    int rc = ca_dir_read(&ca, dir, err);

    if (rc < 0)
        return rc;
    signer = ca_dir_signer(&ca, now);
    if (!signer) {
        if (err)
            *err = ca.why;
        return -EKEYEXPIRED;
    }
    *out = (struct ca_now){.signer = signer, .look_again = look_again(&ca, signer, now)};
    ca_dir_warn(&ca, dir, now, out->warning);
    if (signer == ca.next)
        ca.next = NULL;
    else
        ca.current = NULL;
    return 0;
}

/* ---- writing ---- */

/* Its memory is wiped when it goes. */
static BIO *pem_of_key(EVP_PKEY *key)
{
    BIO *pem = BIO_new(BIO_s_secmem());

    if (pem && PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL))
        return pem;
    BIO_free_all(pem);
    return NULL;
}

static BIO *pem_of(STACK_OF(X509) *certs)
{
    BIO *pem = BIO_new(BIO_s_mem());
    bool ok = pem;

    for (int i = 0; ok && i < sk_X509_num(certs); i++)
        ok = PEM_write_bio_X509(pem, sk_X509_value(certs, i));
    if (ok)
        return pem;
    BIO_free_all(pem);
    return NULL;
}

static BIO *pem_of_cert(X509 *cert)
{
    BIO *pem = BIO_new(BIO_s_mem());

    if (pem && PEM_write_bio_X509(pem, cert))
        return pem;
    BIO_free_all(pem);
    return NULL;
}

static struct span bytes_of(BIO *bio)
{
    char *data = NULL;
    long len = bio ? BIO_get_mem_data(bio, &data) : 0;

    return span_of(data, len > 0 ? (size_t)len : 0);
}

/* `roots`: all that pods are to trust. */
static int write_ca(const char *dir, const struct ca_dir *ca, STACK_OF(X509) *roots,
                    struct err *err)
{
    CLEANUP(own_bio) BIO *cert = pem_of_cert(ca->current->cert);
    CLEANUP(own_bio) BIO *key = pem_of_key(ca->current->key);
    CLEANUP(own_bio) BIO *bundle = pem_of(roots);
    CLEANUP(own_bio) BIO *next_cert = ca->next ? pem_of_cert(ca->next->cert) : NULL;
    CLEANUP(own_bio) BIO *next_key = ca->next ? pem_of_key(ca->next->key) : NULL;
    char from[DATE_SIZE + 1];
    struct file_part parts[] = {
        {"tls.crt", bytes_of(cert), 0644, true},
        {"tls.key", bytes_of(key), 0600, true},
        {"ca.crt", bytes_of(bundle), 0644, true},
        {"next.crt", bytes_of(next_cert), 0644, false},
        {"next.key", bytes_of(next_key), 0600, false},
        {"next.from", span_of_text(from), 0644, false},
    };

    if (!cert || !key || !bundle || (ca->next && (!next_cert || !next_key)))
        return err_tls(err, -ENOMEM, "cannot write the CA into %s", dir);
    date_text(ca->next_from, from);
    strcat(from, "\n");
    parts[5].bytes = span_of_text(from);
    return file_set_write(dir, parts, ca->next ? ARRAY_SIZE(parts) : 3, err);
}

/* One writer at a time; readers need not know. */
static int lock_dir(int *out, const char *dir, struct err *err)
{
    CLEANUP(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return err_sys(err, -errno, "cannot open %s", dir);
    *out = fd_take(&fd);
    return 0;
}

static int make_dir(const char *dir, struct err *err)
{
    char path[PATH_MAX];
    size_t len = strlen(dir);

    if (!len || len >= sizeof(path))
        return err_set(err, -EINVAL, "'%.200s' names no directory", dir);
    memcpy(path, dir, len + 1);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return err_sys(err, -errno, "cannot make %s", path);
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_sys(err, -errno, "cannot make %s", dir);
    return 0;
}

/* Of anybody's, whole or not: links of ours that lead nowhere yet are nothing. */
static int refuse_existing(const char *dir, struct err *err)
{
    static const char *const names[] = {"..data",      "tls.crt",    "tls.key",      "ca.crt",
                                        "ca-cert.pem", "ca-key.pem", "root-cert.pem"};
    char version[FILE_SET_NAME_SIZE];

    file_set_version(dir, version);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[PATH_MAX];

        if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) >= (int)sizeof(path))
            return err_set(err, -ENAMETOOLONG, "%.200s: name too long", dir);
        if (access(path, F_OK) == 0 || errno != ENOENT || (i == 0 && version[0]))
            return err_set(err, -EEXIST,
                           "%s is there already, and is left as it is; 'sallyport ca show --ca %s' "
                           "tells what it is",
                           path, dir);
    }
    return 0;
}

int ca_dir_init(const char *dir, const char *node_name, struct err *err)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    CLEANUP(fd_close) int lock = -1;
    STACK_OF(X509) *bundle;
    int rc = make_dir(dir, err);

    if (rc == 0)
        rc = lock_dir(&lock, dir, err);
    if (rc == 0)
        rc = refuse_existing(dir, err);
    if (rc == 0)
        rc = authority_new(&ca.current, node_name, err);
    if (rc < 0)
        return rc;
    bundle = ca_dir_bundle(&ca, time(NULL));
    rc = bundle ? write_ca(dir, &ca, bundle, err)
                : err_set(err, -ENOMEM, "cannot write the CA into %s", dir);
    sk_X509_free(bundle);
    return rc;
}

static void succeed(struct authority **gone, struct authority *by)
{
    authority_free(gone);
    *gone = by;
}

/* On the authorities alone; the roots are for who knows those of before. */
static int take_step(struct ca_dir *ca, enum rotation_step step, const char *node_name,
                     struct err *err)
{
    char date[DATE_SIZE];

    switch (step) {
    case ROTATION_REFUSED:
        date_text(ca->next_from, date);
        return err_set(err, -EALREADY,
                       "the next CA is published already and signs from %s on; --now has it sign "
                       "at once",
                       date);
    case ROTATION_PUBLISH:
        return authority_new(&ca->next, node_name, err);
    case ROTATION_PROMOTE:
        succeed(&ca->current, TAKE(ca->next));
        return 0;
    default:
        authority_free(&ca->current);
        return authority_new(&ca->current, node_name, err);
    }
}

static int write_step(const char *dir, const struct ca_dir *ca, STACK_OF(X509) *before, time_t now,
                      struct err *err)
{
    STACK_OF(X509) *roots = sk_X509_new_null();
    bool ok = roots && add_root(roots, ca->current->root, now) &&
              (!ca->next || add_root(roots, ca->next->root, now));
    int rc;

    for (int i = 0; ok && i < sk_X509_num(before); i++)
        ok = add_root(roots, sk_X509_value(before, i), now);
    rc = ok ? write_ca(dir, ca, roots, err)
            : err_set(err, -ENOMEM, "cannot write the CA into %s", dir);
    sk_X509_free(roots);
    return rc;
}

/* Those pods trust now; the caller's, for they outlive the authorities they come from. */
static STACK_OF(X509) *roots_before(const struct ca_dir *ca, time_t now)
{
    STACK_OF(X509) *bundle = ca_dir_bundle(ca, now);
    STACK_OF(X509) *kept = bundle ? X509_chain_up_ref(bundle) : NULL;

    sk_X509_free(bundle);
    return kept;
}

int ca_dir_rotate(const char *dir, const char *node_name, time_t overlap, bool at_once,
                  struct ca_rotated *done, struct err *err)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    CLEANUP(own_x509s) STACK_OF(X509) *before = NULL;
    CLEANUP(fd_close) int lock = -1;
    time_t now = time(NULL);
    struct rotation rotation;
    enum rotation_step step;
    int rc = lock_dir(&lock, dir, err);

    if (rc == 0)
        rc = ca_dir_read(&ca, dir, err);
    if (rc < 0)
        return rc;
    if (!ca.ours)
        return err_set(err, -EPERM,
                       "the CA in %s was not made by 'sallyport ca init': who wrote it rotates it, "
                       "and a running agent follows",
                       dir);
    before = roots_before(&ca, now);
    if (!before)
        return err_set(err, -ENOMEM, "cannot rotate the CA in %s", dir);
    rotation = ca_dir_rotation(&ca);
    step = rotation_step(&rotation, at_once, now);
    if (ca.next && ca_dir_signer(&ca, now) == ca.next)
        succeed(&ca.current, TAKE(ca.next));
    if (step == ROTATION_PUBLISH)
        ca.next_from = now + overlap;
    rc = take_step(&ca, step, node_name, err);
    if (rc == 0)
        rc = write_step(dir, &ca, before, now, err);
    if (rc == 0)
        *done = (struct ca_rotated){.step = step, .signs_from = ca.next_from};
    return rc;
}
