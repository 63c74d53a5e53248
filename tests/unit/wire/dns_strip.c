/* dns_strip: ECH and h3 go, all else stays what it was, wherever it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/dns_build.h"

static struct build build, want;
static uint8_t out[DNS_MESSAGE_MAX];

enum { ECH = DNS_STRIPPED_ECH, H3 = DNS_STRIPPED_H3 };

#define PORT "\0\3\0\2\1\xbb"
#define HINT "\0\4\0\4\xcb\0\x71\x0a"

/* What stands behind the target of a service binding, before and after. */
static const struct {
    const char *name;
    struct span params;
    unsigned stripped;
    struct span want;
} services[] = {
    {"nothing", BYTES(""), 0, BYTES("")},
    {"no more than h2", BYTES("\0\1\0\3\2h2" PORT), 0, BYTES("")},
    {"h3 in another's name", BYTES("\0\1\0\x0b\3h3x\2h4\3xh3"), 0, BYTES("")},
    {"h3 elsewhere", BYTES("\xff\0\0\3\2h3"), 0, BYTES("")},
    {"ech alone",
     BYTES("\0\5\0\4"
           "ech!"),
     ECH, BYTES("")},
    {"ech of nothing", BYTES("\0\5\0\0"), ECH, BYTES("")},
    {"ech among others",
     BYTES("\0\1\0\3\2h2" HINT "\0\5\0\4"
           "ech!\0\x07\0\1x"),
     ECH, BYTES("\0\1\0\3\2h2" HINT "\0\x07\0\1x")},
    {"h3 first", BYTES("\0\1\0\6\2h3\2h2" PORT), H3, BYTES("\0\1\0\3\2h2" PORT)},
    {"h3 last", BYTES("\0\1\0\x0f\2h2\x08http/1.1\2h3" HINT), H3,
     BYTES("\0\1\0\x0c\2h2\x08http/1.1" HINT)},
    {"h3 many times", BYTES("\0\1\0\x0c\2h3\2h2\2h3\2h3"), H3, BYTES("\0\1\0\3\2h2")},
    {"a draft of h3", BYTES("\0\1\0\x09\5h3-29\2h2"), H3, BYTES("\0\1\0\3\2h2")},
    {"only h3", BYTES("\0\1\0\3\2h3" PORT), H3, BYTES(PORT)},
    {"only h3, and no default", BYTES("\0\1\0\3\2h3\0\2\0\0" PORT), H3, BYTES(PORT)},
    {"h3 and h2, and no default", BYTES("\0\1\0\6\2h2\2h3\0\2\0\0"), H3,
     BYTES("\0\1\0\3\2h2\0\2\0\0")},
    {"both",
     BYTES("\0\1\0\6\2h2\2h3" HINT "\0\5\0\4"
           "ech!"),
     ECH | H3, BYTES("\0\1\0\3\2h2" HINT)},
    {"nothing left",
     BYTES("\0\1\0\3\2h3\0\2\0\0\0\5\0\4"
           "ech!"),
     ECH | H3, BYTES("")},
    {"mandatory alpn stays while alpn does", BYTES("\0\0\0\2\0\1\0\1\0\6\2h2\2h3"), H3,
     BYTES("\0\0\0\2\0\1\0\1\0\3\2h2")},
    {"mandatory alpn goes with alpn", BYTES("\0\0\0\4\0\1\0\3\0\1\0\3\2h3" PORT), H3,
     BYTES("\0\0\0\2\0\3" PORT)},
    {"mandatory ech and port",
     BYTES("\0\0\0\4\0\3\0\5" PORT "\0\5\0\4"
           "ech!"),
     ECH, BYTES("\0\0\0\2\0\3" PORT)},
    {"mandatory ech alone",
     BYTES("\0\0\0\2\0\5\0\5\0\4"
           "ech!"),
     ECH, BYTES("")},
    {"mandatory no-default-alpn", BYTES("\0\0\0\4\0\1\0\2\0\1\0\3\2h3\0\2\0\0" HINT), H3,
     BYTES(HINT)},
};

