#include "certs/fit.h"

#include "make.h"

static const struct {
    const char *what, *cn, *alt, *name;
    enum fit want;
} cases[] = {
    {"the name", "x", "DNS:good.test", "good.test", FIT_ALT_NAME},
    {"another name", "x", "DNS:good.test", "other.test", FIT_NOT},
    {"the last of some", "x", "DNS:a.test,IP:192.0.2.1,DNS:good.test", "good.test", FIT_ALT_NAME},
    {"a name that is longer", "x", "DNS:good.test", "good.test.evil", FIT_NOT},
    {"a name that is shorter", "x", "DNS:good.test.evil", "good.test", FIT_NOT},
    {"upper case in one", "x", "DNS:Good.TEST", "good.test", FIT_ALT_NAME},
    {"upper case in the other", "x", "DNS:good.test", "GOOD.test", FIT_ALT_NAME},
    {"a closing dot", "x", "DNS:good.test.", "good.test", FIT_ALT_NAME},
    {"a dot alone", "x", "DNS:.", "good.test", FIT_NOT},
    {"a single label", "x", "DNS:single", "single", FIT_ALT_NAME},
    {"an address", "x", "IP:192.0.2.1", "192.0.2.1", FIT_ALT_NAME},
    {"another address", "x", "IP:192.0.2.1", "192.0.2.2", FIT_NOT},
    {"an IPv6 address", "x", "IP:2001:db8::1", "2001:db8::1", FIT_ALT_NAME},
    {"the same bits in the other family", "x", "IP:::ffff:192.0.2.1", "192.0.2.1", FIT_NOT},
    {"an address as a name", "x", "DNS:192.0.2.1", "192.0.2.1", FIT_NOT},
    {"a name of four bytes as an address", "x", "IP:97.46.98.99", "a.bc", FIT_NOT},
    {"a wildcard", "x", "DNS:*.good.test", "a.good.test", FIT_ALT_NAME},
    {"with a closing dot", "x", "DNS:*.good.test.", "a.good.test", FIT_ALT_NAME},
    {"for an underscore", "x", "DNS:*.good.test", "a_b.good.test", FIT_ALT_NAME},
    {"for an A-label", "x", "DNS:*.good.test", "xn--a.good.test", FIT_ALT_NAME},
    {"for no label", "x", "DNS:*.good.test", "good.test", FIT_NOT},
    {"for two labels", "x", "DNS:*.good.test", "a.b.good.test", FIT_NOT},
    {"for a label of its end", "x", "DNS:*.good.test", "a.evilgood.test", FIT_NOT},
    {"over all names", "x", "DNS:*", "single", FIT_NOT},
    {"over all names with a dot", "x", "DNS:*.", "single", FIT_NOT},
    {"over a top-level domain", "x", "DNS:*.test", "good.test", FIT_NOT},
    {"over one, with a closing dot", "x", "DNS:*.test.", "good.test", FIT_NOT},
    {"over an empty label", "x", "DNS:*..test", "a..test", FIT_ALT_NAME},
    {"at the end of a label", "x", "DNS:a*.good.test", "ab.good.test", FIT_NOT},
    {"at its beginning", "x", "DNS:*b.good.test", "ab.good.test", FIT_NOT},
    {"in the second label", "x", "DNS:a.*.test", "a.good.test", FIT_NOT},
    {"twice", "x", "DNS:*.*.test", "a.good.test", FIT_NOT},
    {"for an address", "x", "DNS:*.0.2.1", "192.0.2.1", FIT_NOT},
    {"the common name", "good.test", NULL, "good.test", FIT_COMMON_NAME},
    {"the common name, a wildcard", "*.good.test", NULL, "a.good.test", FIT_COMMON_NAME},
    {"the common name, an address", "192.0.2.1", NULL, "192.0.2.1", FIT_COMMON_NAME},
    {"the common name, a wildcard for an address", "*.0.2.1", NULL, "192.0.2.1", FIT_NOT},
    {"the common name beside mail", "good.test", "email:a@b.test", "good.test", FIT_COMMON_NAME},
    {"the common name beside another", "good.test", "DNS:other.test", "good.test", FIT_NOT},
    {"the common name beside an address", "good.test", "IP:192.0.2.1", "good.test", FIT_NOT},
    {"mail alone", "x", "email:a@good.test", "good.test", FIT_NOT},
};

static void fits_the_names_that_curl_takes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(made_free)
        struct made made = make_cert(&(struct make){.name = cases[i].cn, .alt = cases[i].alt});

        print_message("  %s\n", cases[i].what);
        assert_int_equal(fit_name(made.cert, cases[i].name), cases[i].want);
    }
}

static void add_cn(X509 *cert, const char *cn, int len)
{
    assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                           (const unsigned char *)cn, len, -1, 0));
}

static void knows_the_last_common_name_only(void **state)
{
    CLEANUP(made_free) struct made made = make_cert(&(struct make){.name = "first.test"});

    (void)state;
    add_cn(made.cert, "last.test", -1);
    assert_int_equal(fit_name(made.cert, "first.test"), FIT_NOT);
    assert_int_equal(fit_name(made.cert, "last.test"), FIT_COMMON_NAME);
    add_cn(made.cert, "last.test\0.evil.test", 20);
    assert_int_equal(fit_name(made.cert, "last.test"), FIT_NOT);
}

static void a_nul_in_a_name_is_no_end(void **state)
{
    static const char name[] = "good.test\0.evil.test";
    CLEANUP(made_free) struct made made = make_cert(&(struct make){.name = "good.test"});
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *alt = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();

    (void)state;
    assert_true(ASN1_STRING_set(value, name, sizeof(name) - 1));
    GENERAL_NAME_set0_value(alt, GEN_DNS, value);
    assert_true(sk_GENERAL_NAME_push(names, alt));
    assert_int_equal(X509_add1_ext_i2d(made.cert, NID_subject_alt_name, names, 0, 0), 1);
    assert_int_equal(fit_name(made.cert, "good.test"), FIT_NOT);
    GENERAL_NAMES_free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_the_names_that_curl_takes),
        cmocka_unit_test(knows_the_last_common_name_only),
        cmocka_unit_test(a_nul_in_a_name_is_no_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
