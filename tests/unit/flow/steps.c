/* The thinking parts of a flow's steps: bytes and plain values in, a decision out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "proxy/flow/steps.h"

#define PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\0\4\0\0\0\0\0"

static const struct {
    const char *name;
    struct span seen;
    bool timed_out;
    enum peek_kind want;
} peeks[] = {
    {"nothing yet", BYTES(""), false, PEEK_WAIT},
    {"nothing in time", BYTES(""), true, PEEK_SILENT},
    {"a ClientHello's beginning", BYTES("\x16\x03\x01\x02\x00\x01"), false, PEEK_WAIT},
    {"a ClientHello that never ends", BYTES("\x16\x03\x01\x02\x00\x01"), true, PEEK_SILENT},
    {"a request line", BYTES("GET / HTTP/1.1\r\n"), false, PEEK_HTTP},
    {"a method that may come", BYTES("GE"), false, PEEK_WAIT},
    {"a method that never came", BYTES("GE"), true, PEEK_SILENT},
    {"HTTP/2's preface", BYTES(PREFACE), false, PEEK_HTTP2},
    {"... and what follows, as the time is up", BYTES(PREFACE SETTINGS), true, PEEK_HTTP2},
    {"half of it", BYTES("PRI * HTTP/2.0\r\n\r\n"), false, PEEK_WAIT},
    {"half of it, and no more", BYTES("PRI * HTTP/2.0\r\n\r\n"), true, PEEK_SILENT},
    {"half of it, and something else", BYTES("PRI * HTTP/2.0\r\n\r\nSN"), false, PEEK_OPAQUE},
    {"something else, as the time is up", BYTES("SSH-2.0-OpenSSH_9.2\r\n"), true, PEEK_OPAQUE},
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
    {"a length like the beginning of HTTP/2", BYTES("PR"), false, PEEK_WAIT},
    {"... and a message behind it", BYTES("PRid\x01\x00\x00\x01"), false, PEEK_DNS},
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
    {"h2 alone", BYTES("\x02h2"), 0x0304, OPAQUE_NO_REASON},
    {"a protocol nobody knows", BYTES("\3foo"), 0x0304, OPAQUE_NO_REASON},
    {"an ACME server's question", BYTES("\12acme-tls/1"), 0x0304, OPAQUE_OTHER_PROTOCOL},
    {"... beside what may be HTTP", BYTES("\12acme-tls/1\2h2"), 0x0304, OPAQUE_NO_REASON},
    {"... beside HTTP/1", BYTES("\10http/1.1\12acme-tls/1"), 0x0304, OPAQUE_NO_REASON},
    {"... beside HTTP by other names", BYTES("\10http/1.0\12acme-tls/1"), 0x0304, OPAQUE_NO_REASON},
    {"keys for a time server", BYTES("\7ntske/1"), 0x0304, OPAQUE_OTHER_PROTOCOL},
    {"PostgreSQL", BYTES("\12postgresql"), 0x0303, OPAQUE_OTHER_PROTOCOL},
    {"libp2p, and what follows", BYTES("\14/yamux/1.0.0\6libp2p"), 0x0304, OPAQUE_OTHER_PROTOCOL},
    {"a name that only begins like that", BYTES("\13acme-tls/10"), 0x0304, OPAQUE_NO_REASON},
    {"TLS 1.1 at most", BYTES(""), 0x0302, OPAQUE_OLD_TLS},
};

static void judge_opens_whatever_is_spoken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(opens); i++) {
        const struct hello hello = {.alpn = opens[i].alpn, .version_max = opens[i].version};

        print_message("  %s\n", opens[i].name);
        assert_int_equal(judge_unopenable(&hello), opens[i].want);
    }
}

static const struct {
    struct span agreed;
    enum relay_kind want;
} kinds[] = {
    {BYTES(""), RELAY_UNDECIDED},
    {BYTES("http/1.1"), RELAY_HTTP},
    {BYTES("http/1.0"), RELAY_HTTP},
    {BYTES("h2"), RELAY_HTTP2},
    {BYTES("grpc-exp"), RELAY_HTTP2},
    {BYTES("h2c"), RELAY_RAW}, /* not a name for inside TLS (RFC 7540 section 3.1) */
    {BYTES("h2\0"), RELAY_RAW},
    {BYTES("h"), RELAY_RAW},
    {BYTES("H2"), RELAY_RAW},
    {BYTES("http/1.11"), RELAY_RAW},
    {BYTES("imap"), RELAY_RAW},
};