/* The same message twice, once with other parameters; around them all that may move. */
static void put_service(struct build *to, unsigned section, unsigned type, const char *owner,
                        const char *priority, struct span params)
{
    record(to, section, owner, type, 300);
    put(to, priority, 2);
    put_name(to, "");
    put(to, params.data, params.len);
    record_end(to);
}

static void assert_same(const struct dns_found *a, const struct dns_found *b)
{
    assert_int_equal(a->addresses_len, b->addresses_len);
    if (a->addresses_len)
        assert_memory_equal(a->addresses, b->addresses, a->addresses_len * sizeof(a->addresses[0]));
    assert_int_equal(a->cnames_len, b->cnames_len);
    for (size_t i = 0; i < a->cnames_len; i++)
        assert_string_equal(a->cnames[i], b->cnames[i]);
    assert_int_equal(a->ttl, b->ttl);
}

/* What holds of any message and its copy. Returns the copy's length. */
static size_t strip(unsigned *stripped)
{
    struct dns before, after, again;
    static struct dns_found found, found_after;
    const char *why = "";
    unsigned none;
    size_t len;

    if (parse(built(&build), &before, &why) < 0) {
        print_message("%s\n", why);
        fail();
    }
    *stripped = 77;
    memset(out, 0xee, sizeof(out));
    len = dns_strip(&before, out, stripped);
    assert_true(len <= build.len);
    assert_int_equal(!len, !*stripped);
    if (!len) {
        assert_int_equal(out[0], 0xee);
        forget(&before);
        return 0;
    }
    if (parse(span_of(out, len), &after, &why) < 0) {
        print_message("%s\n", why);
        fail();
    }
    assert_string_equal(after.name, before.name);
    dns_find(&before, &found);
    dns_find(&after, &found_after);
    if (after.rcode == before.rcode)
        assert_same(&found, &found_after);
    again = after;
    assert_int_equal(dns_strip(&again, build.data, &none), 0);
    assert_int_equal(none, 0);
    forget(&before);
    forget(&after);
    return len;
}

static void strips_services(void **state)
{
    static const unsigned types[] = {DNS_HTTPS, DNS_SVCB};
    /* an alias should have no parameters, but some reader may look */
    static const char *const priorities[] = {"\0\1", "\0\0"};

    (void)state;
    for (size_t i = 0; i < 4 * ARRAY_SIZE(services); i++) {
        unsigned type = types[i % 2], stripped;
        const char *priority = priorities[i / 2 % 2];
        size_t at = i / 4, len;

        if (i % 4 == 0)
            print_message("  %s\n", services[at].name);
        begin(&build, ANSWER, "ebpf.io.", type);
        put_service(&build, 1, type, "@12", priority, services[at].params);
        begin(&want, ANSWER, "ebpf.io.", type);
        put_service(&want, 1, type, "@12", priority, services[at].want);
        len = strip(&stripped);
        assert_int_equal(stripped, services[at].stripped);
        if (!stripped)
            continue;
        assert_int_equal(len, want.len);
        assert_memory_equal(out, want.data, len);
    }
}

/* Offsets of names in the answer built below; they differ by what was stripped before them. */
struct places {
    size_t target, mail, tail;
};

