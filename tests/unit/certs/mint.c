#include "certs/mint.h"

#include <arpa/inet.h>
#include <errno.h>

#include "make.h"

#define LABEL_62 "a2345678901234567890123456789012345678901234567890123456789012"
#define LABEL_63 LABEL_62 "3"

static struct authority *authority;
static EVP_PKEY *leaf_key;
static time_t now;

static int set_up(void **state)
{
    (void)state;
    now = time(NULL);
    leaf_key = EVP_EC_gen("P-256");
    return leaf_key ? authority_new(&authority, "node-1", NULL) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(ERR_peek_error(), 0); /* or it would be taken for the next caller's */
    EVP_PKEY_free(leaf_key);
    authority_free(&authority);
    return 0;
}

static X509 *mint(const char *name)
{
    struct mint_profile profile = {.name = name, .not_before = now - DAY, .not_after = now + DAY};
    struct err err = {0};
    X509 *leaf = NULL;

    if (mint_leaf(&leaf, authority, leaf_key, &profile, now, &err) < 0)
        fail_msg("%s", err.text);
    return leaf;
}

static void spells_names_and_refuses_what_is_none(void **state)
{
    static const struct {
        const char *name, *text;
        const char *want; /* NULL: refused */
    } cases[] = {
        {"a DNS name", "www.example", "www.example"},
        {"one label", "localhost", "localhost"},
        {"capitals", "WWW.Example", "www.example"},
        {"a closing dot", "www.example.", "www.example"},
        {"underscore and hyphen", "_x-1.a_b.example", "_x-1.a_b.example"},
        {"an A-label", "xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"IPv4", "192.0.2.1", "192.0.2.1"},
        {"IPv6", "2001:DB8:0::1", "2001:db8::1"},
        {"a label of 63", LABEL_63 ".example", LABEL_63 ".example"},
        {"a label of 64", LABEL_63 "4.example", NULL},
        {"255 characters", LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63, NULL},
        {"nothing", "", NULL},
        {"a dot", ".", NULL},
        {"an empty label", "www..example", NULL},
        {"a dot in front", ".example", NULL},
        {"two closing dots", "www.example..", NULL},
        {"a wildcard", "*.example", NULL},
        {"a blank", "www example", NULL},
        {"a line feed", "www.example\n", NULL},
        {"not ASCII",
         "b\xc3\xbc"
         "cher.example",
         NULL},
        {"an address and a port", "192.0.2.1:443", NULL},
        {"an address in brackets", "[2001:db8::1]", NULL},
        {"an address with a zone", "fe80::1%eth0", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[MINT_NAME_SIZE];

        print_message("  %s\n", cases[i].name);
        assert_int_equal(mint_name_spell(cases[i].text, out), cases[i].want != NULL);
        assert_int_equal(mint_name_ok(cases[i].text), cases[i].want != NULL);
        if (cases[i].want)
            assert_string_equal(out, cases[i].want);
    }
}

static void takes_the_longest_name(void **state)
{
    char name[MINT_NAME_SIZE + 1], out[MINT_NAME_SIZE];
    CLEANUP(own_x509) X509 *leaf = NULL;

    (void)state;
    for (size_t i = 0; i < MINT_NAME_SIZE; i++)
        name[i] = i % 60 == 59 ? '.' : 'a';
    name[MINT_NAME_SIZE] = 0;
    assert_false(mint_name_spell(name, out));
    name[MINT_NAME_SIZE - 1] = 0;
    assert_true(mint_name_spell(name, out));
    assert_string_equal(out, name);
    leaf = mint(name);
    assert_true(verifies(leaf, authority->chain, authority->root, name));
}

/* The value of the one extension of this kind. */
static void *only(X509 *cert, int nid, int *critical)
{
    void *value = X509_get_ext_d2i(cert, nid, critical, NULL);

    assert_non_null(value); /* NULL for two of a kind as well */
    return value;
}

static void names_what_was_asked_and_nothing_else(void **state)
{
    static const struct {
        const char *name, *asked;
        const char *want;
        int type;
        bool has_cn;
    } cases[] = {
        {"a DNS name", "WWW.Example.", "www.example", GEN_DNS, true},
        {"64 characters", "b." LABEL_62, "b." LABEL_62, GEN_DNS, true},
        {"65 characters", "b." LABEL_63, "b." LABEL_63, GEN_DNS, false},
        {"IPv4", "192.0.2.1", "192.0.2.1", GEN_IPADD, true},
        {"IPv6", "2001:db8::1", "2001:db8::1", GEN_IPADD, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(own_x509) X509 *leaf = mint(cases[i].asked);
        X509_NAME *subject = X509_get_subject_name(leaf);
        char text[INET6_ADDRSTRLEN + 64] = "", cn[80] = "";
        const ASN1_STRING *value;
        GENERAL_NAMES *names;
        int type, critical;

        print_message("  %s\n", cases[i].name);
        names = only(leaf, NID_subject_alt_name, &critical);
        assert_int_equal(sk_GENERAL_NAME_num(names), 1);
        value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
        assert_int_equal(type, cases[i].type);
        if (type == GEN_DNS)
            memcpy(text, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
        else
            inet_ntop(ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6,
                      ASN1_STRING_get0_data(value), text, sizeof(text));
        assert_string_equal(text, cases[i].want);
        assert_int_equal(X509_NAME_entry_count(subject), cases[i].has_cn);
        assert_int_equal(critical, !cases[i].has_cn); /* RFC 5280 section 4.2.1.6 */
        X509_NAME_get_text_by_NID(subject, NID_commonName, cn, sizeof(cn));
        assert_string_equal(cn, cases[i].has_cn ? cases[i].want : "");
        assert_true(verifies(leaf, authority->chain, authority->root, cases[i].want));
        GENERAL_NAMES_free(names);
    }
}

static void is_named_in_its_cn_alone_where_upstreams_is(void **state)
{
    static const struct {
        const char *name;
        int alts;
    } cases[] = {{"www.example", 0}, {"192.0.2.1", 0}, {"b." LABEL_63, 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mint_profile profile = {.name = cases[i].name,
                                       .not_before = now - DAY,
                                       .not_after = now + DAY,
                                       .cn_only = true};
        CLEANUP(own_x509) X509 *leaf = NULL;

        print_message("  %s\n", cases[i].name);
        assert_int_equal(mint_leaf(&leaf, authority, leaf_key, &profile, now, NULL), 0);
        assert_int_equal(X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1) >= 0, cases[i].alts);
        assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), !cases[i].alts);
    }
}

static void demands_a_staple_where_upstreams_does(void **state)
{
    struct mint_profile profile = {.name = "www.example",
                                   .not_before = now - DAY,
                                   .not_after = now + DAY,
                                   .must_staple = true};
    CLEANUP(own_x509) X509 *leaf = NULL;
    TLS_FEATURE *features;

    (void)state;
    assert_int_equal(mint_leaf(&leaf, authority, leaf_key, &profile, now, NULL), 0);
    features = only(leaf, NID_tlsfeature, NULL);
    assert_int_equal(sk_ASN1_INTEGER_num(features), 1);
    assert_int_equal(ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, 0)), 5);
    TLS_FEATURE_free(features);
}

