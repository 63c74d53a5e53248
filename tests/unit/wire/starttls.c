/* starttls: conversations, word by word, and at which word it is known that TLS follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/starttls.h"

#define HELLO "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
#define C(text)                                                                                    \
    {                                                                                              \
        true, BYTES(text)                                                                          \
    }
#define S(text)                                                                                    \
    {                                                                                              \
        false, BYTES(text)                                                                         \
    }

/* MySQL's packets: a greeting of protocol 10; 32 bytes with and without CLIENT_SSL, seq 1 */
#define MYSQL_GREETING                                                                             \
    "\x4a\x00\x00\x00\x0a"                                                                         \
    "8.0.36\0\x08\0\0\0salt"
#define MYSQL_REST                                                                                 \
    "\x0f\x00\x00\x00\x00\x01\xff"                                                                 \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define MYSQL_SSL   "\x20\x00\x00\x01\x85\xae" MYSQL_REST
#define MYSQL_LOGIN "\x20\x00\x00\x01\x85\xa6" MYSQL_REST

struct word {
    bool client;
    struct span bytes;
};

static const struct {
    const char *name;
    struct word words[8];
    enum starttls_status want; /* after the last */
} cases[] = {
    {"nothing", {{false, {NULL, 0}}}, STARTTLS_LOOKING},
    {"SMTP",
     {S("220 mx.test ESMTP\r\n"), C("EHLO a\r\n"), S("250-mx.test\r\n250 STARTTLS\r\n"),
      C("STARTTLS\r\n"), S("220 go ahead\r\n"), C(HELLO)},
     STARTTLS_YES},
    {"SMTP before the ClientHello",
     {S("220 mx.test ESMTP\r\n"), C("EHLO a\r\n"), S("250-mx.test\r\n250 STARTTLS\r\n"),
      C("STARTTLS\r\n"), S("220 go ahead\r\n"), C("\x16\x03\x01\x02\x00")},
     STARTTLS_LOOKING},
    {"SMTP whose server has no TLS today",
     {S("220 mx.test ESMTP\r\n"), C("EHLO a\r\n"), S("250-mx.test\r\n250 STARTTLS\r\n"),
      C("STARTTLS\r\n"), S("454 not now\r\n"), C("MAIL FROM:<a@b>\r\n"), S("250 ok\r\n")},
     STARTTLS_LOOKING},
    {"LMTP",
     {S("220 x\r\n"), C("LHLO a\r\nSTARTTLS\r\n"), S("250 x\r\n220 go\r\n"), C(HELLO)},
     STARTTLS_YES},
    {"IMAP",
     {S("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"), C("a1 STARTTLS\r\n"),
      S("a1 OK begin\r\n"), C(HELLO)},
     STARTTLS_YES},
    {"POP3", {S("+OK ready\r\n"), C("STLS\r\n"), S("+OK begin\r\n"), C(HELLO)}, STARTTLS_YES},
    {"FTP", {S("220 x\r\n"), C("AUTH TLS\r\n"), S("234 AUTH TLS\r\n"), C(HELLO)}, STARTTLS_YES},
    {"NNTP", {S("200 x\r\n"), C("STARTTLS\r\n"), S("382 go\r\n"), C(HELLO)}, STARTTLS_YES},
    {"Sieve",
     {S("\"STARTTLS\"\r\nOK\r\n"), C("STARTTLS\r\n"), S("OK\r\n"), C(HELLO)},
     STARTTLS_YES},
    {"XMPP",
     {C("<?xml version='1.0'?><stream:stream to='x'>"), S("<stream:stream><stream:features>"),
      C("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), S("<proceed/>"), C(HELLO)},
     STARTTLS_YES},
    {"LDAP",
     {C("\x30\x1d\x02\x01\x01\x77\x18\x80\x16"
        "1.3.6.1.4.1.1466.20037"),
      S("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"), C(HELLO)},
     STARTTLS_YES},
    {"PostgreSQL", {C("\x00\x00\x00\x08\x04\xd2\x16\x2f"), S("S"), C(HELLO)}, STARTTLS_YES},
    {"PostgreSQL after GSSAPI was refused",
     {C("\x00\x00\x00\x08\x04\xd2\x16\x30"), S("N"), C("\x00\x00\x00\x08\x04\xd2\x16\x2f"), S("S"),
      C(HELLO)},
     STARTTLS_YES},
    {"PostgreSQL without TLS",
     {C("\x00\x00\x00\x08\x04\xd2\x16\x2f"), S("N"), C("\x00\x00\x00\x09\x00\x03\x00\x00\x00"),
      S("R\x00\x00\x00\x08\x00\x00\x00\x00")},
     STARTTLS_LOOKING},
    {"MySQL", {S(MYSQL_GREETING), C(MYSQL_SSL), C(HELLO)}, STARTTLS_YES},
    {"MySQL in one segment", {S(MYSQL_GREETING), C(MYSQL_SSL HELLO)}, STARTTLS_YES},
    {"MySQL before the ClientHello", {S(MYSQL_GREETING), C(MYSQL_SSL)}, STARTTLS_LOOKING},
    {"MySQL in the clear", {S(MYSQL_GREETING), C(MYSQL_LOGIN HELLO)}, STARTTLS_LOOKING},
    {"TLS 1.3's record version", {C("a"), S("b"), C("\x16\x03\x03\x00\xfa\x01")}, STARTTLS_YES},
    {"TLS from its first byte", {C(HELLO)}, STARTTLS_NO},
    {"... after a greeting that nobody answered", {S("220 x\r\n"), C(HELLO)}, STARTTLS_NO},
    {"a ClientHello inside of what the client says", {C("abcdef" HELLO), S("x")}, STARTTLS_LOOKING},
    {"a record of another message",
     {C("a"), S("b"), C("\x16\x03\x01\x02\x00\x02")},
     STARTTLS_LOOKING},
    {"a record that is empty", {C("a"), S("b"), C("\x16\x03\x01\x00\x00\x01")}, STARTTLS_LOOKING},
    {"a record that is too long",
     {C("a"), S("b"), C("\x16\x03\x01\x40\x01\x01")},
     STARTTLS_LOOKING},
    {"a version that is none", {C("a"), S("b"), C("\x16\x03\x05\x02\x00\x01")}, STARTTLS_LOOKING},
    {"the server's ClientHello", {C("a"), S(HELLO), S(HELLO)}, STARTTLS_LOOKING},
};

static enum starttls_status say(struct starttls *starttls, bool client, struct span bytes)
{
    return client ? starttls_client(starttls, bytes) : starttls_server(starttls, bytes);
}

static void tells_at_the_client_hello(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct starttls whole = {0}, cut = {0};

        print_message("  %s\n", cases[i].name);
        for (size_t w = 0; w < ARRAY_SIZE(cases[i].words); w++) {
            const struct word *word = &cases[i].words[w];

            say(&whole, word->client, word->bytes);
            for (size_t at = 0; at < word->bytes.len; at++)
                say(&cut, word->client, span_of(word->bytes.data + at, 1));
        }
        assert_int_equal(whole.said, cases[i].want);
        assert_int_equal(cut.said, cases[i].want);
    }
}

static void gives_up_when_much_has_passed(void **state)
{
    static const uint8_t much[STARTTLS_SEEN_MAX];

    (void)state;
    for (int client = 0; client < 2; client++) {
        struct starttls starttls = {0};

        assert_int_equal(say(&starttls, client, span_of(much, sizeof(much))), STARTTLS_LOOKING);
        assert_int_equal(say(&starttls, !client, span_of(much, 1)), STARTTLS_NO);
        assert_int_equal(starttls_client(&starttls, BYTES(HELLO)), STARTTLS_NO);
    }
}

static void has_its_last_word(void **state)
{
    static const uint8_t much[STARTTLS_SEEN_MAX];
    struct starttls starttls = {0};

    (void)state;
    starttls_client(&starttls, BYTES("a"));
    starttls_server(&starttls, BYTES("b"));
    assert_int_equal(starttls_client(&starttls, BYTES(HELLO)), STARTTLS_YES);
    assert_int_equal(starttls_server(&starttls, span_of(much, sizeof(much))), STARTTLS_YES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_at_the_client_hello),
        cmocka_unit_test(gives_up_when_much_has_passed),
        cmocka_unit_test(has_its_last_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
