#include "certs/store.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <malloc.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <unistd.h>

#include "make.h"

enum { CAPACITY = 3 };

static struct authority *authority;
static struct store *store;
static SSL_CTX *ctx;
static struct made server; /* the certificate that upstream showed */
static time_t offset;      /* of the clock, from the real one */

/* Stands before libc's, so that the store grows old when a test says so. */
time_t time(time_t *out)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += offset;
    if (out)
        *out = ts.tv_sec;
    return ts.tv_sec;
}

static int set_up(void **state)
{
    (void)state;
    offset = 0;
    server = make_cert(&(struct make){.name = "the server"});
    ctx = SSL_CTX_new(TLS_server_method());
    return ctx && authority_new(&authority, "node-1", NULL) == 0 &&
                   store_new(&store, CAPACITY, NULL) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(ERR_peek_error(), 0); /* or it would be taken for the next caller's */
    store_free(&store);
    authority_free(&authority);
    SSL_CTX_free(ctx);
    made_free(&server);
    return 0;
}

/* The leaf that a handshake for name would show; the caller's. */
static int use_leaf(const struct authority *by, SSL *ssl, enum leaf_kind kind, const char *name,
                    X509 *upstream, struct err *err)
{
    const struct leaf_order order = {
        .authority = by, .kind = kind, .name = name, .upstream = upstream};

    return store_use_leaf(store, ssl, &order, err);
}

static X509 *leaf_of(enum leaf_kind kind, const char *name, X509 *upstream)
{
    SSL *ssl = SSL_new(ctx);
    struct err err = {0};
    X509 *leaf;
    int result;

    assert_non_null(ssl);
    while ((result = use_leaf(authority, ssl, kind, name, upstream, &err)) == -EAGAIN)
        usleep(1000);
    if (result < 0)
        fail_msg("%s", err.text);
    leaf = SSL_get_certificate(ssl);
    assert_true(X509_up_ref(leaf));
    SSL_free(ssl);
    return leaf;
}

static X509 *leaf_for(const char *name, X509 *upstream)
{
    return leaf_of(LEAF_ECDSA, name, upstream);
}

/* Whether two calls, one after the other, show the same certificate. */
static bool same(X509 *before, const char *name, X509 *upstream)
{
    CLEANUP(own_x509) X509 *after = leaf_for(name, upstream);

    return X509_cmp(before, after) == 0;
}

static void serves_one_leaf_for_one_name(void **state)
{
    CLEANUP(own_x509) X509 *leaf = leaf_for("www.example", server.cert);
    CLEANUP(made_free) struct made other = make_cert(&(struct make){.name = "renewed"});

    (void)state;
    assert_true(same(leaf, "www.example", server.cert));
    assert_true(same(leaf, "WWW.Example.", server.cert));
    assert_false(same(leaf, "www.example", other.cert)); /* another upstream, other dates */
    assert_false(same(leaf, "example", server.cert));
    assert_true(verifies(leaf, authority->chain, authority->root, "www.example"));
}

static void all_leaves_have_one_key_which_is_not_the_authoritys(void **state)
{
    CLEANUP(own_x509) X509 *one = leaf_for("one.example", server.cert);
    CLEANUP(own_x509) X509 *two = leaf_for("two.example", server.cert);

    (void)state;
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(one), X509_get0_pubkey(two)), 1);
    assert_int_not_equal(EVP_PKEY_eq(X509_get0_pubkey(one), authority->key), 1);
}

static void rsa_leaves_have_a_key_of_their_own(void **state)
{
    CLEANUP(own_x509) X509 *ecdsa = leaf_for("www.example", server.cert);
    CLEANUP(own_x509) X509 *rsa = leaf_of(LEAF_RSA, "www.example", server.cert);
    CLEANUP(own_x509) X509 *other = leaf_of(LEAF_RSA, "other.example", server.cert);
    CLEANUP(own_x509) X509 *again = leaf_of(LEAF_RSA, "www.example", server.cert);

    (void)state;
    assert_true(EVP_PKEY_is_a(X509_get0_pubkey(ecdsa), "EC"));
    assert_true(EVP_PKEY_is_a(X509_get0_pubkey(rsa), "RSA"));
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(rsa)), 2048);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(rsa), X509_get0_pubkey(other)), 1);
    assert_int_equal(X509_cmp(rsa, again), 0);
    assert_true(same(ecdsa, "www.example", server.cert)); /* they live side by side */
    assert_true(verifies(rsa, authority->chain, authority->root, "www.example"));
    assert_int_equal(X509_get_key_usage(ecdsa), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_key_usage(rsa), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
}

