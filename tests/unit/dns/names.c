#include "proxy/dns/names.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/dns/configured.h"

#define SECONDS(n) ((uint64_t)(n)*1000000000u)

enum { POD = 7, OTHER = 8 };
enum { SHARED = 300, UNSHARED }; /* addresses that all threads use, and one that none does */

static struct names *names;

static int begin(void **state)
{
    (void)state;
    return names_new(&names, NULL);
}

static int end(void **state)
{
    (void)state;
    names_free(&names);
    return 0;
}

static struct addr address(unsigned number)
{
    return (struct addr){
        .ip = {[10] = 0xff, 0xff, 192, 0, (uint8_t)(number >> 8), (uint8_t)number}};
}

static void add(uint64_t pod, const char *name, unsigned number, uint32_t ttl, uint64_t now_ns)
{
    struct addr at = address(number);

    names_add(names, pod, name, &at, ttl, false, now_ns);
}

/* wanted: the names in order, a blank between two. */
static void expect(uint64_t pod, unsigned number, uint64_t now_ns, const char *wanted)
{
    struct names_found found;
    struct addr at = address(number);
    char text[1024] = "";

    at.port = 443; /* what is connected to has a port */
    names_find(names, pod, &at, now_ns, &found);
    for (size_t i = 0; i < found.len; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
                 found.text[i]);
    names_found_fini(&found);
    assert_string_equal(text, wanted);
}

static void add_trusted(uint64_t pod, const char *name, unsigned number, uint32_t ttl,
                        uint64_t now_ns)
{
    struct addr at = address(number);

    names_add(names, pod, name, &at, ttl, true, now_ns);
}

/* Likewise, of those that policies go by. */
static void expect_trusted(uint64_t pod, unsigned number, uint64_t now_ns, const char *wanted)
{
    struct names_trusted found;
    struct addr at = address(number);
    char text[1024] = "";

    at.port = 443;
    names_find_trusted(names, pod, &at, now_ns, &found);
    for (size_t i = 0; i < found.names.len; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
                 found.names.list[i]);
    names_trusted_fini(&found);
    assert_string_equal(text, wanted);
}

static void what_was_answered_is_found(void **state)
{
    (void)state;
    expect(POD, 1, 0, "");
    add(POD, "ebpf.io.", 1, 60, 0);
    add(POD, "ebpf.io.", 2, 60, 0);
    expect(POD, 1, 0, "ebpf.io.");
    expect(POD, 2, 0, "ebpf.io.");
    expect(POD, 3, 0, "");
}

static void the_newest_name_comes_first(void **state)
{
    (void)state;
    add(POD, "a.test.", 1, 60, 0);
    add(POD, "b.test.", 1, 60, 0);
    add(POD, "c.test.", 1, 60, 0);
    expect(POD, 1, 0, "c.test. b.test. a.test.");
    add(POD, "b.test.", 1, 60, 1);
    expect(POD, 1, 1, "b.test. c.test. a.test.");
}

static void pods_do_not_see_each_others_names(void **state)
{
    (void)state;
    add(POD, "mine.test.", 1, 60, 0);
    add(OTHER, "yours.test.", 1, 60, 0);
    expect(POD, 1, 0, "mine.test.");
    expect(OTHER, 1, 0, "yours.test.");
}

static const struct {
    const char *name;
    uint32_t ttl;
    uint64_t kept, gone;
} lives[] = {
    {"a TTL of nothing lives a minute", 0, SECONDS(60) - 1, SECONDS(60)},
    {"a short TTL lives a minute", 5, SECONDS(60) - 1, SECONDS(60)},
    {"a long TTL lives as long", 3600, SECONDS(3600) - 1, SECONDS(3600)},
    {"the longest TTL", UINT32_MAX, SECONDS(UINT32_MAX) - 1, SECONDS(UINT32_MAX)},
};

