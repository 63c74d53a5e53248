#include "certs/client_certs.h"

#include <errno.h>

#include "make.h"

static void chooses_the_nearest_name(void **state)
{
    static const char *const names[] = {
        "*.a.example.com", "*.com",         "*.example.com", "2001:db8::10",
        "203.0.113.10",    "a.example.com", "example.com",   "x_y.example.net",
    };
    static const struct {
        const char *server;
        const char *want; /* NULL: none */
    } cases[] = {
        {"example.com", "example.com"},
        {"a.example.com", "a.example.com"},
        {"b.example.com", "*.example.com"},
        {"b.a.example.com", "*.a.example.com"},
        {"c.b.example.com", "*.example.com"},
        {"other.com", "*.com"},
        {"com", NULL},
        {"example.org", NULL},
        {"notexample.com", "*.com"},
        {"EXAMPLE.com", "example.com"},
        {"example.com.", "example.com"},
        {"B.Example.Com.", "*.example.com"},
        {"x_y.example.net", "x_y.example.net"},
        {"203.0.113.10", "203.0.113.10"},
        {"203.0.113.11", NULL},
        {"2001:db8::10", "2001:db8::10"},
        {"2001:0DB8:0::0:10", "2001:db8::10"},
        {"*.example.com", NULL},
        {"..example.com", NULL},
        {"../../example.com", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int found = client_certs_choose(names, ARRAY_SIZE(names), cases[i].server);

        print_message("  '%s'\n", cases[i].server);
        if (cases[i].want)
            assert_string_equal(found < 0 ? "none" : names[found], cases[i].want);
        else
            assert_int_equal(found, -1);
    }
    assert_int_equal(client_certs_choose(NULL, 0, "example.com"), -1);
    assert_null(client_certs_find(NULL, "example.com"));
}

static void an_address_is_no_name_below_a_suffix(void **state)
{
    static const char *const names[] = {"*.113.10"};

    (void)state;
    assert_int_equal(client_certs_choose(names, 1, "203.0.113.10"), -1);
}

static struct made client, root;

static int make_certs(void **state)
{
    root = make_cert(&(struct make){.name = "root"});
    client = make_cert(&(struct make){.name = "client", .issuer = &root, .basic = "CA:FALSE"});
    return make_dir(state);
}

static int forget_certs(void **state)
{
    made_free(&client);
    made_free(&root);
    return make_dir_remove(state);
}

/* NAME.crt and NAME.key, or, with a slash at its end, NAME/tls.crt and NAME/tls.key. */
static void put(const char *dir, const char *name)
{
    bool is_dir = name[strlen(name) - 1] == '/';
    char path[200];

    if (is_dir)
        assert_int_equal(mkdir(at(dir, name), 0700), 0);
    snprintf(path, sizeof(path), "%s/%s%s.crt", dir, name, is_dir ? "tls" : "");
    write_cert(path, client.cert);
    write_cert(path, root.cert);
    memcpy(strrchr(path, '.'), ".key", 4);
    write_key(path, client.key);
}

static void loads_both_ways_of_naming(void **state)
{
    const char *dir = make_empty_dir(state);
    CLEANUP(client_certs_free) struct client_certs *certs = NULL;
    const struct client_cert *found;
    struct err err = {0};

    put(dir, "Flat.Example");
    put(dir, "nested.example/");
    put(dir, "*.Wild.example/");
    put(dir, "*.flat.example");
    put(dir, "192.0.2.1");
    write_text(at(dir, ".hidden"), "left alone");
    if (client_certs_load(&certs, dir, &err) < 0)
        fail_msg("%s", err.text);
    found = client_certs_find(certs, "flat.example");
    assert_int_equal(X509_cmp(found->cert, client.cert), 0);
    assert_int_equal(EVP_PKEY_eq(found->key, client.key), 1);
    assert_int_equal(sk_X509_num(found->chain), 1);
    assert_int_equal(X509_cmp(sk_X509_value(found->chain, 0), root.cert), 0);
    assert_string_equal(client_certs_find(certs, "nested.example")->name, "nested.example");
    assert_string_equal(client_certs_find(certs, "a.wild.example")->name, "*.wild.example");
    assert_string_equal(client_certs_find(certs, "a.flat.example")->name, "*.flat.example");
    assert_string_equal(client_certs_find(certs, "192.0.2.1")->name, "192.0.2.1");
    assert_null(client_certs_find(certs, "wild.example"));
}

static void loads_one_alone(void **state)
{
    const char *dir = make_empty_dir(state);
    CLEANUP(client_cert_fini) struct client_cert cert = {0}, whole = {0};
    char path[200];
    struct err err = {0};

    put(dir, "one/");
    snprintf(path, sizeof(path), "%s", at(dir, "one"));
    if (client_cert_load(&cert, path, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(X509_cmp(cert.cert, client.cert), 0);
    assert_int_equal(EVP_PKEY_eq(cert.key, client.key), 1);
    assert_int_equal(sk_X509_num(cert.chain), 1);
    assert_string_equal(cert.name, path);
    snprintf(path, sizeof(path), "%s", at(dir, "one/tls.crt"));
    assert_true(client_cert_load(&whole, path, &err) < 0); /* it has no key */
    assert_null(whole.cert);
    assert_int_equal(client_cert_load(&whole, at(dir, "none"), &err), -ENOENT);
}

static void an_empty_directory_has_none(void **state)
{
    CLEANUP(client_certs_free) struct client_certs *certs = NULL;

    assert_int_equal(client_certs_load(&certs, make_empty_dir(state), NULL), 0);
    assert_null(client_certs_find(certs, "example.com"));
}

static void refuses_what_is_not_whole(void **state)
{
    static const struct {
        const char *name;
        const char *file, *text; /* text NULL: removed */
        mode_t mode;
        int want;
        const char *says;
    } cases[] = {
        {"no key", "a.example.key", NULL, 0, -ENOENT, "/a.example.key"},
        {"no certificate", "a.example.crt", NULL, 0, -EINVAL, "/a.example.key belongs to no"},
        {"no key in the directory", "b.example/tls.key", NULL, 0, -ENOENT, "/b.example/tls.key"},
        {"no certificate in it", "b.example/tls.crt", NULL, 0, -ENOENT, "/b.example/tls.crt"},
        {"garbage for a certificate", "a.example.crt", "hello", 0600, -EINVAL, "/a.example.crt"},
        {"garbage for a key", "a.example.key", "hello", 0600, -EINVAL, "/a.example.key"},
        {"a key that others read", "b.example/tls.key", "", 0644, -EPERM, "/b.example/tls.key"},
        {"a file of another kind", "c.pem", "hello", 0600, -EINVAL, "/c.pem belongs to no"},
        {"a link to nowhere", "dangling.crt", NULL, 1, -ENOENT, "/dangling.crt"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(client_certs_free) struct client_certs *certs = NULL;
        const char *dir = make_empty_dir(state);
        struct err err = {0};

        print_message("  %s\n", cases[i].name);
        put(dir, "a.example");
        put(dir, "b.example/");
        if (cases[i].text)
            write_bytes(at(dir, cases[i].file), cases[i].text, strlen(cases[i].text),
                        cases[i].mode);
        else if (cases[i].mode)
            assert_int_equal(symlink("..gone", at(dir, cases[i].file)), 0);
        else
            assert_int_equal(remove(at(dir, cases[i].file)), 0);
        assert_int_equal(client_certs_load(&certs, dir, &err), cases[i].want);
        assert_null(certs);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

static void refuses_the_key_of_another(void **state)
{
    CLEANUP(client_certs_free) struct client_certs *certs = NULL;
    const char *dir = make_empty_dir(state);
    struct err err = {0};

    put(dir, "a.example");
    write_key(at(dir, "a.example.key"), root.key);
    assert_int_equal(client_certs_load(&certs, dir, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/a.example.key is not the key of "));
}

static void refuses_names_that_no_server_has(void **state)
{
    static const char *const names[] = {"a b",        "*",           "*.",
                                        "**.example", "a.*.example", "*.192.0.2.1"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(client_certs_free) struct client_certs *certs = NULL;
        const char *dir = make_empty_dir(state);
        struct err err = {0};

        print_message("  '%s'\n", names[i]);
        put(dir, names[i]);
        assert_int_equal(client_certs_load(&certs, dir, &err), -EINVAL);
        assert_non_null(strstr(err.text, "is named after no server"));
    }
}

static void refuses_two_for_one_server(void **state)
{
    CLEANUP(client_certs_free) struct client_certs *certs = NULL;
    const char *dir = make_empty_dir(state);
    struct err err = {0};

    put(dir, "a.example");
    put(dir, "A.Example/");
    assert_int_equal(client_certs_load(&certs, dir, &err), -EEXIST);
    assert_non_null(strstr(err.text, "a.example"));
    assert_int_equal(client_certs_load(&certs, at(dir, "nowhere"), &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_the_nearest_name),
        cmocka_unit_test(an_address_is_no_name_below_a_suffix),
        cmocka_unit_test_setup_teardown(loads_both_ways_of_naming, make_certs, forget_certs),
        cmocka_unit_test_setup_teardown(loads_one_alone, make_certs, forget_certs),
        cmocka_unit_test_setup_teardown(an_empty_directory_has_none, make_certs, forget_certs),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_whole, make_certs, forget_certs),
        cmocka_unit_test_setup_teardown(refuses_the_key_of_another, make_certs, forget_certs),
        cmocka_unit_test_setup_teardown(refuses_names_that_no_server_has, make_certs, forget_certs),
        cmocka_unit_test_setup_teardown(refuses_two_for_one_server, make_certs, forget_certs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