static void is_a_server_certificate_and_nothing_else(void **state)
{
    CLEANUP(own_x509) X509 *leaf = mint("www.example");
    EXTENDED_KEY_USAGE *purposes;
    BASIC_CONSTRAINTS *basic;
    int critical;

    (void)state;
    assert_int_equal(X509_get_version(leaf), 2);
    assert_int_equal(X509_get_ext_count(leaf), 6);
    purposes = only(leaf, NID_ext_key_usage, &critical);
    assert_int_equal(sk_ASN1_OBJECT_num(purposes), 1);
    assert_int_equal(OBJ_obj2nid(sk_ASN1_OBJECT_value(purposes, 0)), NID_server_auth);
    basic = only(leaf, NID_basic_constraints, &critical);
    assert_true(critical);
    assert_false(basic->ca);
    ASN1_BIT_STRING_free(only(leaf, NID_key_usage, &critical));
    assert_true(critical);
    assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_signature_nid(leaf), NID_ecdsa_with_SHA256);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(leaf), leaf_key), 1);
    EXTENDED_KEY_USAGE_free(purposes);
    BASIC_CONSTRAINTS_free(basic);
}

static void has_a_serial_of_its_own(void **state)
{
    CLEANUP(own_x509) X509 *one = mint("www.example");
    CLEANUP(own_x509) X509 *other = mint("www.example");
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(one), NULL);

    (void)state;
    assert_false(BN_is_negative(serial));
    assert_in_range(BN_num_bits(serial), 65, 128); /* 64 zero bits in front: once in 2^64 */
    assert_int_not_equal(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(one), X509_get0_serialNumber(other)), 0);
    BN_free(serial);
}

/* Python's VERIFY_X509_STRICT and Go compare the bytes, so no recipe of ours may replace them. */
static void points_at_the_authoritys_own_key_id(void **state)
{
    static const struct {
        const char *name, *key_id;
        size_t len;
    } cases[] = {
        {"SHA-1 of the key, the usual recipe", "hash", 20},
        {"bytes of someone's choice", "01:02:03:04:05", 5},
        {"none: made from the key", "", 20},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(made_free) struct made root = make_cert(&(struct make){.key_id = cases[i].key_id});
        CLEANUP(authority_free) struct authority *loaded = NULL;
        CLEANUP(own_x509) X509 *leaf = NULL;
        struct mint_profile profile = {
            .name = "www.example", .not_before = now - DAY, .not_after = now + DAY};
        const ASN1_OCTET_STRING *want = X509_get0_subject_key_id(root.cert), *got;
        const char *dir = make_empty_dir(state);

        print_message("  %s\n", cases[i].name);
        write_cert(at(dir, "tls.crt"), root.cert);
        write_cert(at(dir, "ca.crt"), root.cert);
        write_key(at(dir, "tls.key"), root.key);
        assert_int_equal(authority_load(&loaded, dir, NULL), 0);
        assert_int_equal(mint_leaf(&leaf, loaded, leaf_key, &profile, now, NULL), 0);
        got = X509_get0_authority_key_id(leaf);
        assert_non_null(got);
        assert_int_equal(ASN1_STRING_length(got), cases[i].len);
        if (want)
            assert_int_equal(ASN1_OCTET_STRING_cmp(got, want), 0);
        assert_non_null(X509_get0_subject_key_id(leaf));
        assert_int_not_equal(ASN1_OCTET_STRING_cmp(got, X509_get0_subject_key_id(leaf)), 0);
    }
}

