#include "certs/anchors.h"

#include "certs/own.h"
#include "make.h"

static struct made roots[2], servers[2];
static struct authority *authority;

static int set_up(void **state)
{
    (void)state;
    roots[0] = make_cert(&(struct make){.name = "root one"});
    roots[1] = make_cert(&(struct make){.name = "root two"});
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
        servers[i] = make_cert(&(struct make){
            .name = "server", .issuer = &roots[i], .basic = "", .usage = "digitalSignature"});
    return authority_new(&authority, "node", NULL);
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
        made_free(&roots[i]);
        made_free(&servers[i]);
    }
    authority_free(&authority);
    return 0;
}

/* What trusts these roots, by their numbers: "12" both; behind "-", those that it rejects. */
static X509_STORE *trust_in(const char *numbers)
{
    X509_STORE *trust = X509_STORE_new();
    bool rejects = false;

    for (const char *c = numbers; *c; c++) {
        CLEANUP(own_x509) X509 *root = NULL;

        if (*c == '-') {
            rejects = true;
            continue;
        }
        root = X509_dup(roots[*c - '1'].cert);
        if (rejects)
            X509_add1_reject_object(root, OBJ_nid2obj(NID_server_auth));
        assert_true(X509_STORE_add_cert(trust, root));
    }
    return trust;
}

static SSL *make_ssl(SSL_CTX *ctx, BIO *bio, bool is_server)
{
    SSL *ssl = SSL_new(ctx);

    assert_non_null(ssl);
    SSL_set_bio(ssl, bio, bio);
    if (is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

/* The client's side of a handshake with server, verified against both roots. */
static SSL *shake_hands(const struct made *server)
{
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX *server_ctx = SSL_CTX_new(TLS_server_method());
    BIO *client_bio, *server_bio;
    SSL *client, *peer;

    assert_int_equal(SSL_CTX_use_certificate(server_ctx, server->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server_ctx, server->key), 1);
    SSL_CTX_set_cert_store(client_ctx, trust_in("12"));
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    assert_int_equal(BIO_new_bio_pair(&client_bio, 0, &server_bio, 0), 1);
    client = make_ssl(client_ctx, client_bio, false);
    peer = make_ssl(server_ctx, server_bio, true);
    for (int i = 0; i < 8; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(peer);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(peer));
    SSL_free(peer);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    return client;
}

static bool knows(const struct anchors *anchors, size_t file, const struct authority *chosen)
{
    STACK_OF(X509) *known = anchors_roots(anchors, file);
    bool found = false;

    assert_non_null(known);
    for (int i = 0; i < sk_X509_num(known); i++)
        found |= X509_cmp(sk_X509_value(known, i), chosen->root) == 0;
    sk_X509_free(known);
    return found;
}

/* Whoever reads a file trusts the leaf if, and only if, it would have trusted the server. */
static void shows_a_server_to_those_who_trust_it(void **state)
{
    static const struct {
        const char *name;
        const char *files[ANCHORS_MAX]; /* the roots in each */
        size_t server;
        bool main;
        const char *known; /* to whom: numbers of files */
    } cases[] = {
        {"one file", {"12"}, 0, true, "1"},
        {"one file, which does not trust it: who adds does", {"1"}, 1, false, ""},
        {"both files", {"12", "1"}, 0, true, "12"},
        {"the first alone", {"12", "1"}, 1, false, "1"},
        {"the second alone", {"1", "2"}, 1, false, "2"},
        {"neither: who adds has it", {"1", "1"}, 1, false, ""},
        {"the outer two of three", {"2", "1", "12"}, 1, false, "13"},
        {"all three", {"2", "12", "12"}, 1, true, "123"},
        {"the first, as the second rejects its root", {"12", "1-2"}, 1, false, "1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        X509_STORE *trust[ANCHORS_MAX];
        SSL *ssl = shake_hands(&servers[cases[i].server]);
        const struct authority *chosen;
        struct anchors anchors;
        char known[ANCHORS_MAX + 1] = "";
        size_t len = 0;

        print_message("  %s\n", cases[i].name);
        for (; len < ANCHORS_MAX && cases[i].files[len]; len++)
            trust[len] = trust_in(cases[i].files[len]);
        assert_int_equal(anchors_init(&anchors, authority, "node", trust, len, NULL), 0);
        chosen = anchors_choose(&anchors, ssl);
        assert_int_equal(chosen == authority, cases[i].main);
        for (size_t file = 0; file < len; file++)
            if (knows(&anchors, file, chosen))
                known[strlen(known)] = (char)('1' + file);
        assert_string_equal(known, cases[i].known);
        assert_true(knows(&anchors, ANCHORS_ANY, chosen));
        anchors_fini(&anchors);
        SSL_free(ssl);
    }
}

static void shows_to_nobody_what_has_no_certificate(void **state)
{
    X509_STORE *trust[] = {trust_in("1"), trust_in("2")};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    struct anchors anchors;

    (void)state;
    assert_int_equal(anchors_init(&anchors, authority, "node", trust, ARRAY_SIZE(trust), NULL), 0);
    assert_ptr_equal(anchors_choose(&anchors, ssl), anchors.made[0]);
    anchors_fini(&anchors);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shows_a_server_to_those_who_trust_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shows_to_nobody_what_has_no_certificate, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