static void open_relays_what_was_agreed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        print_message("  %.*s\n", (int)kinds[i].agreed.len, (const char *)kinds[i].agreed.data);
        assert_int_equal(open_relay_kind(kinds[i].agreed), kinds[i].want);
    }
}

static const struct {
    const char *name;
    struct span up, down;
    bool ended;
    enum relay_kind want;
} decisions[] = {
    {"a request", BYTES("GET / HTTP/1.1\r\n"), BYTES(""), false, RELAY_HTTP},
    {"a request, and the end", BYTES("GET / HTTP/1.1\r\n"), BYTES(""), true, RELAY_HTTP},
    {"a method that may come", BYTES("GE"), BYTES(""), false, RELAY_UNDECIDED},
    {"a method that never came", BYTES("GE"), BYTES(""), true, RELAY_RAW},
    {"something else", BYTES("\1\2\3"), BYTES(""), false, RELAY_RAW},
    {"a greeting", BYTES(""), BYTES("220 hello\r\n"), false, RELAY_RAW},
    {"a greeting beside a request", BYTES("GET / HTTP/1.1\r\n"), BYTES("220 "), false, RELAY_RAW},
    {"a preface", BYTES(PREFACE), BYTES(""), false, RELAY_HTTP2},
    {"half a preface", BYTES("PRI * HTTP/2.0\r\n"), BYTES(""), false, RELAY_UNDECIDED},
    {"half a preface, and the end", BYTES("PRI * HTTP/2.0\r\n"), BYTES(""), true, RELAY_RAW},
    {"a server that says first how it speaks", BYTES(""), BYTES(SETTINGS), false, RELAY_UNDECIDED},
    {"... and goes", BYTES(""), BYTES(SETTINGS), true, RELAY_RAW},
    {"... to half a preface", BYTES("PRI"), BYTES(SETTINGS), false, RELAY_UNDECIDED},
    {"... to a preface", BYTES(PREFACE SETTINGS), BYTES(SETTINGS), false, RELAY_HTTP2},
    {"... to a request", BYTES("GET / HTTP/1.1\r\n"), BYTES(SETTINGS), false, RELAY_RAW},
    {"half of that, to a preface", BYTES(PREFACE), BYTES("\0\0"), false, RELAY_HTTP2},
    {"a greeting beside a preface", BYTES(PREFACE), BYTES("220 "), false, RELAY_RAW},
};

static void relay_decides_by_the_first_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
        print_message("  %s\n", decisions[i].name);
        assert_int_equal(relay_decide(decisions[i].up, decisions[i].down, decisions[i].ended),
                         decisions[i].want);
    }
}