static void a_name_lives_as_long_as_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lives); i++) {
        print_message("  %s\n", lives[i].name);
        add(POD, "a.test.", 1, lives[i].ttl, 1000);
        expect(POD, 1, 1000 + lives[i].kept, "a.test.");
        expect(POD, 1, 1000 + lives[i].gone, "");
    }
}

static void a_later_answer_prolongs_and_never_shortens(void **state)
{
    (void)state;
    add(POD, "a.test.", 1, 60, 0);
    add(POD, "a.test.", 1, 60, SECONDS(30));
    expect(POD, 1, SECONDS(89), "a.test.");
    add(POD, "a.test.", 1, 3600, SECONDS(89));
    add(POD, "a.test.", 1, 60, SECONDS(90));
    expect(POD, 1, SECONDS(3000), "a.test.");
}

static void only_what_is_over_is_not_found(void **state)
{
    (void)state;
    add(POD, "long.test.", 1, 600, 0);
    add(POD, "short.test.", 1, 60, 0);
    add(POD, "longer.test.", 1, 900, 0);
    expect(POD, 1, SECONDS(100), "longer.test. long.test.");
}

static void ten_thousand_names_keep_to_the_bound(void **state)
{
    enum { MANY = 10000 };
    char name[64];

    (void)state;
    add(OTHER, "other.test.", 1, 60, 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "n%u.test.", i);
        add(POD, name, i, 60, 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "n%u.test.", i);
        expect(POD, i, 0, i < MANY - NAMES_OF_POD_MAX ? "" : name);
    }
    expect(OTHER, 1, 0, "other.test.");
}

static void many_names_of_one_address_keep_to_the_bound(void **state)
{
    char name[64];

    (void)state;
    for (unsigned i = 0; i < NAMES_OF_ADDRESS_MAX + 1; i++) {
        snprintf(name, sizeof(name), "n%u.test.", i);
        add(POD, name, 1, i <= 1 ? 600 : 60, 0);
    }
    expect(POD, 1, 0,
           "n256.test. n255.test. n254.test. n253.test. n252.test. n251.test. n250.test. "
           "n249.test.");
    expect(POD, 1, SECONDS(60), "n1.test."); /* n0 went first, n1 did not */
    add(POD, "more.test.", 1, 60, SECONDS(60));
    expect(POD, 1, SECONDS(60), "more.test. n1.test."); /* what was over did */
}

static void long_names_make_way_earlier(void **state)
{
    enum { LEN = 1000, FIT = NAMES_BYTES_OF_POD / (LEN + 1) };
    char name[LEN + 1];

    (void)state;
    memset(name, 'x', LEN);
    name[LEN] = 0;
    for (unsigned i = 0; i < FIT + 1; i++)
        add(POD, name, i, 60, 0);
    expect(POD, 0, 0, "");
    expect(POD, 1, 0, name);
    expect(POD, FIT, 0, name);
}

static void what_a_removed_pod_resolved_is_forgotten(void **state)
{
    (void)state;
    add(POD, "one.test.", 1, 60, 0);
    add(POD, "two.test.", 2, 60, 0);
    add(OTHER, "three.test.", 1, 60, 0);
    names_forget(names, POD);
    names_forget(names, POD); /* of whom nothing is known */
    expect(POD, 1, 0, "");
    expect(POD, 2, 0, "");
    expect(OTHER, 1, 0, "three.test.");
    add(POD, "again.test.", 1, 60, 0);
    expect(POD, 1, 0, "again.test.");
}