/* All but those that only some readers would understand. */
static void shows_the_names_that_upstream_has(void **state)
{
    static const char *const kept[] = {"www.example", "*.wild.example",
                                       "Xn--Bcher-kva.a_b.example2"};
    CLEANUP(made_free) struct made upstream = make_cert(&(struct make){.name = "named"});
    CLEANUP(own_x509) X509 *leaf = NULL;
    GENERAL_NAMES *names;
    SSL *ssl;

    (void)state;
    make_extension(
        NULL, upstream.cert, NID_subject_alt_name,
        "DNS:www.example,DNS:*.wild.example,DNS:Xn--Bcher-kva.a_b.example2,DNS:*,DNS:w*.example,"
        "DNS:192.0.2.1,DNS:*.0.2.1,IP:192.0.2.2,email:a@example,DNS:a b,URI:https://x/",
        NULL);
    assert_true(X509_sign(upstream.cert, upstream.key, EVP_sha256()) > 0);
    leaf = leaf_for(NULL, upstream.cert);
    assert_true(same(leaf, NULL, upstream.cert));
    names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), ARRAY_SIZE(kept));
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, (int)i);

        assert_int_equal(name->type, GEN_DNS);
        assert_string_equal(ASN1_STRING_get0_data(name->d.dNSName), kept[i]);
    }
    GENERAL_NAMES_free(names);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
    assert_true(verifies(leaf, authority->chain, authority->root, "other.wild.example"));
    ssl = SSL_new(ctx);
    assert_int_equal(use_leaf(authority, ssl, LEAF_ECDSA, NULL, server.cert, NULL), -EINVAL);
    SSL_free(ssl);
}

/* A worker that asks is not kept waiting, nor is one that goes while the key is being made. */
static void nobody_waits_for_an_rsa_key(void **state)
{
    SSL *ssl = SSL_new(ctx);
    struct timespec before, after;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(store_ready(store, LEAF_ECDSA, NULL), 0);
    assert_int_equal(store_ready(store, LEAF_RSA, NULL), -EAGAIN);
    assert_int_equal(use_leaf(authority, ssl, LEAF_RSA, "www.example", server.cert, NULL), -EAGAIN);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec <= 1);
    assert_int_equal(use_leaf(authority, ssl, LEAF_ECDSA, "www.example", server.cert, NULL), 0);
    SSL_free(ssl);
    store_free(&store);
}

/* What is allocated: the sanitizer's word, where there is one. */
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
                                                   : mallinfo2().uordblks;
}

/* Every server name that 16 bits can tell apart, and one client that goes on asking for its own:
 * what is kept is as much as there is room for, and the honest client's leaf among it. */
static void is_bounded_whatever_is_asked_for(void **state)
{
    enum { ROOM = 256, EVERY = ROOM / 2 };
    CLEANUP(own_x509) X509 *honest = NULL;
    size_t names = getenv("SALLYPORT_FULL") ? 65536 : 4096;
    size_t full = 0;

    (void)state;
    store_free(&store);
    assert_int_equal(store_new(&store, ROOM, NULL), 0);
    honest = leaf_for("honest.example", server.cert);
    for (size_t i = 0; i < names; i++) {
        char name[64];

        snprintf(name, sizeof(name), "n%zu.hostile.example", i);
        X509_free(leaf_for(name, server.cert));
        if (i % EVERY == 0)
            assert_true(same(honest, "honest.example", server.cert));
        if (i == 2 * ROOM)
            full = allocated();
    }
    assert_true(same(honest, "honest.example", server.cert));
    assert_true(full && allocated() <= full + full / 50);
}

static void forgets_what_was_used_longest_ago(void **state)
{
    CLEANUP(own_x509) X509 *a = leaf_for("a.example", server.cert);
    CLEANUP(own_x509) X509 *b = leaf_for("b.example", server.cert);
    CLEANUP(own_x509) X509 *c = leaf_for("c.example", server.cert);
    CLEANUP(own_x509) X509 *d = NULL;

    (void)state;
    assert_true(same(a, "a.example", server.cert)); /* now b is the oldest */
    d = leaf_for("d.example", server.cert);
    assert_true(same(d, "d.example", server.cert));
    assert_true(same(c, "c.example", server.cert));
    assert_true(same(a, "a.example", server.cert));
    assert_false(same(b, "b.example", server.cert));
}

static void mints_anew_before_a_leaf_ends(void **state)
{
    static const struct {
        const char *name;
        long life; /* of upstream's certificate, seconds from now */
        long kept, gone;
    } cases[] = {
        {"30 days: an hour before the end", 30 * DAY, 30 * DAY - 3700, 30 * DAY - 3500},
        {"100 minutes: a tenth before the end", 6000, 5300, 5500},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(made_free)
        struct made upstream = make_cert(&(struct make){.from = -DAY, .until = cases[i].life});
        CLEANUP(own_x509) X509 *leaf = NULL;

        print_message("  %s\n", cases[i].name);
        leaf = leaf_for("www.example", upstream.cert);
        offset = cases[i].kept;
        assert_true(same(leaf, "www.example", upstream.cert));
        offset = cases[i].gone;
        assert_false(same(leaf, "www.example", upstream.cert));
        offset = 0;
    }
}

static void refuses_what_no_leaf_can_be_made_for(void **state)
{
    CLEANUP(made_free)
    struct made expired = make_cert(&(struct make){.from = -9 * DAY, .until = -DAY});
    SSL *ssl = SSL_new(ctx);
    struct err err = {0};

    (void)state;
    assert_int_equal(use_leaf(authority, ssl, LEAF_ECDSA, "*.example", server.cert, &err), -EINVAL);
    assert_non_null(strstr(err.text, "*.example"));
    assert_int_equal(use_leaf(authority, ssl, LEAF_ECDSA, "www.example", expired.cert, &err),
                     -EKEYEXPIRED);
    assert_non_null(strstr(err.text, "expired"));
    assert_null(SSL_get_certificate(ssl));
    SSL_free(ssl);
    store_free(&store);
    assert_int_equal(store_new(&store, 0, &err), -EINVAL);
}

