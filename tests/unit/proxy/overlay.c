#include "proxy/overlay.h"

#include <errno.h>

#include "../certs/make.h"
#include "certs/trust.h"

/* An environment: "NAME=value", NULL-terminated. */
static const char *const *environment;

static char *look_up(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; environment[i]; i++)
        if (strncmp(environment[i], name, len) == 0 && environment[i][len] == '=')
            return (char *)environment[i] + len + 1;
    return NULL;
}

/* Its kind; "no" when it is no place at all. */
static const char *said_of(const struct overlay_places *places, const char *path)
{
    static const char *const kinds[] = {"PEM", "Java", "directory"};

    for (size_t i = 0; i < places->len; i++)
        if (span_equal(places->all[i].path, span_of_text(path)))
            return kinds[places->all[i].kind];
    return "no";
}

static void chooses_what_programs_read(void **state)
{
    static const struct {
        const char *name;
        const char *environment[4];
        const char *path, *want;
    } cases[] = {
        {"the system's bundle", {NULL}, "/etc/ssl/certs/ca-certificates.crt", "PEM"},
        {"another distribution's", {NULL}, "/etc/ssl/ca-bundle.pem", "PEM"},
        {"the system's directory", {NULL}, "/etc/ssl/certs", "directory"},
        {"the system's truststore of Java", {NULL}, "/etc/ssl/certs/java/cacerts", "Java"},
        {"SSL_CERT_FILE", {"SSL_CERT_FILE=/x/roots.pem"}, "/x/roots.pem", "PEM"},
        {"the bundle that it stands in for, which gets our root all the same",
         {"SSL_CERT_FILE=/x/roots.pem"},
         "/etc/ssl/certs/ca-certificates.crt",
         "PEM"},
        {"another such bundle",
         {"SSL_CERT_FILE=/x/roots.pem"},
         "/etc/pki/tls/certs/ca-bundle.crt",
         "PEM"},
        {"the system's directory, for which a file does not stand in",
         {"SSL_CERT_FILE=/x/roots.pem"},
         "/etc/ssl/certs",
         "directory"},
        {"Java's truststore, for which neither does",
         {"SSL_CERT_FILE=/x/roots.pem", "SSL_CERT_DIR=/x"},
         "/etc/ssl/certs/java/cacerts",
         "Java"},
        {"the bundle when SSL_CERT_FILE is empty",
         {"SSL_CERT_FILE="},
         "/etc/ssl/certs/ca-certificates.crt",
         "PEM"},
        {"a program's own variable", {"CURL_CA_BUNDLE=/x/curl.pem"}, "/x/curl.pem", "PEM"},
        {"the bundle, to which that one adds",
         {"CURL_CA_BUNDLE=/x/curl.pem"},
         "/etc/ssl/certs/ca-certificates.crt",
         "PEM"},
        {"a program's own variable beside SSL_CERT_FILE",
         {"SSL_CERT_FILE=/x/roots.pem", "NODE_EXTRA_CA_CERTS=/x/node.pem"},
         "/x/node.pem",
         "PEM"},
        {"a PEM file with the name of Java's",
         {"REQUESTS_CA_BUNDLE=/x/cacerts"},
         "/x/cacerts",
         "PEM"},
        {"the truststore of a JAVA_HOME",
         {"JAVA_HOME=/x/jdk"},
         "/x/jdk/lib/security/cacerts",
         "Java"},
        {"no truststore of an empty JAVA_HOME", {"JAVA_HOME="}, "/lib/security/cacerts", "no"},
        {"SSL_CERT_DIR", {"SSL_CERT_DIR=/x"}, "/x", "directory"},
        {"the system's directory, which it stands in for",
         {"SSL_CERT_DIR=/x"},
         "/etc/ssl/certs",
         "no"},
        {"the system's bundle, which it does not",
         {"SSL_CERT_DIR=/x"},
         "/etc/ssl/certs/ca-certificates.crt",
         "PEM"},
        {"the system's directory when SSL_CERT_DIR is empty",
         {"SSL_CERT_DIR="},
         "/etc/ssl/certs",
         "directory"},
        {"the system's directory when SSL_CERT_DIR names it",
         {"SSL_CERT_DIR=/x:/etc/ssl/certs"},
         "/etc/ssl/certs",
         "directory"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct overlay_places places;

        print_message("  %s\n", cases[i].name);
        environment = cases[i].environment;
        overlay_choose(&places, look_up);
        assert_string_equal(said_of(&places, cases[i].path), cases[i].want);
    }
}

static void splits_ssl_cert_dir_at_colons(void **state)
{
    static const struct {
        const char *name, *variable;
        const char *want; /* a space behind each */
    } cases[] = {
        {"one", "SSL_CERT_DIR=/x", "/x "},
        {"three", "SSL_CERT_DIR=/x:/y/z:w", "/x /y/z w "},
        {"empty ones between and at the ends", "SSL_CERT_DIR=:/x::/y:", "/x /y "},
        {"colons alone", "SSL_CERT_DIR=::", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct overlay_places places;
        char got[64] = "";

        print_message("  %s\n", cases[i].name);
        environment = (const char *const[]){cases[i].variable, NULL};
        overlay_choose(&places, look_up);
        for (size_t j = 0; j < places.len; j++)
            if (places.all[j].kind == OVERLAY_DIR) {
                strncat(got, (const char *)places.all[j].path.data, places.all[j].path.len);
                strcat(got, " ");
            }
        assert_string_equal(got, cases[i].want);
    }
}

static void has_room_for_only_so_many(void **state)
{
    char many[4 * OVERLAY_PLACES_MAX] = "SSL_CERT_DIR=";
    struct overlay_places places;

    (void)state;
    for (size_t i = 0; i < OVERLAY_PLACES_MAX; i++)
        strcat(many, "/x:");
    environment = (const char *const[]){many, NULL};
    overlay_choose(&places, look_up);
    assert_int_equal(places.len, OVERLAY_PLACES_MAX);
}

/* ---- with files ---- */

static struct made one, two, three, four;
static struct overlay overlay;

static int set_up(void **state)
{
    one = make_cert(&(struct make){.name = "root one"});
    two = make_cert(&(struct make){.name = "root two"});
    three = make_cert(&(struct make){.name = "root three"});
    four = make_cert(&(struct make){.name = "root four"});
    overlay.len = overlay.dirs_len = 0;
    overlay.no_cert_file = false;
    for (size_t i = 0; trust_variables[i]; i++)
        unsetenv(trust_variables[i]);
    return make_dir(state);
}

static int tear_down(void **state)
{
    made_free(&one);
    made_free(&two);
    made_free(&three);
    made_free(&four);
    return make_dir_remove(state);
}

static const struct overlay_file *found(const char *path)
{
    for (size_t i = 0; i < overlay.len; i++)
        if (strcmp(overlay.files[i].path, path) == 0)
            return &overlay.files[i];
    return NULL;
}

static void finds_a_file_once_under_all_its_names(void **state)
{
    const char *file = at(*state, "roots.pem"), *name = at(*state, "link.pem");
    const struct overlay_file *bundle;
    char system[PATH_MAX];
    size_t before;

    write_cert(file, one.cert);
    assert_int_equal(symlink("roots.pem", name), 0);
    setenv("SSL_CERT_FILE", file, 1);
    overlay_find(&overlay);
    before = overlay.len;
    assert_non_null(found(file));
    setenv("CURL_CA_BUNDLE", name, 1);
    setenv("PIP_CERT", at(*state, "missing.pem"), 1);
    setenv("AWS_CA_BUNDLE", *state, 1); /* a directory */
    overlay_find(&overlay);
    assert_int_equal(overlay.len, before);

    if (!realpath(trust_bundles[0], system))
        skip();
    bundle = found(system);
    assert_non_null(bundle);
    setenv("CURL_CA_BUNDLE", trust_bundles[0], 1); /* hidden already, and now read too */
    overlay_find(&overlay);
    assert_int_equal(overlay.len, before);
    assert_non_null(found(system));
}

/* A copy for programs with roots of their own has more of ours in it than others may see. */
static void a_file_adds_only_where_all_its_readers_do(void **state)
{
    static const struct {
        const char *name;
        const char *variables[2];
        bool adds;
    } cases[] = {
        {"Node's alone", {"NODE_EXTRA_CA_CERTS"}, true},
        {"Node's and Deno's", {"NODE_EXTRA_CA_CERTS", "DENO_CERT"}, true},
        {"curl's", {"CURL_CA_BUNDLE"}, false},
        {"curl's and Node's", {"CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}, false},
        {"Deno's and cloud's", {"DENO_CERT", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"}, false},
    };
    const char *path = at(*state, "roots.pem");
    char system[PATH_MAX];

    write_cert(path, one.cert);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        for (size_t j = 0; j < ARRAY_SIZE(cases[i].variables) && cases[i].variables[j]; j++)
            setenv(cases[i].variables[j], path, 1);
        overlay_find(&overlay);
        assert_int_equal(found(path)->adds, cases[i].adds);
        for (size_t j = 0; trust_variables[j]; j++)
            unsetenv(trust_variables[j]);
    }
    print_message("  the system's bundle, named to Node\n");
    if (!realpath(trust_bundles[0], system))
        skip();
    setenv("NODE_EXTRA_CA_CERTS", trust_bundles[0], 1);
    overlay_find(&overlay);
    assert_false(found(system)->adds);
}

static void knows_when_the_variable_names_no_file(void **state)
{
    static const struct {
        const char *value;
        bool none;
    } files[] = {
        {"/nonexistent", true},     {"/dev/null", true}, {"/", true}, {"", false},
        {"/proc/self/stat", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        setenv("SSL_CERT_FILE", files[i].value, 1);
        overlay_find(&overlay);
        assert_int_equal(overlay.no_cert_file, files[i].none);
    }
    unsetenv("SSL_CERT_FILE");
    overlay_find(&overlay);
    assert_false(overlay.no_cert_file);
}

static void put_file(const char *path, enum overlay_kind kind)
{
    struct overlay_file *file = &overlay.files[overlay.len++];

    strcpy(file->path, path);
    file->kind = kind;
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

/* A JKS with one entry: version 2, alias "a". */
static void write_java(const char *path, X509 *cert)
{
    static const char before[] = "\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1"
                                 "\0\0\0\2\0\1a\0\0\0\0\0\0\0\0\0\5X.509\0";
    static const char digest[] = "twenty bytes nobody ";
    uint8_t *der = NULL;
    int len = i2d_X509(cert, &der);
    FILE *file = fopen(path, "w");

    assert_true(len > 0 && len < 1 << 16);
    fwrite(before, 1, sizeof(before) - 1, file);
    fprintf(file, "%c%c%c", 0, len >> 8, len & 0xff);
    fwrite(der, 1, (size_t)len, file);
    fwrite(digest, 1, 20, file);
    assert_int_equal(fclose(file), 0);
    OPENSSL_free(der);
}

static void gathers_roots_where_programs_look(void **state)
{
    CLEANUP(own_x509_store) X509_STORE *store = NULL;
    struct err err = {0};

    write_cert(at(*state, "read.pem"), one.cert);
    write_cert(at(*state, "hidden.pem"), two.cert);
    write_java(at(*state, "cacerts"), three.cert);
    write_text(at(*state, "broken"), "no truststore");
    write_cert(at(*state, "extra.pem"), four.cert);
    put_file(at(*state, "read.pem"), OVERLAY_PEM);
    put_file(at(*state, "hidden.pem"), OVERLAY_PEM);
    put_file(at(*state, "broken"), OVERLAY_JAVA);
    put_file(at(*state, "cacerts"), OVERLAY_JAVA);
    assert_int_equal(overlay_roots(&overlay, NULL, NULL, &store, &err), 0);
    assert_true(trusts(store, two.cert)); /* by programs that do not know SSL_CERT_FILE */
    assert_true(trusts(store, one.cert));
    assert_true(trusts(store, three.cert));
    assert_false(trusts(store, four.cert));
    own_x509_store(&store);
    assert_int_equal(overlay_roots(&overlay, at(*state, "extra.pem"), NULL, &store, &err), 0);
    assert_true(trusts(store, four.cert)); /* adds, always */
    own_x509_store(&store);
    store = NULL;
    assert_int_equal(overlay_roots(&overlay, at(*state, "missing.pem"), NULL, &store, &err),
                     -ENOENT);
    assert_non_null(strstr(err.text, "/missing.pem"));
}

/* Files by what their readers trust: letters for the roots in them. */
static void finds_files_that_trust_the_same(void **state)
{
    static const struct {
        const char *name, *files[5];
        const char *adds; /* the one whose readers have roots of their own besides */
        size_t trust[5], len;
    } cases[] = {
        {"one", {"1"}, "", {0}, 1},
        {"two with the same", {"1", "1"}, "", {0, 0}, 1},
        {"in another order", {"12", "21"}, "", {0, 0}, 1},
        {"two", {"1", "2"}, "", {0, 1}, 2},
        {"one within the other", {"1", "12"}, "", {0, 1}, 2},
        {"one that adds", {"1", "2"}, "2", {0, ANCHORS_ANY}, 1},
        {"more than there is room for", {"1", "2", "3", "12", "1"}, "", {0, 1, 2, 2, 0}, 3},
    };
    const struct made *roots[] = {&one, &two, &three};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        X509_STORE *trust[ANCHORS_MAX];
        struct err err = {0};
        size_t len;

        print_message("  %s\n", cases[i].name);
        overlay.len = 0;
        for (size_t j = 0; j < ARRAY_SIZE(cases[i].files) && cases[i].files[j]; j++) {
            char name[] = "0.pem";

            name[0] += (char)j;
            unlink(at(*state, name));
            for (const char *c = cases[i].files[j]; *c; c++)
                write_cert(at(*state, name), roots[*c - '1']->cert);
            put_file(at(*state, name), OVERLAY_PEM);
            overlay.files[j].adds = strcmp(cases[i].adds, cases[i].files[j]) == 0;
        }
        assert_int_equal(overlay_trust(&overlay, NULL, NULL, trust, &len, &err), 0);
        assert_int_equal(len, cases[i].len);
        for (size_t j = 0; j < overlay.len; j++)
            assert_int_equal(overlay.files[j].trust, cases[i].trust[j]);
        if (overlay.len == 5) /* the last one trusts for those that found no room */
            assert_true(trusts(trust[2], one.cert) && trusts(trust[2], three.cert));
        while (len)
            X509_STORE_free(trust[--len]);
    }
}

static void puts_our_root_into_every_copy(void **state)
{
    const char *pem = at(*state, "roots.pem"), *java = at(*state, "cacerts");
    CLEANUP(text_free) char *in_pem = NULL, *in_java = NULL;
    const struct authority authority = {.root = four.cert};
    const struct anchors anchors = {.main = &authority};
    CLEANUP(anchors_shown_fini) struct anchors_shown shown = {{NULL}};
    size_t len;
    struct err err = {0};

    write_cert(pem, one.cert);
    write_java(java, two.cert);
    put_file(pem, OVERLAY_PEM);
    put_file(java, OVERLAY_JAVA);
    assert_int_equal(anchors_show(&shown, &anchors, &err), 0);
    assert_int_equal(overlay_write(&overlay, *state, &shown, &err), 0);
    in_pem = read_text(overlay.files[0].with, &len);
    assert_non_null(strstr(in_pem, "Sallyport"));
    in_java = read_text(overlay.files[1].with, &len);
    assert_memory_equal(in_java, "\xfe\xed\xfe\xed\0\0\0\2\0\0\0\2", 12); /* two entries now */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_what_programs_read),
        cmocka_unit_test(splits_ssl_cert_dir_at_colons),
        cmocka_unit_test(has_room_for_only_so_many),
        cmocka_unit_test_setup_teardown(finds_a_file_once_under_all_its_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_adds_only_where_all_its_readers_do, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(knows_when_the_variable_names_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gathers_roots_where_programs_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_files_that_trust_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(puts_our_root_into_every_copy, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
