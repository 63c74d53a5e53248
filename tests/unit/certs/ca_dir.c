#include "certs/ca_dir.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "certs/file_set.h"
#include "make.h"

static time_t offset; /* of the clock, from the real one */

/* Stands before libc's, so that a test can wait for months. OpenSSL asks it, too. */
time_t time(time_t *out)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += offset;
    if (out)
        *out = ts.tv_sec;
    return ts.tv_sec;
}

static const char *made(void **state)
{
    static char dir[100];

    snprintf(dir, sizeof(dir), "%s/not/there/yet", make_empty_dir(state));
    assert_int_equal(ca_dir_init(dir, "node-1", NULL), 0);
    return dir;
}

static enum rotation_step rotate(const char *dir, time_t overlap, bool at_once)
{
    struct ca_rotated done = {0};
    struct err err = {0};
    int rc = ca_dir_rotate(dir, "node-1", overlap, at_once, &done, &err);

    if (rc < 0 && rc != -EALREADY)
        fail_msg("%s", err.text);
    return rc < 0 ? ROTATION_REFUSED : done.step;
}

static struct ca_now load(const char *dir)
{
    struct ca_now ca = {0};
    struct err err = {0};

    if (ca_dir_load(&ca, dir, &err) < 0)
        fail_msg("%s", err.text);
    return ca;
}

/* How many roots pods must trust, this one among them. */
static int bundle_with(const char *dir, X509 *root)
{
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    STACK_OF(X509) *bundle;
    int len, found = 0;

    assert_int_equal(ca_dir_read(&ca, dir, NULL), 0);
    bundle = ca_dir_bundle(&ca, time(NULL));
    len = sk_X509_num(bundle);
    for (int i = 0; i < len; i++)
        found += X509_cmp(sk_X509_value(bundle, i), root) == 0;
    sk_X509_free(bundle);
    return found == 1 ? len : -1;
}

