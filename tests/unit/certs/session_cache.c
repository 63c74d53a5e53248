/* session_cache: what is kept is given back as it was, for whom it was kept, not too late, and
 * there is never too much of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "certs/session_cache.h"
#include "tests/unit/certs/make.h"

#define SECOND UINT64_C(1000000000)
#define START  (5000 * SECOND)

enum { CAPACITY = 16, BYTES_MAX = 1 << 20 };

static struct session_cache *cache;

static int begin(void **state)
{
    struct err err;

    (void)state;
    return session_cache_new(&cache, CAPACITY, BYTES_MAX, &err);
}

static int end(void **state)
{
    (void)state;
    session_cache_free(&cache);
    return 0;
}

static const uint8_t *key_of(uint8_t number)
{
    static uint8_t key[SESSION_CACHE_KEY_SIZE];

    memset(key, number, sizeof(key));
    return key;
}

struct what {
    int version; /* 0: TLS 1.3 */
    long age, timeout;
    long chain; /* seconds from now; 0: a day */
    struct session_facts facts;
};

/* Keeps a session with that number for an id. */
static void keep(uint8_t key, uint8_t number, const struct what *what)
{
    SSL_SESSION *session = SSL_SESSION_new();
    struct session_facts facts = what->facts;

    assert_non_null(session);
    SSL_SESSION_set_protocol_version(session, what->version ? what->version : TLS1_3_VERSION);
    SSL_SESSION_set1_id(session, &number, 1);
    SSL_SESSION_set_time(session, time(NULL) - what->age);
    SSL_SESSION_set_timeout(session, what->timeout ? what->timeout : 7200);
    facts.seen_ns = START;
    facts.not_after = time(NULL) + (what->chain ? what->chain : DAY);
    session_cache_keep(cache, key_of(key), session, &facts);
    SSL_SESSION_free(session);
}

/* The number of the session that is given, or -1. */
static int take_at(uint8_t key, uint64_t now_ns, struct session_facts *facts)
{
    SSL_SESSION *session = session_cache_take(cache, key_of(key), now_ns, facts);
    int number = session ? SSL_SESSION_get_id(session, NULL)[0] : -1;

    SSL_SESSION_free(session);
    return number;
}

static int take(uint8_t key)
{
    struct session_facts facts = {0};
    int number = take_at(key, START, &facts);

    session_facts_fini(&facts);
    return number;
}

static void tls13_is_given_once_and_tls12_again(void **state)
{
    (void)state;
    keep(1, 11, &(struct what){0});
    keep(2, 22, &(struct what){.version = TLS1_2_VERSION});
    assert_int_equal(take(1), 11);
    assert_int_equal(take(1), -1);
    assert_int_equal(take(2), 22);
    assert_int_equal(take(2), 22);
    assert_int_equal(take(3), -1);
    session_cache_drop(cache, key_of(2));
    assert_int_equal(take(2), -1);
}

static void facts_come_with_it(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct made made = make_cert(&(struct make){0});
    const struct session_facts known = {.authority = (const struct authority *)&made,
                                        .issuer = made.cert,
                                        .staple = BYTES("good"),
                                        .by_its_names = true};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        struct session_facts facts = {0};

        keep(1, 1, &(struct what){.version = versions[i], .facts = known});
        assert_int_equal(take_at(1, START, &facts), 1);
        assert_ptr_equal(facts.authority, known.authority);
        assert_ptr_equal(facts.issuer, made.cert);
        assert_true(span_equal(facts.staple, known.staple));
        assert_ptr_not_equal(facts.staple.data, known.staple.data);
        assert_true(facts.by_its_names);
        session_facts_fini(&facts);
    }
    made_free(&made);
}

static const struct {
    const char *what;
    struct what kept;
    uint64_t later; /* seconds */
    bool given;
} ages[] = {
    {"at once", {0}, 0, true},
    {"within the hour", {0}, 3599, true},
    {"after an hour, whatever the server says", {.timeout = 100000}, 3600, false},
    {"the server says less", {.age = 300, .timeout = 300}, 0, false},
    {"the server's time is not up", {.age = 299, .timeout = 300}, 0, true},
    {"a certificate has ended", {.chain = -1}, 0, false},
    {"the clock was put back", {.age = -10}, 0, false},
};

static void none_is_given_too_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ages); i++) {
        struct session_facts facts = {0};

        keep(1, 1, &ages[i].kept);
        if ((take_at(1, START + ages[i].later * SECOND, &facts) == 1) != ages[i].given)
            fail_msg("%s: %s", ages[i].what, ages[i].given ? "not given" : "given");
        session_facts_fini(&facts);
        session_cache_drop(cache, key_of(1));
    }
}

static void the_newest_of_a_key_are_kept(void **state)
{
    (void)state;
    for (uint8_t i = 1; i <= SESSION_CACHE_OF_KEY + 2; i++)
        keep(1, i, &(struct what){0});
    for (uint8_t i = 0; i < SESSION_CACHE_OF_KEY; i++)
        assert_int_equal(take(1), SESSION_CACHE_OF_KEY + 2 - i);
    assert_int_equal(take(1), -1);
}

static void the_least_recently_used_goes(void **state)
{
    const struct what tls12 = {.version = TLS1_2_VERSION};

    (void)state;
    for (uint8_t i = 0; i < CAPACITY; i++)
        keep(i, i, &tls12);
    assert_int_equal(take(0), 0);
    keep(CAPACITY, CAPACITY, &tls12);
    assert_int_equal(take(1), -1);
    assert_int_equal(take(0), 0);
    assert_int_equal(take(CAPACITY), CAPACITY);
}

static void large_ones_make_room_by_their_size(void **state)
{
    const struct what large = {.version = TLS1_2_VERSION, .facts.size = BYTES_MAX / 16 - 2000},
                      huge = {.facts.size = BYTES_MAX / 16};

    (void)state;
    keep(100, 100, &huge);
    assert_int_equal(take(100), -1);
    for (uint8_t i = 0; i < CAPACITY; i++)
        keep(i, i, &large);
    for (uint8_t i = 0; i < CAPACITY; i++)
        assert_int_equal(take(i), i);
    keep(50, 50, &(struct what){.facts.size = 40000});
    assert_int_equal(take(0), -1);
    assert_int_equal(take(50), 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(tls13_is_given_once_and_tls12_again),
        TEST(facts_come_with_it),
        TEST(none_is_given_too_late),
        TEST(the_newest_of_a_key_are_kept),
        TEST(the_least_recently_used_goes),
        TEST(large_ones_make_room_by_their_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
