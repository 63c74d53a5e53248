/* The cipher suites that a program offers and we speak, and what of it upstream is offered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "proxy/flow/steps.h"

static const struct {
    const char *name;
    struct span offered;
    uint16_t version;
    bool fits;
    const char *upstream; /* what our ClientHello offers then, in its order */
} offers[] = {
    {"a modern client", BYTES("\x2a\x2a\x13\x01\x13\x02\xc0\x2b\xc0\x2f"), 0x0304, true,
     "TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 ECDHE-ECDSA-AES128-GCM-SHA256 "
     "ECDHE-RSA-AES128-GCM-SHA256 "},
    {"TLS 1.3 only", BYTES("\x13\x03"), 0x0304, true, "TLS_CHACHA20_POLY1305_SHA256 "},
    {"RSA that encrypts", BYTES("\0\x2f\0\xff"), 0x0303, true, "AES128-SHA "},
    {"Camellia", BYTES("\xc0\x72\0\xff"), 0x0303, false, NULL},
    {"a pre-shared key", BYTES("\xc0\x35"), 0x0303, false, NULL},
    {"no encryption at all", BYTES("\0\x3b\xc0\x10"), 0x0303, false, NULL},
    {"suites of 1.2 in a hello of 1.3", BYTES("\xc0\x2b"), 0x0304, false, NULL},
    {"suites of 1.3 in a hello of 1.2", BYTES("\x13\x01"), 0x0303, false, NULL},
    {"numbers across two", BYTES("\xab\xc0\x2b\xff"), 0x0303, false, NULL},
    {"half a number behind one", BYTES("\xc0\x2b\xc0"), 0x0303, true,
     "ECDHE-ECDSA-AES128-GCM-SHA256 "},
};

static void offer_what_the_program_offered(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    (void)state;
    assert_non_null(ctx);
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        uint32_t shared = suites_shared(offers[i].offered);
        SSL *ssl = SSL_new(ctx);
        STACK_OF(SSL_CIPHER) *list;
        char text[1024] = "";

        print_message("  %s\n", offers[i].name);
        assert_int_equal(suites_fit(shared, offers[i].version), offers[i].fits);
        if (offers[i].fits) {
            assert_true(suites_offer(ssl, shared));
            list = SSL_get1_supported_ciphers(ssl);
            for (int n = 0; n < sk_SSL_CIPHER_num(list); n++) {
                strcat(text, SSL_CIPHER_get_name(sk_SSL_CIPHER_value(list, n)));
                strcat(text, " ");
            }
            assert_string_equal(text, offers[i].upstream);
            sk_SSL_CIPHER_free(list);
        }
        SSL_free(ssl);
    }
    SSL_CTX_free(ctx);
}

static void rules_name_them_as_iana_does(void **state)
{
    static char *names[] = {(char *)"TLS_AES_128_GCM_SHA256", (char *)"ECDHE-RSA-AES128-GCM-SHA256",
                            (char *)"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", (char *)"TLS_NONE"};

    (void)state;
    assert_int_equal(suites_named(names, ARRAY_SIZE(names)),
                     suites_shared(BYTES("\x13\x01\xc0\x2f")));
    assert_int_equal(suites_named(names, 0), 0);
}

/* The table of suites.c is OpenSSL's own list, so that most programs change nothing in it. */
static void all_of_the_librarys_are_known(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    STACK_OF(SSL_CIPHER) *list = SSL_get1_supported_ciphers(ssl);

    (void)state;
    assert_true(sk_SSL_CIPHER_num(list) > 0);
    for (int n = 0; n < sk_SSL_CIPHER_num(list); n++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(list, n);
        uint16_t id = SSL_CIPHER_get_protocol_id(cipher);
        const uint8_t wire[] = {(uint8_t)(id >> 8), (uint8_t)id};

        print_message("  %s\n", SSL_CIPHER_get_name(cipher));
        assert_true(suites_shared(span_of(wire, 2)) != 0);
        assert_int_equal(suites_named((char *[]){(char *)SSL_CIPHER_standard_name(cipher)}, 1),
                         suites_shared(span_of(wire, 2)));
    }
    sk_SSL_CIPHER_free(list);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offer_what_the_program_offered),
        cmocka_unit_test(rules_name_them_as_iana_does),
        cmocka_unit_test(all_of_the_librarys_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
