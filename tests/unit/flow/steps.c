/* The thinking parts of a flow's steps: bytes and plain values in, a decision out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "proxy/flow/steps.h"

static const struct {
    const char *name;
    struct span seen;
    bool timed_out;
    enum peek_kind want;
} peeks[] = {
    {"nothing yet", BYTES(""), false, PEEK_WAIT},
    {"nothing in time is opaque", BYTES(""), true, PEEK_OPAQUE},
    {"a ClientHello's beginning", BYTES("\x16\x03\x01\x02\x00\x01"), false, PEEK_WAIT},
    {"a ClientHello that never ends", BYTES("\x16\x03\x01\x02\x00\x01"), true, PEEK_OPAQUE},
    {"a request line", BYTES("GET / HTTP/1.1\r\n"), false, PEEK_HTTP},
    {"a method that may come", BYTES("GE"), false, PEEK_WAIT},
    {"a method that never came", BYTES("GE"), true, PEEK_OPAQUE},
    {"an SSH client's greeting", BYTES("SSH-2.0-OpenSSH_9.2\r\n"), false, PEEK_OPAQUE},
    {"binary that is not TLS", BYTES("\x00\x01\x02\x03\x04\x05"), false, PEEK_OPAQUE},
    {"a handshake record of another message", BYTES("\x16\x03\x03\x00\x04\x02\x00\x00\x00"), false,
     PEEK_OPAQUE},
};

static const struct {
    const char *name;
    struct span seen;
    bool timed_out;
    enum peek_kind want;
} asked[] = {
    {"the length of a DNS message", BYTES("\x00\x1d"), false, PEEK_DNS},
    {"half of its length", BYTES("\x00"), false, PEEK_DNS},
    {"a length like the beginning of TLS", BYTES("\x16\x03"), false, PEEK_WAIT},
    {"... and a message behind it", BYTES("\x16\x03id\x01\x00\x00\x01"), false, PEEK_DNS},
    {"a length like the beginning of HTTP", BYTES("GE"), false, PEEK_WAIT},
    {"... and a message behind it", BYTES("GEid\x01\x00\x00\x01"), false, PEEK_DNS},
    {"HTTP to a name server's port", BYTES("GET / HTTP/1.1\r\n"), false, PEEK_HTTP},
    {"a program that asks later", BYTES(""), true, PEEK_DNS},
    {"a program that asks soon", BYTES(""), false, PEEK_WAIT},
};

static void peek_says_what_the_pod_speaks(void **state)
{
    static uint8_t scratch[HELLO_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(peeks); i++) {
        struct hello hello = {0};

        print_message("  %s\n", peeks[i].name);
        assert_int_equal(peek_step(peeks[i].seen, 443, peeks[i].timed_out, scratch, &hello),
                         peeks[i].want);
    }
}

static void peek_knows_where_name_servers_are(void **state)
{
    static uint8_t scratch[HELLO_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        struct hello hello = {0};

        print_message("  %s\n", asked[i].name);
        assert_int_equal(peek_step(asked[i].seen, 53, asked[i].timed_out, scratch, &hello),
                         asked[i].want);
    }
}

static const struct {
    const char *name;
    struct span alpn;
    uint16_t version;
    enum opaque want;
} opens[] = {
    {"no ALPN, TLS 1.3", BYTES(""), 0x0304, OPAQUE_NO_REASON},
    {"h2 and http/1.1", BYTES("\x02h2\x08http/1.1"), 0x0304, OPAQUE_NO_REASON},
    {"http/1.1 alone, TLS 1.2", BYTES("\x08http/1.1"), 0x0303, OPAQUE_NO_REASON},
    {"h2 alone", BYTES("\x02h2"), 0x0304, OPAQUE_NO_HTTP1},
    {"a name that only begins like ours", BYTES("\x08http/1.0"), 0x0304, OPAQUE_NO_HTTP1},
    {"TLS 1.1 at most", BYTES(""), 0x0302, OPAQUE_OLD_TLS},
};

static void judge_opens_what_speaks_http1(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(opens); i++) {
        const struct hello hello = {.alpn = opens[i].alpn, .version_max = opens[i].version};

        print_message("  %s\n", opens[i].name);
        assert_int_equal(judge_unopenable(&hello), opens[i].want);
    }
}

static const struct {
    const char *name;
    int upstream;
    long verified;
    int want;
} alerts[] = {
    {"upstream's own alert goes on", SSL_AD_UNRECOGNIZED_NAME, X509_V_OK, SSL_AD_UNRECOGNIZED_NAME},
    {"upstream's alert beats a late verdict", SSL_AD_ACCESS_DENIED, X509_V_ERR_CERT_HAS_EXPIRED,
     SSL_AD_ACCESS_DENIED},
    {"expired", 0, X509_V_ERR_CERT_HAS_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED},
    {"self-signed", 0, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SSL_AD_UNKNOWN_CA},
    {"unknown issuer", 0, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, SSL_AD_UNKNOWN_CA},
    {"wrong name", 0, X509_V_ERR_HOSTNAME_MISMATCH, SSL_AD_BAD_CERTIFICATE},
    {"wrong purpose", 0, X509_V_ERR_INVALID_PURPOSE, SSL_AD_UNSUPPORTED_CERTIFICATE},
    {"revoked", 0, X509_V_ERR_CERT_REVOKED, SSL_AD_CERTIFICATE_REVOKED},
    {"weak key", 0, X509_V_ERR_EE_KEY_TOO_SMALL, SSL_AD_CERTIFICATE_UNKNOWN},
    {"no certificate to blame", 0, X509_V_OK, SSL_AD_HANDSHAKE_FAILURE},
};

static void dial_tells_the_pod_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(alerts); i++) {
        print_message("  %s\n", alerts[i].name);
        assert_int_equal(dial_alert(alerts[i].upstream, alerts[i].verified), alerts[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peek_says_what_the_pod_speaks),
        cmocka_unit_test(peek_knows_where_name_servers_are),
        cmocka_unit_test(judge_opens_what_speaks_http1),
        cmocka_unit_test(dial_tells_the_pod_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