static const struct {
    const char *name;
    struct dial_failure failure;
    int want;
} alerts[] = {
    {"upstream's own alert goes on", {.alert = SSL_AD_UNRECOGNIZED_NAME}, SSL_AD_UNRECOGNIZED_NAME},
    {"upstream's alert beats a late verdict",
     {.alert = SSL_AD_ACCESS_DENIED, .verified = X509_V_ERR_CERT_HAS_EXPIRED},
     SSL_AD_ACCESS_DENIED},
    {"expired", {.verified = X509_V_ERR_CERT_HAS_EXPIRED}, SSL_AD_CERTIFICATE_EXPIRED},
    {"to come", {.verified = X509_V_ERR_CERT_NOT_YET_VALID}, SSL_AD_CERTIFICATE_EXPIRED},
    {"self-signed", {.verified = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT}, SSL_AD_UNKNOWN_CA},
    {"unknown issuer",
     {.verified = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
     SSL_AD_UNKNOWN_CA},
    {"too long a chain", {.verified = X509_V_ERR_CERT_CHAIN_TOO_LONG}, SSL_AD_UNKNOWN_CA},
    {"wrong name", {.verified = X509_V_ERR_HOSTNAME_MISMATCH}, SSL_AD_BAD_CERTIFICATE},
    {"wrong purpose", {.verified = X509_V_ERR_INVALID_PURPOSE}, SSL_AD_UNSUPPORTED_CERTIFICATE},
    {"revoked", {.verified = X509_V_ERR_CERT_REVOKED}, SSL_AD_CERTIFICATE_REVOKED},
    {"weak key", {.verified = X509_V_ERR_EE_KEY_TOO_SMALL}, SSL_AD_BAD_CERTIFICATE},
    {"a fault without a line",
     {.verified = X509_V_ERR_UNNESTED_RESOURCE},
     SSL_AD_CERTIFICATE_UNKNOWN},
    {"too old a version", {.old = true}, SSL_AD_PROTOCOL_VERSION},
    {"no certificate to blame", {0}, SSL_AD_HANDSHAKE_FAILURE},
};

static const struct {
    const char *name;
    struct dial_failure failure;
    enum opaque want;
} left_alone[] = {
    {"a certificate demanded, TLS 1.2",
     {.alert = SSL_AD_HANDSHAKE_FAILURE, .wants_certificate = true, .version_min = 0x0303},
     OPAQUE_CLIENT_CERT},
    {"a certificate demanded, TLS 1.3",
     {.alert = SSL_AD_CERTIFICATE_REQUIRED, .wants_certificate = true, .version_min = 0x0303},
     OPAQUE_CLIENT_CERT},
    {"a certificate demanded by hanging up",
     {.lost = true, .wants_certificate = true, .version_min = 0x0303},
     OPAQUE_CLIENT_CERT},
    {"one that is bad itself",
     {.verified = X509_V_ERR_CERT_HAS_EXPIRED, .wants_certificate = true, .lost = true},
     OPAQUE_NO_REASON},
    {"an alert of a server that wants none", {.alert = SSL_AD_HANDSHAKE_FAILURE}, OPAQUE_NO_REASON},
    {"a server that hangs up", {.lost = true}, OPAQUE_NO_REASON},
    {"a time-out behind the wish", {.wants_certificate = true}, OPAQUE_NO_REASON},
    {"too old for us, not for the pod", {.old = true, .version_min = 0x0301}, OPAQUE_OLD_TLS},
    {"too old for us, and the pod says nothing", {.old = true}, OPAQUE_OLD_TLS},
    {"too old for both", {.old = true, .version_min = 0x0303}, OPAQUE_NO_REASON},
    {"told so by an alert", {.alert = SSL_AD_PROTOCOL_VERSION}, OPAQUE_OLD_TLS},
    {"told both so by an alert",
     {.alert = SSL_AD_PROTOCOL_VERSION, .version_min = 0x0303},
     OPAQUE_NO_REASON},
};

static void dial_leaves_alone_what_may_go_well_without_us(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(left_alone); i++) {
        print_message("  %s\n", left_alone[i].name);
        assert_int_equal(dial_left_alone(&left_alone[i].failure), left_alone[i].want);
    }
}

static void verify_has_words_for_any_depth(void **state)
{
    (void)state;
    assert_string_equal(verify_words(X509_V_ERR_CERT_HAS_EXPIRED, 0), "it has expired");
    assert_string_equal(verify_words(X509_V_ERR_CERT_HAS_EXPIRED, 2),
                        "a certificate above it has expired");
    /* whatever OpenSSL comes to say where we expect it to say nothing */
    for (int result = 1; result < 100; result++)
        for (int depth = 0; depth < 3; depth++)
            assert_non_null(verify_words(result, depth));
}

