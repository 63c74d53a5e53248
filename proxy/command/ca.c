/* ca: make, show, publish and rotate the CA that signs what pods are shown. */
#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "certs/ca_dir.h"
#include "certs/cert.h"
#include "certs/err_tls.h"
#include "certs/own.h"
#include "events/json_writer.h"
#include "proxy/command/ca_options.h"
#include "proxy/command/command.h"

static void node_name(char out[256])
{
    out[255] = 0;
    if (gethostname(out, 255) < 0)
        out[0] = 0;
}

/* ---- show ---- */

/* One certificate, as it is told. */
struct row {
    const char *state;
    char subject[512], not_before[32], not_after[32], sha256[65], signs_from[32];
};

static void time_text(time_t at, char out[32])
{
    struct tm tm;

    gmtime_r(&at, &tm);
    if (!strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
        out[0] = 0;
}

static int row_fill(struct row *row, const char *state, const X509 *cert, struct err *err)
{
    CLEANUP(own_bio) BIO *subject = BIO_new(BIO_s_mem());
    unsigned char digest[EVP_MAX_MD_SIZE];
    time_t not_before, not_after;
    unsigned len = 0;
    int n;

    *row = (struct row){.state = state};
    /* RFC 2253, so that no name can look like two, or fool a terminal */
    if (!subject ||
        X509_NAME_print_ex(subject, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) < 0 ||
        !cert_dates(cert, &not_before, &not_after) ||
        !X509_digest(cert, EVP_sha256(), digest, &len))
        return err_tls(err, -EINVAL, "a certificate cannot be shown");
    n = BIO_read(subject, row->subject, sizeof(row->subject) - 1);
    row->subject[n > 0 ? n : 0] = 0;
    time_text(not_before, row->not_before);
    time_text(not_after, row->not_after);
    for (unsigned i = 0; i < len; i++)
        snprintf(row->sha256 + 2 * (size_t)i, 3, "%02x", digest[i]);
    return 0;
}

static void tell_row(struct buffer *out, const struct row *row, bool json)
{
    size_t mark;

    if (!json) {
        buffer_format(out, "%-8s %s  %s to %s  sha256 %s", row->state, row->subject,
                      row->not_before, row->not_after, row->sha256);
        if (row->signs_from[0])
            buffer_format(out, "  signs from %s", row->signs_from);
        buffer_format(out, "\n");
        return;
    }
    mark = json_begin(out, NULL, '{');
    json_text(out, "state", row->state);
    json_text(out, "subject", row->subject);
    json_text(out, "not_before", row->not_before);
    json_text(out, "not_after", row->not_after);
    json_text(out, "sha256", row->sha256);
    json_text(out, "signs_from", row->signs_from);
    json_end(out, mark, '}');
}

/* Who signs first, then who will, then the other roots that pods are to trust. */
static int tell_rows(struct buffer *out, const struct ca_dir *ca, time_t now, bool json,
                     struct err *err)
{
    const struct authority *signer = ca_dir_signer(ca, now);
    const struct authority *next = ca->next == signer ? NULL : ca->next;
    STACK_OF(X509) *bundle = ca_dir_bundle(ca, now);
    struct row row = {0};
    int rc = bundle ? row_fill(&row, "current", signer->cert, err)
                    : err_set(err, -ENOMEM, "out of memory");

    if (rc == 0)
        tell_row(out, &row, json);
    if (rc == 0 && next && (rc = row_fill(&row, "next", next->cert, err)) == 0) {
        time_text(ca->next_from, row.signs_from);
        tell_row(out, &row, json);
    }
    for (int i = 0; rc == 0 && i < sk_X509_num(bundle); i++) {
        const X509 *root = sk_X509_value(bundle, i);

        if (X509_cmp(root, signer->cert) == 0 || (next && X509_cmp(root, next->cert) == 0))
            continue;
        rc = row_fill(&row, ca->ours ? "previous" : "root", root, err);
        if (rc == 0)
            tell_row(out, &row, json);
    }
    sk_X509_free(bundle);
    return rc;
}

static int print(const struct buffer *out, struct err *err)
{
    if (out->failed)
        return err_set(err, -ENOMEM, "out of memory");
    if (fwrite(out->data, 1, out->len, stdout) != out->len || fflush(stdout) != 0)
        return err_sys(err, -errno, "it could not be written");
    return 0;
}

static int show(const struct ca_options *options, struct err *err)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    CLEANUP(buffer_fini) struct buffer out = {0};
    char warning[CA_WARNING_SIZE];
    time_t now = time(NULL);
    size_t object = 0, list = 0;
    int rc = ca_dir_read(&ca, options->dir, err);

    if (rc < 0)
        return rc;
    if (!ca_dir_signer(&ca, now)) {
        *err = ca.why;
        return err->code;
    }
    ca_dir_warn(&ca, options->dir, now, warning);
    if (options->json) {
        object = json_begin(&out, NULL, '{');
        json_text(&out, "directory", options->dir);
        json_text(&out, "warning", warning);
        list = json_begin(&out, "authorities", '[');
    }
    rc = tell_rows(&out, &ca, now, options->json, err);
    if (options->json) {
        json_end(&out, list, ']');
        json_end(&out, object, '}');
        out.len -= out.len > 0; /* the comma behind it */
        buffer_format(&out, "\n");
    } else if (warning[0]) {
        buffer_format(&out, "warning: %s\n", warning);
    }
    return rc < 0 ? rc : print(&out, err);
}

