#include "certs/known.h"

#include <openssl/pem.h>

#include "make.h"

struct form {
    uint8_t bytes[4096];
    size_t len;
};

static struct span span_of_form(const struct form *form)
{
    return span_of(form->bytes, form->len);
}

static struct form plain(X509 *cert)
{
    struct form form = {.len = 0};
    uint8_t *at = form.bytes;

    form.len = (size_t)i2d_X509(cert, &at);
    return form;
}

/* With what is said about it, which is: not for servers. */
static struct form rejected(X509 *cert)
{
    X509 *with = X509_dup(cert);
    struct form form = {.len = 0};
    uint8_t *at = form.bytes;

    assert_true(X509_add1_reject_object(with, OBJ_nid2obj(NID_server_auth)));
    form.len = (size_t)i2d_X509_AUX(with, &at);
    X509_free(with);
    return form;
}

static bool is_rejected(X509 *cert)
{
    return X509_check_trust(cert, X509_TRUST_SSL_SERVER, 0) == X509_TRUST_REJECTED;
}

static void decodes_the_same_bytes_once(void **state)
{
    struct made one = make_cert(&(struct make){.name = "one"});
    struct made two = make_cert(&(struct make){.name = "two"});
    struct form first = plain(one.cert), second = plain(two.cert), again = first;
    CLEANUP(known_fini) struct known known = {0};
    CLEANUP(own_x509) X509 *a = known_cert(&known, span_of_form(&first));
    CLEANUP(own_x509) X509 *b = known_trusted_cert(&known, span_of_form(&again));
    CLEANUP(own_x509) X509 *other = known_cert(&known, span_of_form(&second));
    CLEANUP(own_x509) X509 *alone = known_cert(NULL, span_of_form(&first));

    (void)state;
    assert_ptr_equal(a, b);
    assert_int_equal(X509_cmp(a, one.cert), 0);
    assert_int_equal(X509_cmp(other, two.cert), 0);
    assert_ptr_not_equal(alone, a);
    assert_int_equal(X509_cmp(alone, a), 0);
    known_fini(&known);
    assert_int_equal(X509_cmp(a, one.cert), 0); /* the caller's */
    made_free(&one);
    made_free(&two);
}

/* Java reads the certificate alone, OpenSSL what stands behind it, too: neither gets the other's.
 */
static void keeps_what_is_said_about_a_certificate_with_those_bytes(void **state)
{
    struct made one = make_cert(&(struct make){.name = "one"});
    struct form bare = plain(one.cert), with = rejected(one.cert);
    CLEANUP(known_fini) struct known known = {0};

    (void)state;
    for (int round = 0; round < 2; round++) {
        CLEANUP(own_x509) X509 *said = known_trusted_cert(&known, span_of_form(&with));
        CLEANUP(own_x509) X509 *begins = known_cert(&known, span_of_form(&with));
        CLEANUP(own_x509) X509 *unsaid = known_trusted_cert(&known, span_of_form(&bare));

        assert_true(is_rejected(said));
        assert_false(is_rejected(begins));
        assert_false(is_rejected(unsaid));
    }
    made_free(&one);
}

static void remembers_nothing_that_is_none(void **state)
{
    struct made one = make_cert(&(struct make){.name = "one"});
    struct form cut = plain(one.cert), behind = cut;
    CLEANUP(known_fini) struct known known = {0};

    (void)state;
    cut.len--;
    memcpy(behind.bytes + behind.len, "junk", 4);
    behind.len += 4;
    for (int round = 0; round < 2; round++) {
        CLEANUP(own_x509) X509 *begins = known_cert(&known, span_of_form(&behind));

        assert_null(known_cert(&known, span_of_form(&cut)));
        assert_null(known_cert(&known, span_of("", 0)));
        assert_null(known_trusted_cert(&known, span_of_form(&behind)));
        assert_non_null(begins);
    }
    made_free(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_the_same_bytes_once),
        cmocka_unit_test(keeps_what_is_said_about_a_certificate_with_those_bytes),
        cmocka_unit_test(remembers_nothing_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