/* Services in each section, and behind each the names of every type that may point. */
static void build_everything(struct build *to, struct span params, struct places *at)
{
    char name[64];

    begin(to, ANSWER, "ebpf.io.", DNS_ANY);
    put_service(to, 1, DNS_HTTPS, "@12", "\0\1", params);
    record(to, 1, "www.@12", DNS_CNAME, 60);
    at->target = to->len;
    put_name(to, "edge.example.net.");
    record_end(to);
    snprintf(name, sizeof(name), "@%zu", at->target);
    record_of(to, name, DNS_A, 60, BYTES("\xcb\0\x71\x0b"));

    record(to, 1, "@12", DNS_MX, 60);
    put_uint(to, 2, 10);
    at->mail = to->len;
    snprintf(name, sizeof(name), "mail.@%zu", at->target + 5); /* mail.example.net. */
    put_name(to, name);
    record_end(to);
    put_service(to, 1, DNS_SVCB, name, "\0\2", params);

    snprintf(name, sizeof(name), "@%zu", at->mail);
    record_to(to, name, DNS_NS, 60, name);
    record_to(to, name, DNS_PTR, 60, name);
    record_to(to, name, 39 /* DNAME */, 60, name);
    record(to, 1, name, DNS_SRV, 60);
    put(to, "123456", 6);
    put_name(to, name);
    record_end(to);
    record(to, 1, name, 35 /* NAPTR */, 60);
    put(to, "1234\1s\0\2re", 10);
    put_name(to, name);
    record_end(to);

    record(to, 2, name, DNS_SOA, 60);
    put_name(to, name);
    at->tail = to->len;
    snprintf(name, sizeof(name), "root.@%zu", at->mail);
    put_name(to, name);
    put(to, "12345678901234567890", 20);
    record_end(to);

    snprintf(name, sizeof(name), "@%zu", at->tail);
    record_of(to, name, DNS_TXT, 60, BYTES("\2\xc0\xff")); /* no pointer, but text */
    to->data[7]--; /* it was counted as an answer: the additional section it is */
    to->data[11]++;
    put_service(to, 3, DNS_HTTPS, name, "\0\1", params);
    record(to, 3, "", DNS_OPT, 0);
    put(to, "\0\x0a\0\2xy", 6);
    record_end(to);
}

static void moves_every_pointer_along(void **state)
{
    struct places old, new;
    unsigned stripped;
    size_t len;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
        print_message("  %s\n", services[i].name);
        build_everything(&build, services[i].params, &old);
        build_everything(&want, services[i].want, &new);
        len = strip(&stripped);
        assert_int_equal(stripped, services[i].stripped);
        if (!stripped)
            continue;
        assert_true(new.mail < old.mail &&new.tail < new.tail + old.mail - new.mail);
        assert_int_equal(len, want.len);
        assert_memory_equal(out, want.data, len);
    }
}

static void an_altered_answer_is_not_called_authentic(void **state)
{
    unsigned stripped;

    (void)state;
    begin(&build, 0x81b0, "ebpf.io.", DNS_HTTPS); /* AD and CD */
    put_service(&build, 1, DNS_HTTPS, "@12", "\0\1",
                BYTES("\0\5\0\4"
                      "ech!"));
    assert_int_not_equal(strip(&stripped), 0);
    assert_int_equal(out[3], 0x90);
}

static void strips_as_many_services_as_fit(void **state)
{
    unsigned stripped, services_len = 0;

    (void)state;
    begin(&build, ANSWER, ".", DNS_HTTPS);
    build.len = 12;
    put(&build, "\0\0\x41\0\1", 5);
    while (build.len + 18 <= DNS_MESSAGE_MAX) {
        put_service(&build, 1, DNS_HTTPS, "", "\0\1", BYTES("\0\5\0\0"));
        services_len++;
    }
    assert_int_equal(services_len, (DNS_MESSAGE_MAX - 17) / 18);
    assert_int_equal(strip(&stripped), 17 + services_len * 14);
    assert_int_equal(stripped, ECH);
}

/* ---- names that lean on what goes, or on what changes ---- */