/* ---- the others ---- */

static int bundle(const struct ca_options *options, struct err *err)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    CLEANUP(own_bio) BIO *out = BIO_new_fp(stdout, BIO_NOCLOSE);
    time_t now = time(NULL);
    STACK_OF(X509) *roots;
    int rc = ca_dir_read(&ca, options->dir, err);
    bool ok;

    if (rc < 0)
        return rc;
    if (!ca_dir_signer(&ca, now)) {
        *err = ca.why;
        return err->code;
    }
    roots = ca_dir_bundle(&ca, now);
    ok = out && roots;
    for (int i = 0; ok && i < sk_X509_num(roots); i++)
        ok = PEM_write_bio_X509(out, sk_X509_value(roots, i));
    sk_X509_free(roots);
    if (!ok)
        return err_tls(err, -EIO, "the bundle could not be written");
    return fflush(stdout) == 0 ? 0 : err_sys(err, -errno, "the bundle could not be written");
}

static int init(const struct ca_options *options, struct err *err)
{
    char name[256];
    int rc;

    node_name(name);
    rc = ca_dir_init(options->dir, name, err);
    if (rc == 0)
        printf("made a CA in %s; pods must trust what 'sallyport ca bundle' prints\n",
               options->dir);
    return rc;
}

static int rotate(const struct ca_options *options, struct err *err)
{
    struct ca_rotated done = {0};
    char name[256], from[32];
    int rc;

    node_name(name);
    rc = ca_dir_rotate(options->dir, name, options->overlap, options->at_once, &done, err);
    if (rc < 0)
        return rc;
    time_text(done.signs_from, from);
    if (done.step == ROTATION_PUBLISH)
        printf("the next CA is in the bundle, and signs from %s on: until then, have pods trust "
               "what 'sallyport ca bundle' prints\n",
               from);
    else if (done.step == ROTATION_PROMOTE)
        printf("the published CA signs from now on\n");
    else
        printf("a fresh CA signs from now on: pods that do not trust what 'sallyport ca bundle' "
               "prints now refuse it\n");
    return 0;
}

int command_ca(int argc, char **argv)
{
    static int (*const actions[])(const struct ca_options *, struct err *) = {
        [CA_INIT] = init,
        [CA_SHOW] = show,
        [CA_BUNDLE] = bundle,
        [CA_ROTATE] = rotate,
    };
    struct ca_options options;
    struct err err = {0};
    int status = ca_options_parse(&options, argc, argv);

    if (status)
        return status - 1;
    prctl(PR_SET_DUMPABLE, 0); /* the CA's key must not end in a core dump */
    if (actions[options.action](&options, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    return 0;
}
