/* What a stream of the kernel route tells of HTTP/2, as two peers of nghttp2's speak it, in
 * whatever pieces; and of handshakes, as OpenSSL makes them. */
#include "tests/unit/kernel/hearing.h"

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "tests/unit/certs/make.h"

enum { SAID_MAX = 512 };

/* What went by, in order. */
static struct piece said[SAID_MAX];
static size_t said_len;
static uint8_t bytes[1 << 20];
static size_t bytes_len;

static void say(enum abi_direction direction, const void *data, size_t len)
{
    assert_true(said_len < SAID_MAX && bytes_len + len <= sizeof(bytes));
    memcpy(bytes + bytes_len, data, len);
    said[said_len++] =
        (struct piece){.direction = direction, .bytes = span_of(bytes + bytes_len, len)};
    bytes_len += len;
}

/* ---- two peers ---- */

static nghttp2_session *client, *server;
static size_t to_send[2]; /* of a body */
static const char *trailers;

#define NV(key, text)                                                                              \
    {                                                                                              \
        (uint8_t *)(key), (uint8_t *)(text), sizeof(key) - 1, strlen(text), NGHTTP2_NV_FLAG_NONE   \
    }

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                    nghttp2_data_source *source, void *arg)
{
    const nghttp2_nv fields[] = {NV("grpc-status", trailers ? trailers : "")};
    size_t *left = source->ptr, most = *left < len ? *left : len;

    (void)arg;
    memset(out, 0, most);
    *left -= most;
    if (*left)
        return (ssize_t)most;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (trailers && session == server) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, fields, 1);
    }
    return (ssize_t)most;
}

static void ask(const char *method, const char *path, const char *type, size_t len)
{
    const nghttp2_nv fields[] = {NV(":method", method), NV(":scheme", "http"),
                                 NV(":authority", "a.example"), NV(":path", path),
                                 NV("content-type", type)};
    nghttp2_data_provider from = {.source.ptr = &to_send[0], .read_callback = body};

    to_send[0] = len;
    assert_true(nghttp2_submit_request(client, NULL, fields, type[0] ? 5 : 4, len ? &from : NULL,
                                       NULL) > 0);
}

static void answer(int32_t id, const char *code, const char *type, size_t len)
{
    const nghttp2_nv fields[] = {NV(":status", code), NV("content-type", type)};
    nghttp2_data_provider from = {.source.ptr = &to_send[1], .read_callback = body};

    to_send[1] = len;
    assert_int_equal(
        nghttp2_submit_response(server, id, fields, type[0] ? 2 : 1, len ? &from : NULL), 0);
}

static bool move(nghttp2_session *from, nghttp2_session *to, enum abi_direction direction)
{
    const uint8_t *data;
    ssize_t n = nghttp2_session_mem_send(from, &data);

    assert_true(n >= 0);
    if (!n)
        return false;
    say(direction, data, (size_t)n);
    assert_int_equal(nghttp2_session_mem_recv(to, bytes + bytes_len - n, (size_t)n), n);
    return true;
}

static void pump(void)
{
    bool any = true;

    while (any) {
        any = move(client, server, ABI_TX);
        any = move(server, client, ABI_RX) || any;
    }
}

static void peers_begin(uint32_t table_size)
{
    const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, table_size};
    nghttp2_session_callbacks *callbacks;

    said_len = bytes_len = 0;
    trailers = NULL;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_session_client_new(&client, callbacks, NULL), 0);
    assert_int_equal(nghttp2_session_server_new(&server, callbacks, NULL), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client, NGHTTP2_FLAG_NONE, &entry, table_size ? 1 : 0);
    nghttp2_submit_settings(server, NGHTTP2_FLAG_NONE, &entry, table_size ? 1 : 0);
    pump();
}

static void peers_end(void)
{
    nghttp2_session_del(client);
    nghttp2_session_del(server);
}

/* ---- scenes ---- */

static void two_requests(void)
{
    ask("GET", "/a", "", 0);
    pump();
    answer(1, "200", "", 5);
    pump();
    ask("POST", "/b", "", 70000);
    pump();
    answer(3, "404", "", 0);
    pump();
}

static void at_once(void)
{
    ask("GET", "/a", "", 0);
    ask("GET", "/b", "", 0);
    pump();
    answer(3, "200", "", 0);
    answer(1, "500", "", 0);
    pump();
}

static void reset(void)
{
    ask("GET", "/a", "", 0);
    pump();
    nghttp2_submit_rst_stream(server, NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
    pump();
    ask("GET", "/b", "", 0);
    pump();
    nghttp2_submit_rst_stream(client, NGHTTP2_FLAG_NONE, 3, NGHTTP2_CANCEL);
    pump();
}

static void call(void)
{
    ask("POST", "/shop.Cart/Add", "application/grpc", 5); /* an empty message */
    pump();
    trailers = "0";
    answer(1, "200", "application/grpc", 10); /* and two of them */
    pump();
}

static void left_open(void)
{
    ask("GET", "/a", "", 0);
    pump();
}

/* As many as that the tables are full, with names that are never said again in full. */
static void many(void)
{
    char path[200];

    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof(path), "/%0*d", 100 + i % 7, i % 9);
        ask("GET", path, "", 0);
        pump();
        answer(1 + 2 * i, "204", "", 0);
        pump();
    }
}