static void dial_tells_the_pod_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(alerts); i++) {
        print_message("  %s\n", alerts[i].name);
        assert_int_equal(dial_alert(&alerts[i].failure), alerts[i].want);
    }
}

static const struct {
    const char *name;
    enum relay_kind kind;
    struct pipeline line;
    bool want;
} heads[] = {
    {"nothing has come", RELAY_HTTP, {.in_head = true}, false},
    {"half a head", RELAY_HTTP, {.in_head = true, .parsed = 10, .len = 10}, true},
    {"a head behind another",
     RELAY_HTTP,
     {.in_head = true, .ready = 50, .parsed = 60, .len = 60},
     true},
    {"all went on", RELAY_HTTP, {.in_head = true, .ready = 50, .parsed = 50, .len = 50}, false},
    {"a body", RELAY_HTTP, {.ready = 10, .parsed = 10, .len = 10}, false},
    {"a request that waits for answers to others",
     RELAY_HTTP,
     {.in_head = true, .ready = 50, .parsed = 50, .len = 90},
     false},
    {"half a head, and the end",
     RELAY_HTTP,
     {.in_head = true, .parsed = 5, .len = 5, .ended = true},
     false},
    {"half a DNS message", RELAY_DNS, {.in_head = true, .len = 10}, true},
    {"inside TLS, perhaps HTTP", RELAY_UNDECIDED, {.in_head = true, .len = 2}, true},
};

static void relay_knows_who_keeps_a_head_waiting(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        print_message("  %s\n", heads[i].name);
        assert_int_equal(relay_awaits_head(&heads[i].line, heads[i].kind), heads[i].want);
    }
}

static const struct {
    const char *name;
    enum relay_kind kind;
    uint64_t up_ns, down_ns;
    uint64_t due_seconds; /* 0: nobody is waited for */
    bool up;
} dues[] = {
    {"nobody has begun", RELAY_HTTP, 0, 0, 0, false},
    {"the program", RELAY_HTTP, 5, 0, 60, true},
    {"the server", RELAY_HTTP, 0, 5, 60, false},
    {"both, the program first", RELAY_HTTP, 5, 6, 60, true},
    {"both, the server first", RELAY_HTTP, 6, 5, 60, false},
    {"a DNS message", RELAY_DNS, 5, 0, 60, true},
    {"what may become HTTP has less time", RELAY_UNDECIDED, 5, 0, 10, true},
    {"bytes have all the time", RELAY_RAW, 5, 5, 0, false},
};

static void relay_knows_whose_time_for_a_head_is_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dues); i++) {
        const struct relay relay = {
            .kind = dues[i].kind, .up.head_ns = dues[i].up_ns, .down.head_ns = dues[i].down_ns};
        const uint64_t seconds = dues[i].due_seconds;

        print_message("  %s\n", dues[i].name);
        assert_int_equal(relay_head_due_ns(&relay), seconds ? 5 + seconds * 1000000000 : 0);
        assert_ptr_equal(relay_late(&relay), !seconds     ? NULL
                                             : dues[i].up ? &relay.up
                                                          : &relay.down);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peek_says_what_the_pod_speaks),
        cmocka_unit_test(peek_knows_where_name_servers_are),
        cmocka_unit_test(judge_opens_whatever_is_spoken),
        cmocka_unit_test(open_relays_what_was_agreed),
        cmocka_unit_test(relay_decides_by_the_first_bytes),
        cmocka_unit_test(dial_tells_the_pod_why),
        cmocka_unit_test(dial_leaves_alone_what_may_go_well_without_us),
        cmocka_unit_test(verify_has_words_for_any_depth),
        cmocka_unit_test(relay_knows_who_keeps_a_head_waiting),
        cmocka_unit_test(relay_knows_whose_time_for_a_head_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