/* The chain is sent as the authority has it, and none is searched for when there is none. */
static void sends_the_chain_without_the_root(void **state)
{
    CLEANUP(made_free) struct made root = make_cert(&(struct make){.name = "root"});
    CLEANUP(made_free)
    struct made signer = make_cert(&(struct make){.name = "signer", .issuer = &root});
    CLEANUP(authority_free) struct authority *loaded = NULL;
    SSL *ssl = SSL_new(ctx);
    STACK_OF(X509) *chain = NULL;

    write_cert(at(*state, "tls.crt"), signer.cert);
    write_key(at(*state, "tls.key"), signer.key);
    write_cert(at(*state, "ca.crt"), root.cert);
    assert_int_equal(authority_load(&loaded, *state, NULL), 0);
    assert_int_equal(use_leaf(authority, ssl, LEAF_ECDSA, "www.example", server.cert, NULL), 0);
    SSL_get0_chain_certs(ssl, &chain);
    assert_int_equal(sk_X509_num(chain), 0); /* not -1, which would be no chain */
    /* the same name and server by another authority */
    assert_int_equal(use_leaf(loaded, ssl, LEAF_ECDSA, "www.example", server.cert, NULL), 0);
    SSL_get0_chain_certs(ssl, &chain);
    assert_int_equal(sk_X509_num(chain), 1);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 0), signer.cert), 0);
    SSL_free(ssl);
}

/* What the authority of yesterday signed makes room for what today's does, and only that. */
static void lets_go_of_what_a_former_authority_signed(void **state)
{
    CLEANUP(authority_free) struct authority *today = NULL, *yesterday = authority;
    CLEANUP(own_x509) X509 *old = leaf_for("old.example", server.cert);
    CLEANUP(own_x509) X509 *older = leaf_for("older.example", server.cert);
    CLEANUP(own_x509) X509 *fresh = NULL, *first = NULL, *second = NULL, *anew = NULL;

    (void)state;
    assert_int_equal(authority_new(&today, "node-1", NULL), 0);
    authority = today;
    fresh = leaf_for("old.example", server.cert);
    assert_int_not_equal(X509_cmp(old, fresh), 0); /* never another's leaf */
    store_forget(store, &(struct anchors){.main = yesterday}, &(struct anchors){.main = yesterday});
    authority = yesterday;
    assert_true(same(old, "old.example", server.cert));
    assert_true(same(older, "older.example", server.cert));
    store_forget(store, &(struct anchors){.main = yesterday}, &(struct anchors){.main = today});
    authority = today;
    first = leaf_for("first.example", server.cert);
    second = leaf_for("second.example", server.cert);
    assert_true(same(fresh, "old.example", server.cert));
    assert_true(same(first, "first.example", server.cert));
    authority = yesterday;
    anew = leaf_for("old.example", server.cert); /* of a flow that began before */
    assert_int_not_equal(X509_cmp(old, anew), 0);
    assert_true(same(anew, "old.example", server.cert));
    authority = NULL; /* both are freed here */
}

enum { THREADS = 4, ROUNDS = 200 };

/* More names than room, from every thread: each mints, finds and evicts what the others hold. */
static void *ask_for_many(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    uintptr_t faults = 0;

    for (int i = 0; i < ROUNDS; i++) {
        SSL *ssl = SSL_new(ctx);
        char name[32];

        snprintf(name, sizeof(name), "n%d.example", rand_r(&seed) % (2 * CAPACITY));
        if (use_leaf(authority, ssl, LEAF_ECDSA, name, server.cert, NULL) < 0 ||
            X509_check_host(SSL_get_certificate(ssl), name, 0, 0, NULL) != 1)
            faults++;
        SSL_free(ssl);
    }
    return (void *)faults;
}

static void serves_many_threads(void **state)
{
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_many, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *faults;

        assert_int_equal(pthread_join(threads[i], &faults), 0);
        assert_null(faults);
    }
}

static int set_up_with_dir(void **state)
{
    return make_dir(state) == 0 ? set_up(state) : -1;
}

static int tear_down_with_dir(void **state)
{
    return tear_down(state) == 0 ? make_dir_remove(state) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serves_one_leaf_for_one_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_leaves_have_one_key_which_is_not_the_authoritys, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(rsa_leaves_have_a_key_of_their_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shows_the_names_that_upstream_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_waits_for_an_rsa_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_bounded_whatever_is_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets_what_was_used_longest_ago, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lets_go_of_what_a_former_authority_signed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mints_anew_before_a_leaf_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_no_leaf_can_be_made_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sends_the_chain_without_the_root, set_up_with_dir,
                                        tear_down_with_dir),
        cmocka_unit_test_setup_teardown(serves_many_threads, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
