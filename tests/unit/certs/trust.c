#include "certs/trust.h"

#include <errno.h>

#include "make.h"

static struct made one, two, three;

static int set_up(void **state)
{
    one = make_cert(&(struct make){.name = "root one"});
    two = make_cert(&(struct make){.name = "root two"});
    three = make_cert(&(struct make){.name = "root three"});
    return make_dir(state);
}

static int tear_down(void **state)
{
    made_free(&one);
    made_free(&two);
    made_free(&three);
    return make_dir_remove(state);
}

static bool trusts(X509_STORE *store, X509 *root)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok;

    assert_true(X509_STORE_CTX_init(ctx, store, root, NULL));
    ok = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    return ok;
}

static void gathers_the_roots_of_all_files(void **state)
{
    const char *first = at(*state, "first.pem"), *second = at(*state, "second.pem");
    const char *const files[] = {first, "/nonexistent/bundle.pem", second, first};
    static const bool required[] = {true, false, true, true};
    CLEANUP(own_x509_store) X509_STORE *store = NULL;
    STACK_OF(X509_OBJECT) *all;

    write_text(first, "# a bundle with words\nroot one\n=======\n");
    write_cert(first, one.cert);
    write_cert(second, one.cert); /* twice, and in two files */
    write_cert(second, two.cert);
    write_cert(second, two.cert);
    assert_int_equal(trust_roots_new(&store, files, required, ARRAY_SIZE(files), NULL, NULL), 0);
    assert_true(trusts(store, one.cert));
    assert_true(trusts(store, two.cert));
    assert_false(trusts(store, three.cert));
    all = X509_STORE_get0_objects(store);
    assert_int_equal(sk_X509_OBJECT_num(all), 2);
}

static void takes_an_intermediate_for_an_anchor(void **state)
{
    const char *path = at(*state, "bundle.pem");
    static const bool required[] = {true};
    CLEANUP(made_free) struct made between = make_cert(&(struct make){.name = "x", .issuer = &one});
    CLEANUP(made_free)
    struct made leaf = make_cert(
        &(struct make){.name = "y", .issuer = &between, .basic = "CA:FALSE", .usage = ""});
    CLEANUP(own_x509_store) X509_STORE *store = NULL;

    write_cert(path, between.cert);
    assert_int_equal(trust_roots_new(&store, &path, required, 1, NULL, NULL), 0);
    assert_true(trusts(store, leaf.cert));
}

static void skips_a_broken_certificate_alone(void **state)
{
    const char *path = at(*state, "bundle.pem");
    static const bool required[] = {true};
    CLEANUP(own_x509_store) X509_STORE *store = NULL;

    write_text(path, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
                     "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    write_cert(path, one.cert);
    write_key(at(*state, "key.pem"), one.key); /* other blocks are no certificates */
    write_cert(at(*state, "key.pem"), two.cert);
    assert_int_equal(trust_roots_new(&store, &path, required, 1, NULL, NULL), 0);
    assert_true(trusts(store, one.cert));
    path = at(*state, "key.pem");
    own_x509_store(&store);
    assert_int_equal(trust_roots_new(&store, &path, required, 1, NULL, NULL), 0);
    assert_true(trusts(store, two.cert));
}

static void reads_trusted_certificates_and_their_settings(void **state)
{
    const char *path = at(*state, "bundle.pem");
    static const bool required[] = {true};
    CLEANUP(own_x509_store) X509_STORE *store = NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    FILE *file = fopen(path, "w");

    X509_add1_trust_object(one.cert, OBJ_nid2obj(NID_server_auth));
    X509_add1_reject_object(two.cert, OBJ_nid2obj(NID_server_auth));
    assert_true(PEM_write_X509_AUX(file, one.cert));
    assert_true(PEM_write_X509_AUX(file, two.cert));
    fclose(file);
    assert_int_equal(trust_roots_new(&store, &path, required, 1, NULL, NULL), 0);
    for (int rejected = 0; rejected < 2; rejected++) {
        CLEANUP(made_free)
        struct made leaf = make_cert(&(struct make){.name = "www.example",
                                                    .issuer = rejected ? &two : &one,
                                                    .basic = "CA:FALSE",
                                                    .usage = "digitalSignature"});

        assert_true(X509_STORE_CTX_init(ctx, store, leaf.cert, NULL));
        assert_true(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER));
        assert_int_equal(X509_verify_cert(ctx), !rejected);
        X509_STORE_CTX_cleanup(ctx);
    }
    X509_STORE_CTX_free(ctx);
}