static void names_that_run_through_what_goes_are_a_server_s_failure(void **state)
{
    /* The service is at 25, its parameters begin at 40; the address comes last. */
    static const struct {
        const char *name;
        struct span params;
        const char *owner;
        bool fails;
    } cases[] = {
        {"a name before", BYTES("\0\5\0\3\1a\0"), "@12", false},
        {"a root before", BYTES("\0\5\0\3\1a\0"), "@39", false},
        {"a root that a key begins with", BYTES("\0\5\0\3\1a\0"), "@40", true},
        {"a name inside ech", BYTES("\0\5\0\3\1a\0"), "@44", true},
        {"its end inside ech", BYTES("\0\5\0\3\1a\0"), "@46", true},
        {"a name inside what stays of the parameters", BYTES("\0\4\0\4\1a\0\0\0\5\0\0"), "@44",
         true},
        {"a root that is the upper half of a length", BYTES("\0\5\0\3\1a\0"), "@35", false},
        {"a name over the service's length", BYTES("\0\5\0\3\1a\0"), "@34", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned stripped;
        size_t len;

        print_message("  %s\n", cases[i].name);
        begin(&build, ANSWER, "ebpf.io.", DNS_HTTPS);
        put_service(&build, 1, DNS_HTTPS, "@12", "\0\1", cases[i].params);
        if (strcmp(cases[i].owner, "@34") == 0)
            build.data[34] = 2; /* a TTL that is a label over RDLENGTH */
        record_of(&build, cases[i].owner, DNS_A, 60, BYTES("\xcb\0\x71\x0a"));
        len = strip(&stripped);
        assert_int_equal(stripped, ECH);
        assert_int_equal(out[3] & 0xf, cases[i].fails ? DNS_SERVFAIL : DNS_NOERROR);
        assert_int_equal(len == 25, cases[i].fails);
    }
}

/* The label over the parameters reads the same in the copy, where the next record has moved under
 * it; what comes behind the label does not. */
static void a_label_over_what_goes_that_reads_the_same(void **state)
{
    unsigned stripped;

    (void)state;
    begin(&build, ANSWER, "ebpf.io.", DNS_HTTPS);
    put_service(&build, 1, DNS_HTTPS, "@12", "\0\5", BYTES("\0\5\0\0"));
    record_of(&build, "", 0x0500, 60, BYTES("")); /* 00 0500 0001, like 00 0005 0000 */
    record_of(&build, "@38", DNS_A, 60, BYTES("\xcb\0\x71\x0a"));
    strip(&stripped);
    assert_int_equal(out[3] & 0xf, DNS_SERVFAIL);
}

/* Data of a type that we do not know is not rewritten, so a pointer in it is not, either. */
static void a_name_by_way_of_a_pointer_in_unknown_data(void **state)
{
    unsigned stripped;
    char owner[16];

    (void)state;
    for (unsigned moves = 0; moves <= 1; moves++) {
        begin(&build, ANSWER, "ebpf.io.", DNS_HTTPS);
        put_service(&build, 1, DNS_HTTPS, "@12", "\0\1",
                    BYTES("\0\5\0\4"
                          "ech!"));
        record_to(&build, "@12", DNS_CNAME, 60, "ebpf.net.");
        record(&build, 1, "@12", 65400, 60);
        put_uint(&build, 2, 0xc000 | (moves ? build.len - 22 : 12));
        record_end(&build);
        snprintf(owner, sizeof(owner), "@%zu", build.data_at);
        record_of(&build, owner, DNS_A, 60, BYTES("\xcb\0\x71\x0a"));
        strip(&stripped);
        assert_int_equal(stripped, ECH);
        assert_int_equal(out[3] & 0xf, moves ? DNS_SERVFAIL : DNS_NOERROR);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(strips_services),
        cmocka_unit_test(moves_every_pointer_along),
        cmocka_unit_test(an_altered_answer_is_not_called_authentic),
        cmocka_unit_test(strips_as_many_services_as_fit),
        cmocka_unit_test(names_that_run_through_what_goes_are_a_server_s_failure),
        cmocka_unit_test(a_label_over_what_goes_that_reads_the_same),
        cmocka_unit_test(a_name_by_way_of_a_pointer_in_unknown_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
