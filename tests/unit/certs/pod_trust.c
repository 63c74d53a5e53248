#include "certs/pod_trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "certs/own.h"
#include "certs/trust.h"
#include "make.h"

static int file_of(const char *text, off_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    if (size)
        assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

/* Also that a certificate is there to be rejected. */
static void comes_as_it_was_written(void **state)
{
    CLEANUP(pod_trust_fini)
    struct pod_trust trust = {.roots = X509_STORE_new(), .len = 2}, read = {0};
    struct made one = make_cert(&(struct make){.name = "one"});
    struct made other = make_cert(&(struct make){.name = "other"});
    int fds[POD_TRUST_FILES];
    char text[64] = "";
    struct err err;

    (void)state;
    X509_add1_reject_object(other.cert, OBJ_nid2obj(NID_server_auth));
    trust.files[0] = X509_STORE_new();
    trust.files[1] = X509_STORE_new(); /* nothing */
    assert_true(X509_STORE_add_cert(trust.roots, one.cert));
    assert_true(X509_STORE_add_cert(trust.roots, other.cert));
    assert_true(X509_STORE_add_cert(trust.files[0], one.cert));
    assert_int_equal(pod_trust_write(&trust, fds, &err), 0);
    assert_int_equal(pod_trust_read(&read, fds, 3, &err), 0);
    assert_int_equal(read.len, 2);
    assert_true(trust_same(read.roots, trust.roots));
    assert_int_equal(pread(fds[1], text, sizeof(text) - 1, 0) > 0, 1);
    assert_int_equal(strncmp(text, "-----BEGIN CERTIFICATE-----\n", 28),
                     0); /* as all can read it */
    assert_false(trust_holds(read.roots, other.cert));
    assert_true(trust_same(read.files[0], trust.files[0]));
    assert_true(trust_same(read.files[1], trust.files[1]));
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    made_free(&one);
    made_free(&other);
}

static const struct {
    const char *name, *text;
    off_t size;
    const char *why;
} bad[] = {
    {"garbage", "garbage", 0, "not certificates in PEM alone"},
    {"zeros", "", 4096, "not certificates in PEM alone"},
    {"a broken one", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0,
     "not certificates in PEM alone"},
    {"too much", "", POD_TRUST_BYTES_MAX + 1, "files of at most 4 MiB"},
};

static void refuses_what_is_no_certificates(void **state)
{
    struct pod_trust out = {0};
    struct err err;
    int ends[2], none[POD_TRUST_FILES + 1] = {-1};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int fds[2] = {file_of("", 0), file_of(bad[i].text, bad[i].size)};

        print_message("  %s\n", bad[i].name);
        assert_int_equal(pod_trust_read(&out, fds, 2, &err), -EINVAL);
        assert_non_null(strstr(err.text, bad[i].why));
        assert_null(out.roots);
        close(fds[0]);
        close(fds[1]);
    }
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(pod_trust_read(&out, ends, 1, &err), -EINVAL);
    assert_int_equal(pod_trust_read(&out, none, 1, &err), -EINVAL);
    assert_int_equal(pod_trust_read(&out, none, 0, &err), -EINVAL);
    assert_int_equal(pod_trust_read(&out, none, POD_TRUST_FILES + 1, &err), -EINVAL);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_as_it_was_written),
        cmocka_unit_test(refuses_what_is_no_certificates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
