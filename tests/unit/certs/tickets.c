/* tickets: one worker's ticket is another's, for a time, and in the context it was made in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "certs/tickets.h"
#include "tests/unit/certs/make.h"

#define SECOND UINT64_C(1000000000)

static void keys_get_old(void **state)
{
    const uint64_t start = 7 * SECOND, turn = TICKETS_ROTATE_SECONDS * SECOND;
    uint8_t first[TICKETS_NAME_SIZE], second[TICKETS_NAME_SIZE], third[TICKETS_NAME_SIZE];
    CLEANUP(tickets_free) struct tickets *tickets = NULL;
    struct err err;

    (void)state;
    assert_int_equal(tickets_new(&tickets, &err), 0);
    memset(first, 0, sizeof(first));
    assert_int_equal(tickets_opens(tickets, start, first), 0); /* none is made yet */
    assert_true(tickets_name(tickets, start, first));
    assert_true(tickets_name(tickets, start + turn - 1, second));
    assert_memory_equal(first, second, sizeof(first));
    assert_int_equal(tickets_opens(tickets, start + turn - 1, first), 1);
    assert_int_equal(tickets_opens(tickets, start + turn, first), 2); /* though none has followed */
    assert_true(tickets_name(tickets, start + turn, second));
    assert_memory_not_equal(first, second, sizeof(first));
    assert_int_equal(tickets_opens(tickets, start + turn, first), 2);
    assert_int_equal(tickets_opens(tickets, start + turn, second), 1);
    assert_int_equal(tickets_opens(tickets, start + 2 * turn, first), 0);
    assert_true(tickets_name(tickets, start + 9 * turn, third)); /* nobody asked for long */
    assert_int_equal(tickets_opens(tickets, start + 9 * turn, second), 0);
    assert_int_equal(tickets_opens(tickets, start + 9 * turn, third), 1);
}

/* ---- two workers and a client ---- */

static struct made made;
static SSL_CTX *client_ctx;

static SSL_CTX *worker_ctx(struct tickets *tickets)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_true(SSL_CTX_use_certificate(ctx, made.cert));
    assert_true(SSL_CTX_use_PrivateKey(ctx, made.key));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    assert_true(tickets_use(tickets, ctx));
    return ctx;
}

/* One connection; *session is offered, and replaced by what the client has at its end. */
static bool resumed(SSL_CTX *worker, const char *context, int version, SSL_SESSION **session)
{
    SSL *client = SSL_new(client_ctx), *server = SSL_new(worker);
    BIO *ours, *theirs;
    char byte;
    bool went_on;

    assert_int_equal(BIO_new_bio_pair(&ours, 0, &theirs, 0), 1);
    SSL_set_bio(client, ours, ours);
    SSL_set_bio(server, theirs, theirs);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    SSL_set_min_proto_version(client, version);
    SSL_set_max_proto_version(client, version);
    SSL_set_session_id_context(server, (const unsigned char *)context, (unsigned)strlen(context));
    if (*session)
        SSL_set_session(client, *session);
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
    SSL_read(client, &byte, 1); /* the ticket of TLS 1.3 */
    went_on = SSL_session_reused(server);
    assert_int_equal(went_on, SSL_session_reused(client));
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client);
    SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    ERR_clear_error();
    return went_on;
}

static void workers_share_them(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    CLEANUP(tickets_free) struct tickets *tickets = NULL, *strange = NULL;
    SSL_CTX *workers[2], *stranger;
    struct err err;

    (void)state;
    made = make_cert(&(struct make){.usage = "digitalSignature"});
    client_ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(tickets_new(&tickets, &err), 0);
    assert_int_equal(tickets_new(&strange, &err), 0);
    workers[0] = worker_ctx(tickets);
    workers[1] = worker_ctx(tickets);
    stranger = worker_ctx(strange);
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        SSL_SESSION *session = NULL;

        assert_false(resumed(workers[0], "a", versions[i], &session));
        assert_true(resumed(workers[1], "a", versions[i], &session));
        assert_true(resumed(workers[0], "a", versions[i], &session));
        assert_false(resumed(workers[0], "b", versions[i], &session));
        assert_true(resumed(workers[1], "b", versions[i], &session));
        assert_false(resumed(stranger, "b", versions[i], &session));
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(workers[0]);
    SSL_CTX_free(workers[1]);
    SSL_CTX_free(stranger);
    SSL_CTX_free(client_ctx);
    made_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_get_old),
        cmocka_unit_test(workers_share_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