static void *add_and_find(void *arg)
{
    uint64_t pod = *(const uint64_t *)arg;
    char name[64];

    for (unsigned i = 0; i < 20000; i++) {
        struct names_found found;
        struct addr at = address(i % SHARED);

        snprintf(name, sizeof(name), "n%u.test.", i % 7);
        names_add(names, pod, name, &at, 60, false, 0);
        names_find(names, pod, &at, 0, &found);
        names_found_fini(&found);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    static const uint64_t pods[] = {POD, POD, OTHER, OTHER};
    pthread_t threads[ARRAY_SIZE(pods)];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_find, (void *)&pods[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        pthread_join(threads[i], NULL);
    add(POD, "last.test.", UNSHARED, 60, 0);
    expect(POD, UNSHARED, 0, "last.test.");
}

static void note(void *arg, uint64_t pod, const char *name, const struct addr *at,
                 uint64_t until_ns, uint64_t trusted_until_ns)
{
    char *text = arg;

    snprintf(text + strlen(text), 256 - strlen(text), "%d %s .%d %ds %ds\n", (int)pod, name,
             at->ip[15], (int)(until_ns / SECONDS(1)), (int)(trusted_until_ns / SECONDS(1)));
}

static void keep(void *arg, uint64_t pod, const char *name, const struct addr *at,
                 uint64_t until_ns, uint64_t trusted_until_ns)
{
    names_keep(arg, pod, name, at, until_ns, trusted_until_ns);
}

static void all_that_hold_are_visited_and_kept_elsewhere(void **state)
{
    static const char all[] = "7 b.test. .2 120s 110s\n7 a.test. .1 300s 70s\n";
    CLEANUP(names_free) struct names *others = NULL;
    char text[256] = "";

    (void)state;
    add(POD, "over.test.", 1, 60, 0);
    add(POD, "a.test.", 1, 300, 0);
    add(POD, "b.test.", 2, 120, 0);
    add(POD, "a.test.", 1, 300, 1);
    add_trusted(POD, "b.test.", 2, 110, 0);
    add_trusted(POD, "a.test.", 1, 70, 0);
    names_each(names, SECONDS(100), note, text);
    assert_string_equal(text, all);
    assert_int_equal(names_new(&others, NULL), 0);
    names_each(names, SECONDS(100), keep, others);
    text[0] = 0;
    names_each(others, SECONDS(100), note, text);
    assert_string_equal(text, all);
}

/* A connection that was made before goes on with it. */
static void what_was_trusted_at_a_time_is_found(void **state)
{
    (void)state;
    add_trusted(POD, "a.test.", 1, 60, 0);
    add_trusted(POD, "b.test.", 1, 60, SECONDS(100));
    expect(POD, 1, SECONDS(1000), "");
    expect_trusted(POD, 1, SECONDS(59), "b.test a.test");
    expect_trusted(POD, 1, SECONDS(60), "b.test");
}

static void a_name_is_trusted_as_long_as_a_trusted_answer(void **state)
{
    (void)state;
    add(POD, "a.test.", 1, 300, 0);
    expect_trusted(POD, 1, 0, "");
    add_trusted(POD, "a.test.", 1, 100, 0);
    add_trusted(POD, "b.test.", 1, 200, 0);
    expect_trusted(POD, 1, 0, "b.test a.test");
    add(POD, "a.test.", 1, 300, SECONDS(50)); /* whoever else says so prolongs nothing */
    expect_trusted(POD, 1, SECONDS(99), "a.test b.test");
    expect_trusted(POD, 1, SECONDS(100), "b.test");
    expect(POD, 1, SECONDS(100), "a.test. b.test.");
    add_trusted(POD, "a.test.", 1, 100, SECONDS(100));
    expect_trusted(POD, 1, SECONDS(199), "a.test b.test");
    expect_trusted(POD, 1, SECONDS(200), "");
    expect_trusted(POD, 2, 0, "");
    expect_trusted(OTHER, 1, 0, "");
}

static void the_root_has_no_name(void **state)
{
    (void)state;
    add_trusted(POD, ".", 1, 100, 0);
    expect_trusted(POD, 1, 0, "");
    expect(POD, 1, 0, ".");
}

static void configure(uint64_t pod, const char *resolv_conf, const char *hosts)
{
    struct configured *configured =
        configured_parse(span_of_text(resolv_conf), span_of_text(hosts));

    assert_non_null(configured);
    names_configure(names, pod, &configured);
    assert_null(configured);
}

static void hosts_are_trusted_for_ever(void **state)
{
    (void)state;
    configure(POD, "", "192.0.0.1 api.test db.test\n192.0.0.2 else.test\n");
    add_trusted(POD, "a.test.", 1, 60, 0);
    expect_trusted(POD, 1, 0, "a.test api.test db.test");
    expect_trusted(POD, 1, UINT64_MAX, "api.test db.test");
    expect_trusted(OTHER, 1, 0, "");
    expect(POD, 1, 0, "a.test."); /* what is told is what was asked for */
    names_forget(names, POD);
    expect_trusted(POD, 1, 0, "");
}

static void a_pod_is_set_up_once(void **state)
{
    const struct addr ours = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 53}, .port = 53};
    const struct addr other = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 54}, .port = 53};

    (void)state;
    assert_false(names_is_configured(names, POD));
    assert_false(names_serves(names, POD, &ours));
    configure(POD, "nameserver 192.0.2.53\n", "");
    configure(POD, "nameserver 192.0.2.54\n", "192.0.0.1 evil.test\n");
    assert_true(names_is_configured(names, POD));
    assert_true(names_serves(names, POD, &ours));
    assert_false(names_serves(names, POD, &other));
    assert_false(names_serves(names, OTHER, &ours));
    expect_trusted(POD, 1, 0, "");
}