static const struct scene {
    const char *name;
    void (*play)(void);
    uint32_t table_size;
    unsigned lines; /* 0: want says them */
    const char *want;
} scenes[] = {
    {"two requests", two_requests, 0, 0,
     "GET a.example /a #1 200 plaintext\n"
     "POST a.example /b #3 404 up 70000 plaintext\nclosed plaintext\n"},
    {"at once", at_once, 0, 0,
     "GET a.example /b #3 200 plaintext\n"
     "GET a.example /a #1 500 plaintext\nclosed plaintext\n"},
    {"reset by either", reset, 0, 0,
     "GET a.example /a #1 plaintext error: the upstream did not take the request: REFUSED_STREAM\n"
     "GET a.example /b #3 plaintext error: the program reset the stream: CANCEL\n"
     "closed plaintext\n"},
    {"a call", call, 0, 0,
     "POST a.example /shop.Cart/Add #1 200 up 5 plaintext\n"
     "grpc shop.Cart/Add OK up 1 down 2\nclosed plaintext\n"},
    {"left open", left_open, 0, 0, "GET a.example /a #1 plaintext\nclosed plaintext\n"},
    {"many", many, 0, 61, NULL},
    {"many, and large tables", many, 65536, 61, NULL},
    {"many, and no tables", many, 1, 61, NULL},
};

static void hears_all(size_t most, unsigned *seed)
{
    for (size_t i = 0; i < said_len; i++)
        for (size_t at = 0; at < said[i].bytes.len;) {
            size_t left = said[i].bytes.len - at, len = left < most ? left : most;
            struct piece piece = said[i];

            if (seed && len > 1)
                len = 1 + (size_t)rand_r(seed) % len;
            piece.bytes = span_of(said[i].bytes.data + at, len);
            hears(&piece);
            at += len;
        }
}

static void without_latency(char *text)
{
    char *from;

    while ((from = strstr(text, " after "))) {
        char *to = from + sizeof(" after ") - 1;

        while (*to >= '0' && *to <= '9')
            to++;
        memmove(from, to, strlen(to) + 1);
    }
}

static void expect(const struct scene *scene)
{
    unsigned lines = 0;

    hearing_closes();
    without_latency(heard);
    if (scene->want) {
        assert_string_equal(heard, scene->want);
        return;
    }
    for (const char *at = heard; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, scene->lines);
    assert_null(strstr(heard, "error"));
}

static void streams_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
        print_message("  %s\n", scenes[i].name);
        peers_begin(scenes[i].table_size);
        scenes[i].play();
        for (unsigned seed = 0; seed < 20; seed++) {
            hearing_opens(false, false);
            hears_all(seed ? 1 + 3 * seed * seed : SIZE_MAX, seed ? &seed : NULL);
            expect(&scenes[i]);
        }
        peers_end();
    }
}

/* A body's payload, but for its last byte. */
static void what_is_skipped_is_counted(void **state)
{
    (void)state;
    peers_begin(0);
    ask("POST", "/b", "", 10000);
    pump();
    hearing_opens(false, false);
    for (size_t i = 0; i < said_len; i++) {
        struct piece head = said[i], last = said[i];

        if (said[i].bytes.len < 9000) {
            hears(&said[i]);
            continue;
        }
        head.bytes.len -= 10000;
        last.skipped = 9999;
        last.bytes = span_of(said[i].bytes.data + said[i].bytes.len - 1, 1);
        hears(&head);
        hears(&last);
    }
    hearing_closes();
    assert_string_equal(heard, "POST a.example /b #1 up 10000 plaintext\nclosed plaintext\n");
    peers_end();
}

static void what_is_lost_ends_the_reading(void **state)
{
    (void)state;
    peers_begin(0);
    two_requests();
    hearing_opens(false, false);
    for (size_t i = 0; i < said_len; i++) {
        struct piece piece = said[i];

        piece.lost = i == said_len / 2 ? 1 : 0;
        hears(&piece);
    }
    hearing_closes();
    assert_non_null(strstr(heard, "closed opaque/lost error: the "));
    assert_non_null(strstr(heard,
                           "'s HTTP/2 could not be read: bytes of it are missing; 1 bytes of "
                           "the connection were lost on their way to the agent\n"));
    peers_end();
}

static void so_does_what_makes_no_sense(void **state)
{
    static const char text[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno SETTINGS";
    const struct piece odd = {.direction = ABI_TX, .bytes = span_of_text(text)};

    (void)state;
    policed_use(POLICY("p", "  mode: monitor\n  egress: [{toCIDR: [203.0.113.0/24], "
                            "toPorts: [{rules: {http: [{path: /fine}]}}]}]\n"));
    hearing_opens(false, false);
    hears(&odd);
    hearing_closes();
    policed_use(NULL);
    assert_string_equal(heard, "policy alert reset visibility: it is neither TLS nor HTTP\n"
                               "closed opaque/unknown error: the program's HTTP/2 could not be "
                               "read: it does not begin with SETTINGS\n");
}

/* ---- handshakes ---- */

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
        cmocka_unit_test_setup_teardown(streams_are_told, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(what_is_skipped_is_counted, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(what_is_lost_ends_the_reading, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(so_does_what_makes_no_sense, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(handshakes_are_told, hearing_begin, hearing_end),
        cmocka_unit_test_setup_teardown(a_server_is_told_once, hearing_begin, hearing_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