static void stays_within_everyones_dates(void **state)
{
    enum { HOUR = 3600 };
    static const struct {
        const char *name;
        long authority_from, authority_until; /* seconds from now, as all here */
        long upstream_from, upstream_until;
        long want_from, want_until; /* both 0: refused */
        const char *says;
    } cases[] = {
        {"a usual server", -DAY, 80 * DAY, -9 * DAY, 60 * DAY, -HOUR, 60 * DAY, NULL},
        {"a server's of many years", -DAY, 999 * DAY, -999 * DAY, 999 * DAY, -HOUR,
         199 * DAY - HOUR, NULL},
        {"the authority ends first", -DAY, 9 * DAY, -DAY, 60 * DAY, -HOUR, 9 * DAY, NULL},
        {"the server's has just begun", -DAY, 80 * DAY, -60, 60 * DAY, -60, 60 * DAY, NULL},
        {"the authority has just begun", -30, 80 * DAY, -DAY, 60 * DAY, -30, 60 * DAY, NULL},
        {"the server's ends in a minute", -DAY, 80 * DAY, -DAY, 60, -HOUR, 60, NULL},
        {"the server's begins now", -DAY, 80 * DAY, 0, DAY, 0, DAY, NULL},
        {"the server's is over", -DAY, 80 * DAY, -9 * DAY, 0, 0, 0, "server's"},
        {"the server's is to come", -DAY, 80 * DAY, 1, DAY, 0, 0, "server's"},
        {"the authority is over", -9 * DAY, 0, -DAY, DAY, 0, 0, "authority is expired"},
        {"the authority is to come", 1, DAY, -DAY, DAY, 0, 0, "authority is not yet valid"},
        {"a server's without a life", -DAY, DAY, DAY, -DAY, 0, 0, "server's"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct authority other = *authority;
        struct mint_profile profile = {.name = "www.example",
                                       .not_before = now + cases[i].upstream_from,
                                       .not_after = now + cases[i].upstream_until};
        CLEANUP(own_x509) X509 *leaf = NULL;
        struct err err = {0};
        int rc;

        print_message("  %s\n", cases[i].name);
        other.not_before = now + cases[i].authority_from;
        other.not_after = now + cases[i].authority_until;
        rc = mint_leaf(&leaf, &other, leaf_key, &profile, now, &err);
        if (cases[i].says) {
            assert_int_equal(rc, -EKEYEXPIRED);
            assert_null(leaf);
            assert_non_null(strstr(err.text, cases[i].says));
            assert_non_null(strstr(err.text, "www.example"));
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(ASN1_TIME_cmp_time_t(X509_get0_notBefore(leaf), now + cases[i].want_from),
                         0);
        assert_int_equal(ASN1_TIME_cmp_time_t(X509_get0_notAfter(leaf), now + cases[i].want_until),
                         0);
    }
}

static void refuses_a_name_that_is_none(void **state)
{
    struct mint_profile profile = {
        .name = "*.example", .not_before = now - DAY, .not_after = now + DAY};
    struct err err = {0};
    X509 *leaf = NULL;

    (void)state;
    assert_int_equal(mint_leaf(&leaf, authority, leaf_key, &profile, now, &err), -EINVAL);
    assert_null(leaf);
    assert_non_null(strstr(err.text, "*.example"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spells_names_and_refuses_what_is_none),
        cmocka_unit_test(takes_the_longest_name),
        cmocka_unit_test(names_what_was_asked_and_nothing_else),
        cmocka_unit_test(is_named_in_its_cn_alone_where_upstreams_is),
        cmocka_unit_test(demands_a_staple_where_upstreams_does),
        cmocka_unit_test(is_a_server_certificate_and_nothing_else),
        cmocka_unit_test(has_a_serial_of_its_own),
        cmocka_unit_test_setup_teardown(points_at_the_authoritys_own_key_id, make_dir,
                                        make_dir_remove),
        cmocka_unit_test(stays_within_everyones_dates),
        cmocka_unit_test(refuses_a_name_that_is_none),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