static void makes_one_that_can_be_read(void **state)
{
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *signer = load(dir).signer;
    struct stat st;

    assert_int_equal(signer->not_after - signer->not_before, 90 * DAY);
    assert_int_equal(X509_get_pathlen(signer->cert), 0);
    assert_int_equal(bundle_with(dir, signer->root), 1);
    assert_int_equal(stat(at(dir, "tls.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void leaves_what_is_there(void **state)
{
    static const char *const files[] = {"tls.crt", "tls.key", "ca.crt", "ca-key.pem"};
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *before = load(dir).signer, *after = NULL;
    struct err err = {0};

    assert_int_equal(ca_dir_init(dir, "node-1", &err), -EEXIST);
    after = load(dir).signer;
    assert_int_equal(X509_cmp(before->cert, after->cert), 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *other = make_empty_dir(state);

        write_text(at(other, files[i]), "somebody's");
        assert_int_equal(ca_dir_init(other, "node-1", &err), -EEXIST);
        assert_non_null(strstr(err.text, files[i]));
    }
}

/* As a disk that is full, or a crash, leaves it. */
static void a_start_that_failed_is_no_hindrance(void **state)
{
    const char *dir = make_empty_dir(state);
    struct rlimit none = {0, RLIM_INFINITY}, before;
    struct err err = {0};

    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    none.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &none);
    assert_int_equal(ca_dir_init(dir, "node-1", &err), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_non_null(strstr(err.text, "/tls.crt"));
    assert_int_equal(symlink("..data/tls.crt", at(dir, "tls.crt")), 0);
    assert_int_equal(symlink("..sallyport-gone", at(dir, "..data_tmp")), 0);
    assert_int_equal(ca_dir_init(dir, "node-1", &err), 0);
    CLEANUP(authority_free) struct authority *made_at_last = load(dir).signer;
}

static void a_full_disk_leaves_the_old_one_whole(void **state)
{
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *before = load(dir).signer, *after = NULL;
    struct rlimit little, usual;
    struct ca_rotated done;
    struct err err = {0};

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &usual);
    for (rlim_t size = 0; size < 700; size += 100) { /* each of the files is the one too many */
        little = (struct rlimit){size, usual.rlim_max};
        setrlimit(RLIMIT_FSIZE, &little);
        assert_int_equal(ca_dir_rotate(dir, "node-1", DAY, true, &done, &err), -EFBIG);
        setrlimit(RLIMIT_FSIZE, &usual);
        authority_free(&after);
        after = load(dir).signer;
        assert_int_equal(X509_cmp(before->cert, after->cert), 0);
        assert_int_equal(bundle_with(dir, before->root), 1);
    }
}

static void rotates_in_two_steps(void **state)
{
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *old = load(dir).signer, *fresh = NULL;
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    struct ca_now now;

    assert_int_equal(rotate(dir, DAY, false), ROTATION_PUBLISH);
    now = load(dir);
    assert_int_equal(X509_cmp(now.signer->cert, old->cert), 0);
    assert_in_range(now.look_again, time(NULL) + DAY - 5, time(NULL) + DAY);
    authority_free(&now.signer);
    assert_int_equal(rotate(dir, DAY, false), ROTATION_REFUSED);
    offset = DAY; /* nobody writes anything */
    fresh = load(dir).signer;
    assert_int_not_equal(X509_cmp(fresh->cert, old->cert), 0);
    assert_int_equal(bundle_with(dir, old->root), 2); /* leaves of the old one may yet live */
    assert_int_equal(bundle_with(dir, fresh->root), 2);
    assert_int_equal(rotate(dir, DAY, false), ROTATION_PUBLISH);
    assert_int_equal(bundle_with(dir, old->root), 3);
    assert_int_equal(rotate(dir, DAY, false), ROTATION_REFUSED);
    offset = 90 * DAY; /* the two old ones have expired */
    assert_int_equal(ca_dir_read(&ca, dir, NULL), 0);
    offset = 0;
}

static void at_once_takes_the_published_one(void **state)
{
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *old = load(dir).signer, *fresh = NULL, *third = NULL;
    CLEANUP(ca_dir_fini) struct ca_dir ca = {0};
    CLEANUP(authority_free) struct authority *none = NULL;

    assert_int_equal(rotate(dir, DAY, false), ROTATION_PUBLISH);
    assert_int_equal(ca_dir_read(&ca, dir, NULL), 0);
    assert_int_equal(rotate(dir, DAY, true), ROTATION_PROMOTE);
    fresh = load(dir).signer;
    assert_int_equal(X509_cmp(fresh->cert, ca.next->cert), 0);
    assert_int_equal(bundle_with(dir, old->root), 2);
    assert_int_equal(rotate(dir, DAY, true), ROTATION_REPLACE);
    third = load(dir).signer;
    assert_int_not_equal(X509_cmp(third->cert, fresh->cert), 0);
    assert_int_equal(bundle_with(dir, old->root), 3);
    assert_int_equal(authority_load_next(&none, at(dir, "..data"), NULL), -ENOENT);
}

static void an_expired_one_is_told_and_replaced(void **state)
{
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *old = load(dir).signer, *fresh = NULL;
    struct ca_now now = load(dir);
    struct err err = {0};

    assert_string_equal(now.warning, "");
    assert_in_range(now.look_again, time(NULL) + 59 * DAY, time(NULL) + 61 * DAY);
    authority_free(&now.signer);
    offset = 61 * DAY;
    now = load(dir);
    assert_non_null(strstr(now.warning, dir));
    assert_in_range(now.look_again, time(NULL) + DAY - 5, time(NULL) + DAY);
    authority_free(&now.signer);
    offset = 91 * DAY;
    assert_int_equal(ca_dir_load(&now, dir, &err), -EKEYEXPIRED);
    assert_non_null(strstr(err.text, "/tls.crt"));
    assert_non_null(strstr(err.text, "expired"));
    assert_int_equal(rotate(dir, DAY, false), ROTATION_REPLACE);
    fresh = load(dir).signer;
    assert_int_not_equal(X509_cmp(fresh->cert, old->cert), 0);
    assert_int_equal(bundle_with(dir, fresh->root), 1);
    offset = 0;
}

static void a_next_one_steps_in_for_an_expired(void **state)
{
    const char *dir = made(state);
    CLEANUP(authority_free) struct authority *old = load(dir).signer, *fresh = NULL;

    offset = 80 * DAY;
    assert_int_equal(rotate(dir, 30 * DAY, false), ROTATION_PUBLISH);
    offset = 91 * DAY;
    fresh = load(dir).signer;
    assert_int_not_equal(X509_cmp(fresh->cert, old->cert), 0);
    offset = 0;
}

static void refuses_to_rotate_what_others_wrote(void **state)
{
    const char *dir = make_empty_dir(state);
    CLEANUP(made_free) struct made root = make_cert(&(struct make){.name = "root"});
    CLEANUP(made_free) struct made other = make_cert(&(struct make){.name = "another root"});
    CLEANUP(authority_free) struct authority *signer = NULL;
    struct ca_rotated done;
    struct err err = {0};

    write_cert(at(dir, "tls.crt"), root.cert);
    write_cert(at(dir, "ca.crt"), root.cert);
    write_cert(at(dir, "ca.crt"), other.cert);
    write_key(at(dir, "tls.key"), root.key);
    assert_int_equal(ca_dir_rotate(dir, "node-1", DAY, true, &done, &err), -EPERM);
    assert_non_null(strstr(err.text, dir));
    signer = load(dir).signer;
    assert_int_equal(bundle_with(dir, other.cert), 2);
}

static void refuses_a_next_one_that_is_not_whole(void **state)
{
    static const struct {
        const char *name, *file, *text; /* text NULL: removed */
    } cases[] = {
        {"no time", "next.from", "tomorrow\n"},
        {"half a time", "next.from", "2026-11-25T18:00:00Z"},
        {"an empty time", "next.from", ""},
        {"no certificate", "next.crt", NULL},
        {"garbage for a certificate", "next.crt", "\x30\x82"},
        {"no key", "next.key", NULL},
        {"garbage for a key", "next.key", "hello"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *dir = made(state);
        char path[200];
        struct ca_now now;
        struct err err = {0};

        print_message("  %s\n", cases[i].name);
        assert_int_equal(rotate(dir, DAY, false), ROTATION_PUBLISH);
        snprintf(path, sizeof(path), "%s/..data/%s", dir, cases[i].file);
        if (cases[i].text)
            write_bytes(path, cases[i].text, strlen(cases[i].text), 0600);
        else
            assert_int_equal(remove(path), 0);
        assert_true(ca_dir_load(&now, dir, &err) < 0);
        assert_non_null(strstr(err.text, cases[i].file));
    }
}

/* Kubernetes' way, seen in between: the link leads nowhere. */
static void says_what_is_wrong_with_a_half_swapped_volume(void **state)
{
    const char *dir = make_empty_dir(state);
    struct ca_now now;
    struct err err = {0};

    assert_int_equal(symlink("..gone", at(dir, "..data")), 0);
    assert_int_equal(symlink("..data/tls.crt", at(dir, "tls.crt")), 0);
    assert_int_equal(ca_dir_load(&now, dir, &err), -ENOENT);
    assert_non_null(strstr(err.text, dir));
    assert_int_equal(ca_dir_init(dir, "node-1", &err), -EEXIST); /* somebody's */
}

static atomic_bool stop;
static atomic_ulong reads;

static void *read_again_and_again(void *arg)
{
    while (!atomic_load(&stop)) {
        struct ca_now now = {0};
        struct err err = {0};

        if (ca_dir_load(&now, arg, &err) < 0) {
            print_message("    %s\n", err.text);
            atomic_store(&stop, true);
            return NULL;
        }
        authority_free(&now.signer);
        atomic_fetch_add(&reads, 1);
    }
    return arg;
}

/* Whoever reads while it is written sees one or the other, and never a failure. */
static void is_never_seen_half_written(void **state)
{
    char dir[100];
    pthread_t reader;
    void *well;

    snprintf(dir, sizeof(dir), "%s", made(state));
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&reader, NULL, read_again_and_again, dir), 0);
    for (int i = 0; i < 50; i++) {
        unsigned long seen = atomic_load(&reads);

        assert_int_equal(rotate(dir, DAY, i % 2), i % 2 ? ROTATION_PROMOTE : ROTATION_PUBLISH);
        while (atomic_load(&reads) == seen &&
               !atomic_load(&stop)) /* it is read as often as it is written */
            usleep(100);
    }
    atomic_store(&stop, true);
    pthread_join(reader, &well);
    assert_non_null(well);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_one_that_can_be_read, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(leaves_what_is_there, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(a_start_that_failed_is_no_hindrance, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_one_whole, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(rotates_in_two_steps, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(at_once_takes_the_published_one, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(an_expired_one_is_told_and_replaced, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(a_next_one_steps_in_for_an_expired, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_to_rotate_what_others_wrote, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_a_next_one_that_is_not_whole, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(says_what_is_wrong_with_a_half_swapped_volume, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(is_never_seen_half_written, make_dir, make_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
