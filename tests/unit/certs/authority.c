#include "certs/authority.h"

#include <errno.h>
#include <openssl/ui.h>

#include "certs/mint.h"
#include "make.h"

/* A leaf of this authority, as a client that knows the root alone would see it. */
static bool signs_well(const struct authority *authority)
{
    time_t now = time(NULL);
    struct mint_profile profile = {
        .name = "www.example", .not_before = now - DAY, .not_after = now + DAY};
    CLEANUP(own_pkey) EVP_PKEY *key = make_key(NULL);
    CLEANUP(own_x509) X509 *leaf = NULL;

    assert_int_equal(mint_leaf(&leaf, authority, key, &profile, now, NULL), 0);
    return verifies(leaf, authority->chain, authority->root, "www.example");
}

static void makes_one_that_clients_accept(void **state)
{
    CLEANUP(authority_free) struct authority *authority = NULL;
    struct err err = {0};
    char name[80];

    (void)state;
    assert_int_equal(authority_new(&authority, "node-1", &err), 0);
    assert_true(signs_well(authority));
    assert_ptr_equal(authority->root, authority->cert);
    assert_int_equal(sk_X509_num(authority->chain), 0);
    assert_true(EVP_PKEY_is_a(authority->key, "EC"));
    assert_int_equal(X509_get_pathlen(authority->cert), 0);
    assert_int_equal(X509_get_key_usage(authority->cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_int_equal(authority->not_after - authority->not_before, 90 * DAY);
    assert_in_range(time(NULL) - authority->not_before, 3600, 3660);
    X509_NAME_get_text_by_NID(X509_get_subject_name(authority->cert), NID_commonName, name,
                              sizeof(name));
    assert_memory_equal(name, "Sallyport node-1 ", strlen("Sallyport node-1 "));
}

static void makes_no_two_alike(void **state)
{
    CLEANUP(authority_free) struct authority *one = NULL, *other = NULL;

    (void)state;
    assert_int_equal(authority_new(&one, "node-1", NULL), 0);
    assert_int_equal(authority_new(&other, "node-1", NULL), 0);
    assert_int_not_equal(X509_subject_name_cmp(one->cert, other->cert), 0);
    assert_int_not_equal(EVP_PKEY_eq(one->key, other->key), 1);
    assert_int_not_equal(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(one->cert), X509_get0_serialNumber(other->cert)),
        0);
}

static void takes_any_node_name(void **state)
{
    static const char *const names[] = {
        "",
        "a-node-name-that-is-longer-than-a-common-name-could-ever-be-in-a-certificate",
        "Nik\xc3\xb3\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(authority_free) struct authority *authority = NULL;

        assert_int_equal(authority_new(&authority, names[i], NULL), 0);
        assert_true(signs_well(authority));
    }
}

/* What a directory holds: a root, perhaps one between, and the signer. */
struct directory {
    struct make root, between, signer;
    bool has_between, is_root; /* is_root: the root itself signs */
};
enum { CERT_MANAGER, ISTIO };

static void fill(const char *dir, int layout, struct directory how)
{
    CLEANUP(made_free) struct made root = make_cert(&how.root);
    CLEANUP(made_free) struct made stranger = make_cert(&(struct make){.name = "stranger"});
    CLEANUP(made_free) struct made between = {0}, signer = {0};
    const char *chain = at(dir, layout == ISTIO ? "cert-chain.pem" : "tls.crt");
    const char *cert = at(dir, layout == ISTIO ? "ca-cert.pem" : "tls.crt");
    const char *roots = at(dir, layout == ISTIO ? "root-cert.pem" : "ca.crt");

    how.between.issuer = &root;
    if (!how.between.name)
        how.between.name = "test between";
    between = make_cert(&how.between);
    how.signer.issuer = how.is_root ? NULL : how.has_between ? &between : &root;
    if (!how.signer.name)
        how.signer.name = "test signer";
    signer = make_cert(&how.signer);
    write_cert(cert, signer.cert);
    if (how.has_between)
        write_cert(chain, between.cert);
    write_text(roots, "several roots, with text between them\n");
    write_cert(roots, stranger.cert);
    write_cert(roots, how.is_root ? signer.cert : root.cert);
    write_key(at(dir, layout == ISTIO ? "ca-key.pem" : "tls.key"), signer.key);
}

static void loads_what_can_sign(void **state)
{
    static const struct {
        const char *name;
        int layout;
        struct directory how;
        int chain_len;
    } cases[] = {
        {"cert-manager, its own root", CERT_MANAGER, {.is_root = true}, 0},
        {"cert-manager, under a root", CERT_MANAGER, {.is_root = false}, 1},
        {"cert-manager, the chain in tls.crt", CERT_MANAGER, {.has_between = true}, 2},
        {"Istio, its own root", ISTIO, {.is_root = true}, 0},
        {"Istio, no chain file", ISTIO, {.is_root = false}, 1},
        {"Istio, with a chain file", ISTIO, {.has_between = true}, 2},
        {"RSA", CERT_MANAGER, {.signer = {.algorithm = "RSA"}}, 1},
        {"P-384", CERT_MANAGER, {.signer = {.algorithm = "P-384"}}, 1},
        {"Ed25519", CERT_MANAGER, {.signer = {.algorithm = "ED25519"}}, 1},
        {"path length just enough",
         CERT_MANAGER,
         {.root = {.basic = "critical,CA:TRUE,pathlen:1"},
          .signer = {.basic = "critical,CA:TRUE,pathlen:0"}},
         1},
        {"signs for servers only", CERT_MANAGER, {.signer = {.purposes = "serverAuth"}}, 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(authority_free) struct authority *authority = NULL;
        struct err err = {0};
        const char *dir = make_empty_dir(state);

        print_message("  %s\n", cases[i].name);
        fill(dir, cases[i].layout, cases[i].how);
        if (authority_load(&authority, dir, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(sk_X509_num(authority->chain), cases[i].chain_len);
        assert_int_equal(X509_self_signed(authority->root, 1), 1);
        assert_true(signs_well(authority));
    }
}

static void refuses_what_cannot_sign(void **state)
{
    static const struct {
        const char *name;
        struct directory how;
        const char *file, *says; /* both are in the sentence */
    } cases[] = {
        {"no authority", {.signer = {.basic = "critical,CA:FALSE"}}, "/tls.crt", "CA:TRUE"},
        {"no basicConstraints", {.signer = {.basic = ""}}, "/tls.crt", "CA:TRUE"},
        {"may not sign", {.signer = {.usage = "digitalSignature"}}, "/tls.crt", "keyCertSign"},
        {"not for servers", {.signer = {.purposes = "clientAuth"}}, "/tls.crt", "serverAuth"},
        {"expired", {.signer = {.from = -9 * DAY, .until = -DAY}}, "/tls.crt", "expired"},
        {"not yet valid", {.signer = {.from = DAY, .until = 9 * DAY}}, "/tls.crt", "not yet"},
        {"expired root", {.root = {.from = -9 * DAY, .until = -DAY}}, "/ca.crt", "expired"},
        {"root without room below",
         {.root = {.basic = "critical,CA:TRUE,pathlen:0"}},
         "/ca.crt",
         "path length"},
        {"one between that is none",
         {.has_between = true, .between = {.basic = "critical,CA:FALSE"}},
         "/tls.crt",
         "invalid CA"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(authority_free) struct authority *authority = NULL;
        struct err err = {0};
        const char *dir = make_empty_dir(state);

        print_message("  %s\n", cases[i].name);
        fill(dir, CERT_MANAGER, cases[i].how);
        assert_int_equal(authority_load(&authority, dir, &err),
                         strcmp(cases[i].says, "expired") == 0 ? -EKEYEXPIRED : -EINVAL);
        assert_null(authority);
        assert_non_null(strstr(err.text, cases[i].file));
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

static void refuses_faulty_files(void **state)
{
    static const char half[] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    static const struct {
        const char *name, *file;
        const char *text; /* NULL: removed */
        int want;
        const char *says;
    } cases[] = {
        {"no root", "ca.crt", NULL, -ENOENT, "/ca.crt"},
        {"no key", "tls.key", NULL, -ENOENT, "/tls.key"},
        {"no certificate", "tls.crt", NULL, -ENOENT, "have one made: sallyport ca init /"},
        {"empty root", "ca.crt", "", -EINVAL, "/ca.crt holds no certificate"},
        {"text for a certificate", "tls.crt", "hello", -EINVAL, "/tls.crt holds no certificate"},
        {"half a certificate", "tls.crt", half, -EINVAL, "/tls.crt cannot be read"},
        {"text for a key", "tls.key", "hello", -EINVAL, "/tls.key holds no private key"},
        {"a certificate for a key", "tls.key", half, -EINVAL, "/tls.key holds no private key"},
        {"bytes for a root", "ca.crt", "\x30\x82\x01", -EINVAL, "/ca.crt holds no certificate"},
        {"half a root", "ca.crt", half, -EINVAL, "/ca.crt cannot be read"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(authority_free) struct authority *authority = NULL;
        struct err err = {0};
        const char *dir = make_empty_dir(state);

        print_message("  %s\n", cases[i].name);
        fill(dir, CERT_MANAGER, (struct directory){.is_root = true});
        if (cases[i].text)
            write_bytes(at(dir, cases[i].file), cases[i].text, strlen(cases[i].text), 0600);
        else
            assert_int_equal(remove(at(dir, cases[i].file)), 0);
        assert_int_equal(authority_load(&authority, dir, &err), cases[i].want);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

static void refuses_a_key_that_others_may_read(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0660};

    fill(*state, ISTIO, (struct directory){.is_root = true});
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        CLEANUP(authority_free) struct authority *authority = NULL;
        struct err err = {0};

        assert_int_equal(chmod(at(*state, "ca-key.pem"), modes[i]), 0);
        assert_int_equal(authority_load(&authority, *state, &err), -EPERM);
        assert_non_null(strstr(err.text, "/ca-key.pem"));
    }
}

/* What cannot be read, by root neither; a FIFO nobody must wait for. */
static void refuses_what_is_no_file(void **state)
{
    static const char *const files[] = {"tls.crt", "tls.key", "ca.crt"};

    for (size_t i = 0; i < 2 * ARRAY_SIZE(files); i++) {
        CLEANUP(authority_free) struct authority *authority = NULL;
        struct err err = {0};
        const char *dir = make_empty_dir(state), *path;

        print_message("  %s: %s\n", files[i / 2], i % 2 ? "a FIFO" : "a directory");
        fill(dir, CERT_MANAGER, (struct directory){.is_root = true});
        path = at(dir, files[i / 2]);
        assert_int_equal(remove(path), 0);
        assert_int_equal(i % 2 ? mkfifo(path, 0600) : mkdir(path, 0700), 0);
        assert_int_equal(authority_load(&authority, dir, &err), -EINVAL);
        assert_non_null(strstr(err.text, files[i / 2]));
        assert_non_null(strstr(err.text, "is not a regular file"));
    }
}

static void refuses_the_key_of_another(void **state)
{
    CLEANUP(authority_free) struct authority *authority = NULL;
    CLEANUP(own_pkey) EVP_PKEY *other = make_key(NULL);
    struct err err = {0};

    fill(*state, CERT_MANAGER, (struct directory){.is_root = true});
    write_key(at(*state, "tls.key"), other);
    assert_int_equal(authority_load(&authority, *state, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/tls.key is not the key of "));
}

/* Stands for somebody at the terminal who knows the password: nobody must be asked. */
static int answer(UI *ui, UI_STRING *question)
{
    return UI_get_string_type(question) != UIT_PROMPT || UI_set_result(ui, question, "word") == 0;
}

static void refuses_a_key_with_a_password(void **state)
{
    CLEANUP(authority_free) struct authority *authority = NULL;
    CLEANUP(own_pkey) EVP_PKEY *key = make_key(NULL);
    UI_METHOD *terminal = UI_create_method("terminal");
    struct err err = {0};
    FILE *file;

    assert_int_equal(UI_method_set_reader(terminal, answer), 0);
    UI_set_default_method(terminal);
    fill(*state, CERT_MANAGER, (struct directory){.is_root = true});
    file = fopen(at(*state, "tls.key"), "w");
    assert_true(PEM_write_PKCS8PrivateKey(file, key, EVP_aes_256_cbc(), "word", 4, NULL, NULL));
    fclose(file);
    assert_int_equal(authority_load(&authority, *state, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/tls.key holds no private key in PEM without a password"));
    UI_set_default_method(NULL);
    UI_destroy_method(terminal);
}

static void refuses_a_root_of_others(void **state)
{
    CLEANUP(authority_free) struct authority *authority = NULL;
    CLEANUP(made_free) struct made stranger = make_cert(&(struct make){.name = "stranger"});
    struct err err = {0};

    fill(*state, CERT_MANAGER, (struct directory){.is_root = false});
    assert_int_equal(remove(at(*state, "ca.crt")), 0);
    write_cert(at(*state, "ca.crt"), stranger.cert);
    assert_int_equal(authority_load(&authority, *state, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/tls.crt does not lead to a root in "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_one_that_clients_accept),
        cmocka_unit_test(makes_no_two_alike),
        cmocka_unit_test(takes_any_node_name),
        cmocka_unit_test_setup_teardown(loads_what_can_sign, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_what_cannot_sign, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_faulty_files, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_a_key_that_others_may_read, make_dir,
                                        make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_file, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_the_key_of_another, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_a_key_with_a_password, make_dir, make_dir_remove),
        cmocka_unit_test_setup_teardown(refuses_a_root_of_others, make_dir, make_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