static void hear(void *arg, uint64_t pod, const char *name, const struct addr *at,
                 uint64_t until_ns)
{
    char *text = arg;

    snprintf(text + strlen(text), 256 - strlen(text), "%d %s .%d %d\n", (int)pod, name, at->ip[15],
             until_ns == UINT64_MAX ? -1 : (int)(until_ns / SECONDS(1)));
}

static void who_wants_to_know_is_told(void **state)
{
    char text[256] = "";

    (void)state;
    names_on_trusted(names, hear, text);
    configure(POD, "", "192.0.0.9 api.test\n");
    add(POD, "a.test.", 1, 300, 0);
    add_trusted(POD, "a.test.", 1, 100, 0);
    add_trusted(POD, "a.test.", 1, 90, 0); /* is known already */
    add_trusted(POD, "a.test.", 1, 100, SECONDS(1));
    add_trusted(OTHER, "b.test.", 2, 100, 0);
    assert_string_equal(text, "7 api.test .9 -1\n7 a.test .1 100\n7 a.test .1 101\n"
                              "8 b.test .2 100\n");
    text[0] = 0;
    add(POD, "c.test.", 1, 100, SECONDS(1000));
    names_tell_trusted(names, POD); /* also what is over */
    names_tell_trusted(names, 9);
    assert_string_equal(text, "7 a.test .1 101\n7 api.test .9 -1\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_was_answered_is_found),
        TEST(the_newest_name_comes_first),
        TEST(pods_do_not_see_each_others_names),
        TEST(what_a_removed_pod_resolved_is_forgotten),
        TEST(a_name_lives_as_long_as_its_answer),
        TEST(a_later_answer_prolongs_and_never_shortens),
        TEST(only_what_is_over_is_not_found),
        TEST(ten_thousand_names_keep_to_the_bound),
        TEST(many_names_of_one_address_keep_to_the_bound),
        TEST(long_names_make_way_earlier),
        TEST(all_that_hold_are_visited_and_kept_elsewhere),
        TEST(what_was_trusted_at_a_time_is_found),
        TEST(a_name_is_trusted_as_long_as_a_trusted_answer),
        TEST(the_root_has_no_name),
        TEST(hosts_are_trusted_for_ever),
        TEST(a_pod_is_set_up_once),
        TEST(who_wants_to_know_is_told),
        TEST(threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