/* A file that a certificate is read from says whom it may vouch for; each file for itself. */
static void knows_a_root_by_the_settings_of_its_file(void **state)
{
    enum { PLAIN, SERVERS, CLIENTS, REJECTED, NONE };
    static const struct {
        const char *name;
        int one, other;
        bool holds; /* the first */
        bool same;
    } cases[] = {
        {"plain in both", PLAIN, PLAIN, true, true},
        {"for servers, and plain", SERVERS, PLAIN, true, true},
        {"for clients alone, and plain", CLIENTS, PLAIN, false, false},
        {"rejected, and plain", REJECTED, PLAIN, false, false},
        {"plain, and rejected", PLAIN, REJECTED, true, false},
        {"rejected in both", REJECTED, REJECTED, false, true},
        {"rejected, and for clients alone", REJECTED, CLIENTS, false, true},
        {"missing, and rejected", NONE, REJECTED, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const int settings[] = {cases[i].one, cases[i].other};
        CLEANUP(own_x509_store) X509_STORE *first = X509_STORE_new();
        CLEANUP(own_x509_store) X509_STORE *second = X509_STORE_new();

        print_message("  %s\n", cases[i].name);
        for (size_t j = 0; j < ARRAY_SIZE(settings); j++) {
            CLEANUP(own_x509) X509 *cert = X509_dup(one.cert);

            if (settings[j] == SERVERS)
                X509_add1_trust_object(cert, OBJ_nid2obj(NID_server_auth));
            if (settings[j] == CLIENTS)
                X509_add1_trust_object(cert, OBJ_nid2obj(NID_client_auth));
            if (settings[j] == REJECTED)
                X509_add1_reject_object(cert, OBJ_nid2obj(NID_server_auth));
            if (settings[j] != NONE)
                assert_true(X509_STORE_add_cert(j ? second : first, cert));
        }
        assert_int_equal(trust_holds(first, one.cert), cases[i].holds);
        assert_int_equal(trust_same(first, second), cases[i].same);
        assert_int_equal(trust_same(second, first), cases[i].same);
    }
}

static void reads_the_hashed_names_of_a_directory(void **state)
{
    const char *dir = *state;
    static const bool required[] = {true};
    CLEANUP(own_x509_store) X509_STORE *store = NULL;

    write_cert(at(dir, "0a1b2c3d.0"), one.cert);
    write_cert(at(dir, "0a1b2c3d.10"), two.cert);
    write_cert(at(dir, "root-three.pem"), three.cert);
    write_cert(at(dir, "00a1b2c3d.0"), three.cert);
    write_cert(at(dir, "0a1b2c3d.r0"), three.cert); /* where a revocation list would be */
    assert_int_equal(symlink("nowhere.pem", at(dir, "ffffffff.0")), 0);
    assert_int_equal(trust_roots_new(&store, &dir, required, 1, NULL, NULL), 0);
    assert_true(trusts(store, one.cert));
    assert_true(trusts(store, two.cert));
    assert_false(trusts(store, three.cert));
}

static void misses_only_what_is_required(void **state)
{
    static const struct {
        const char *name, *file;
        int want;
        const char *says;
    } cases[] = {
        {"missing", "missing.pem", -ENOENT, "/missing.pem"},
        {"empty", "empty.pem", -EINVAL, "/empty.pem holds no certificate"},
        {"no PEM", "text.pem", -EINVAL, "/text.pem holds no certificate"},
        {"a directory without hashed names", ".", -EINVAL, "c_rehash"},
        {"a FIFO, which nobody writes to", "fifo", -EINVAL, "/fifo is not a regular file"},
        {"too large", "large.pem", -EFBIG, "/large.pem is larger than 16 MiB"},
    };
    static const bool yes[] = {true}, no[] = {false};

    write_text(at(*state, "empty.pem"), "");
    write_text(at(*state, "text.pem"), "hello\n");
    write_text(at(*state, "large.pem"), "");
    assert_int_equal(truncate(at(*state, "large.pem"), (16 << 20) + 1), 0);
    assert_int_equal(mkfifo(at(*state, "fifo"), 0600), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(own_x509_store) X509_STORE *store = NULL;
        const char *path = at(*state, cases[i].file);
        struct err err = {0};

        print_message("  %s\n", cases[i].name);
        assert_int_equal(trust_roots_new(&store, &path, yes, 1, NULL, &err), cases[i].want);
        assert_null(store);
        assert_non_null(strstr(err.text, cases[i].says));
        err.text[0] = 0;
        assert_int_equal(trust_roots_new(&store, &path, no, 1, NULL, &err), 0);
        assert_non_null(store);
        assert_string_equal(err.text, "");
    }
}

static void merges_behind_what_was_there(void **state)
{
    static const struct {
        const char *name;
        const char *before; /* NULL: no original */
        const char *want;   /* up to our comment */
    } cases[] = {
        {"a bundle that ends its line", "a\nb\n", "a\nb\n#"},
        {"one that does not", "a\nb", "a\nb\n#"},
        {"an empty one", "", "#"},
        {"none", NULL, "#"},
    };
    const char *original = at(*state, "original.pem"), *merged = at(*state, "merged.pem");
    mode_t mask = umask(0077);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static const bool required[] = {true};
        CLEANUP(own_x509_store) X509_STORE *store = NULL;
        CLEANUP(text_free) char *text = NULL;
        struct stat st;
        size_t len;

        print_message("  %s\n", cases[i].name);
        if (cases[i].before)
            write_text(original, cases[i].before);
        assert_int_equal(
            trust_merge(merged, cases[i].before ? original : NULL, ours(one.cert), NULL), 0);
        text = read_text(merged, &len);
        assert_memory_equal(text, cases[i].want, strlen(cases[i].want));
        assert_int_equal(stat(merged, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_int_equal(trust_roots_new(&store, &merged, required, 1, NULL, NULL), 0);
        assert_true(trusts(store, one.cert));
    }
    umask(mask);
}

/* Some keep a private key in the file that SSL_CERT_FILE names. */
static void shows_a_merged_copy_to_nobody_else(void **state)
{
    static const struct {
        const char *name;
        mode_t mode;
        bool given_away; /* to another owner and group, which only root can do */
    } cases[] = {
        {"root's alone", 0600, false},
        {"a group's too", 0640, false},
        {"read-only for everybody", 0444, false},
        {"a user's alone", 0600, true},
        {"a user's and a group's", 0640, true},
        {"one with a bit for programs", 04644, true},
    };
    const char *original = at(*state, "original.pem"), *merged = at(*state, "merged.pem");

    write_text(original, "a\n");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        if (cases[i].given_away && geteuid() == 0)
            assert_int_equal(chown(original, 12345, 54321), 0);
        assert_int_equal(chmod(original, cases[i].mode), 0);
        assert_int_equal(trust_merge(merged, original, ours(one.cert), NULL), 0);
        assert_same_access(merged, original);
    }
}

static void leaves_nothing_when_it_cannot_merge(void **state)
{
    const char *merged = at(*state, "merged.pem");
    struct err err = {0};

    assert_int_equal(trust_merge(merged, at(*state, "missing.pem"), ours(one.cert), &err), -ENOENT);
    assert_non_null(strstr(err.text, "/missing.pem"));
    assert_int_equal(access(merged, F_OK), -1);
    assert_int_equal(mkdir(merged, 0700), 0); /* rename() cannot replace it */
    assert_true(trust_merge(merged, NULL, ours(one.cert), &err) < 0);
    assert_non_null(strstr(err.text, "/merged.pem"));
    assert_int_equal(rmdir(merged), 0);
    assert_int_equal(rmdir(*state), 0); /* no half-written file beside it */
    assert_int_equal(mkdir(*state, 0700), 0);
}

static void names_files_and_variables(void **state)
{
    (void)state;
    assert_string_equal(trust_bundles[0], "/etc/ssl/certs/ca-certificates.crt");
    for (size_t i = 0; trust_bundles[i]; i++)
        assert_int_equal(trust_bundles[i][0], '/');
    assert_string_equal(trust_variables[0], "SSL_CERT_FILE");
    for (size_t i = 0; trust_variables[i]; i++)
        assert_null(strstr(trust_variables[i], "DIR"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gathers_the_roots_of_all_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_an_intermediate_for_an_anchor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skips_a_broken_certificate_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_trusted_certificates_and_their_settings, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(knows_a_root_by_the_settings_of_its_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(reads_the_hashed_names_of_a_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(misses_only_what_is_required, set_up, tear_down),
        cmocka_unit_test_setup_teardown(merges_behind_what_was_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shows_a_merged_copy_to_nobody_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_nothing_when_it_cannot_merge, set_up, tear_down),
        cmocka_unit_test(names_files_and_variables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
