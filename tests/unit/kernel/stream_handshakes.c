/* What a stream of the kernel route tells of handshakes, as OpenSSL makes them, in whatever pieces:
 * of a program that encrypts by itself, and of one that hands over its keys behind them. */
#include "tests/unit/kernel/hearing_said.h"

#include <openssl/ssl.h>

#include "tests/unit/certs/make.h"

/* One handshake, which is what is said; the session that the client keeps of it. */
static SSL_SESSION *shake(SSL_CTX *const contexts[2], const char *name, SSL_SESSION *session)
{
    SSL *ssl[2];
    BIO *out[2];

    said_len = bytes_len = 0;
    for (size_t i = 0; i < 2; i++) {
        ssl[i] = SSL_new(contexts[i]);
        out[i] = BIO_new(BIO_s_mem());
        assert_non_null(ssl[i]);
        SSL_set_bio(ssl[i], BIO_new(BIO_s_mem()), out[i]);
    }
    SSL_set_tlsext_host_name(ssl[0], name);
    if (session)
        SSL_set_session(ssl[0], session);
    SSL_set_connect_state(ssl[0]);
    SSL_set_accept_state(ssl[1]);
    for (int i = 0; i < 6; i++) {
        char *data;
        long n;

        SSL_do_handshake(ssl[i % 2]);
        n = BIO_get_mem_data(out[i % 2], &data);
        if (n > 0) {
            say(i % 2 ? ABI_RX : ABI_TX, data, (size_t)n);
            said[said_len - 1].flags = ABI_SAID_RECORDS;
            BIO_write(SSL_get_rbio(ssl[1 - i % 2]), data, (int)n);
            (void)BIO_reset(out[i % 2]);
        }
    }
    assert_int_equal(SSL_session_reused(ssl[0]), session != NULL);
    SSL_read(ssl[0], &(char){0}, 1); /* TLS 1.3's tickets */
    SSL_SESSION_free(session);
    session = SSL_get1_session(ssl[0]);
    for (size_t i = 0; i < 2; i++) {
        SSL_set_shutdown(ssl[i],
                         SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or it is forgotten */
        SSL_free(ssl[i]);
    }
    return session;
}

enum anew { ANEW, BY_TICKET, BY_ID, ASKED_AGAIN, BY_TICKET_ASKED_AGAIN };

static void shake_hands(int version, const char *name, enum anew anew)
{
    struct made made = make_cert(&(struct make){.name = name, .usage = ""});
    SSL_CTX *contexts[2] = {SSL_CTX_new(TLS_client_method()), SSL_CTX_new(TLS_server_method())};
    SSL_SESSION *session;

    SSL_CTX_use_certificate(contexts[1], made.cert);
    SSL_CTX_use_PrivateKey(contexts[1], made.key);
    if (anew == BY_ID)
        SSL_CTX_set_options(contexts[1], SSL_OP_NO_TICKET);
    if (anew >= ASKED_AGAIN) /* the client has no share for it in its first hello */
        SSL_CTX_set1_groups_list(contexts[1], "P-384");
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_set_max_proto_version(contexts[i], version);
    session = shake(contexts, name, NULL);
    if (anew != ANEW && anew != ASKED_AGAIN)
        session = shake(contexts, name, session);
    SSL_SESSION_free(session);
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_free(contexts[i]);
    made_free(&made);
}

#define OWN_12    "tls a.example TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
#define OWN_13    "tls a.example TLS1.3 TLS_AES_256_GCM_SHA384"
#define BY_12     " by TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 771\n"
#define BY_13     " by TLS_AES_256_GCM_SHA384 772\n"
#define OPAQUE    " opaque/own tls\nclosed opaque/own tls"
#define OPAQUE_12 OPAQUE BY_12
#define OPAQUE_13 OPAQUE BY_13

static const struct hands {
    const char *name;
    int version;
    enum anew anew;
    uint16_t keys;
    bool both, unread; /* keys; no plain text comes of them */
    const char *want;
} hands[] = {
    {"TLS 1.3, by the program itself", TLS1_3_VERSION, ANEW, 0, false, false, OWN_13 OPAQUE_13},
    {"TLS 1.2, by the program itself", TLS1_2_VERSION, ANEW, 0, false, false,
     OWN_12 " CN=a.example" OPAQUE_12},
    {"... resumed by a ticket", TLS1_2_VERSION, BY_TICKET, 0, false, false,
     OWN_12 " resumed" OPAQUE_12},
    {"... resumed by its id", TLS1_2_VERSION, BY_ID, 0, false, false, OWN_12 " resumed" OPAQUE_12},
    {"TLS 1.3, resumed", TLS1_3_VERSION, BY_TICKET, 0, false, false, OWN_13 " resumed" OPAQUE_13},
    {"TLS 1.3, asked for another hello", TLS1_3_VERSION, ASKED_AGAIN, 0, false, false,
     OWN_13 OPAQUE_13},
    {"... resumed", TLS1_3_VERSION, BY_TICKET_ASKED_AGAIN, 0, false, false,
     OWN_13 " resumed" OPAQUE_13},
    {"TLS 1.3, and keys for what is sent", TLS1_3_VERSION, ANEW, 0x0304, false, false,
     OWN_13 " ktls\nGET a.example /a #1 ktls\nclosed ktls" BY_13},
    {"TLS 1.2, and keys for both", TLS1_2_VERSION, ANEW, 0x0303, true, false,
     OWN_12 " CN=a.example ktls\nGET a.example /a #1 200 ktls\nclosed ktls" BY_12},
    {"... resumed", TLS1_2_VERSION, BY_TICKET, 0x0303, true, false,
     OWN_12 " resumed ktls\nGET a.example /a #1 200 ktls\nclosed ktls" BY_12},
    {"TLS 1.3, and keys by which nothing is read", TLS1_3_VERSION, ANEW, 0x0304, true, true,
     OWN_13 OPAQUE_13},
};

static void handshakes_are_told(void **state)
{
    static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hands); i++)
        for (unsigned seed = 0; seed < 10; seed++) {
            const struct hands *row = &hands[i];

            print_message("  %s, %u\n", row->name, seed);
            shake_hands(row->version, "a.example", row->anew);
            hearing_opens(false, false);
            hears_all(seed ? 1 + 3 * seed * seed : SIZE_MAX, seed ? &seed : NULL);
            if (row->keys)
                hears(&(struct piece){ABI_TX, .keys = row->keys, .unread = row->unread});
            if (row->keys && row->both)
                hears(&(struct piece){ABI_RX, .keys = row->keys, .unread = row->unread});
            if (row->keys && !row->unread)
                hears(&(struct piece){ABI_TX, .bytes = span_of(get, sizeof(get) - 1),
                                      .flags = ABI_SAID_KTLS});
            if (row->both && !row->unread)
                hears(&(struct piece){ABI_RX, .bytes = span_of(fine, sizeof(fine) - 1),
                                      .flags = ABI_SAID_KTLS});
            hearing_closes();
            without_latency(heard);
            assert_string_equal(heard, row->want);
        }
}

/* Its client's records are those that it reads by itself. */
static void a_server_is_told_once(void **state)
{
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    (void)state;
    shake_hands(TLS1_3_VERSION, "a.example", ANEW);
    for (size_t i = 0; i < said_len; i++)
        said[i].direction = said[i].direction == ABI_TX ? ABI_RX : ABI_TX;
    hearing_opens(true, false);
    hears_all(SIZE_MAX, NULL);
    hears(&(struct piece){ABI_TX, .keys = 0x0304});
    hears(&(struct piece){ABI_RX, BYTES("\x17\3\3\0\4data"), .flags = ABI_SAID_RECORDS});
    hears(&(struct piece){ABI_TX, BYTES(fine), .flags = ABI_SAID_KTLS});
    hearing_closes();
    assert_string_equal(heard, OWN_13 " ktls\n? a.example 200 ktls\nclosed ktls" BY_13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(handshakes_are_told, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(a_server_is_told_once, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
