/* dns: what a message says, what of an answer is believed, and what that costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/dns_build.h"

static struct build build;
static struct dns_found found;

#define IP "\xcb\0\x71\x0a"

/* ---- header and question ---- */

static const struct {
    const char *name;
    unsigned flags;
    uint32_t opt_ttl;
    bool response, truncated;
    uint8_t opcode;
    uint16_t rcode;
} headers[] = {
    {"a query", 0x0100, 0, false, false, 0, DNS_NOERROR},
    {"an answer", 0x8180, 0, true, false, 0, DNS_NOERROR},
    {"a truncated one", 0x8380, 0, true, true, 0, DNS_NOERROR},
    {"no such name", 0x8183, 0, true, false, 0, DNS_NXDOMAIN},
    {"a notify", 0x2400, 0, false, false, 4, DNS_NOERROR},
    {"all of the opcode", 0x7800, 0, false, false, 15, DNS_NOERROR},
    {"a version not known", 0x8180, 0x01000000, true, false, 0, 16},
    {"the rest of OPT is not the rcode", 0x8187, 0x0100ffff, true, false, 0, 23},
    {"all of the rcode", 0x818f, 0xff000000, true, false, 0, 4095},
};

static void reads_the_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        struct dns dns;
        const char *why;

        print_message("  %s\n", headers[i].name);
        begin(&build, headers[i].flags, "ebpf.io.", DNS_AAAA);
        record(&build, 3, "", DNS_OPT, headers[i].opt_ttl);
        assert_int_equal(dns_parse(built(&build), &dns, &why), 0);
        assert_int_equal(dns.id, 0x1234);
        assert_int_equal(dns.response, headers[i].response);
        assert_int_equal(dns.truncated, headers[i].truncated);
        assert_int_equal(dns.opcode, headers[i].opcode);
        assert_int_equal(dns.rcode, headers[i].rcode);
        assert_int_equal(dns.questions, 1);
        assert_int_equal(dns.type, DNS_AAAA);
        assert_int_equal(dns.class, 1);
        assert_true(dns.has_opt);
        assert_string_equal(dns.name, "ebpf.io.");
        assert_ptr_equal(dns.message.data, build.data);
    }
}

static void tells_answers_to_other_questions(void **state)
{
    static const struct {
        const char *name;
        size_t at; /* of the byte that differs; 0 for none */
        uint8_t xor ;
        bool want;
    } cases[] = {
        {"the same", 0, 0, true},        {"another id", 1, 1, false},
        {"another opcode", 2, 8, false}, {"no answer at all", 2, 0x80, false},
        {"another rcode", 3, 3, true},   {"another case", 13, 0x20, true},
        {"another name", 13, 1, false},  {"another type", 22, 1, false},
        {"another class", 24, 2, false},
    };
    struct dns question, answer;
    const char *why;
    struct build copy;

    (void)state;
    begin(&copy, QUERY, "ebpf.io.", DNS_A);
    assert_int_equal(dns_parse(built(&copy), &question, &why), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        begin(&build, ANSWER, "ebpf.io.", DNS_A);
        build.data[cases[i].at] ^= cases[i].xor ;
        assert_int_equal(dns_parse(built(&build), &answer, &why), 0);
        assert_int_equal(dns_answers(&question, &answer), cases[i].want);
        assert_false(dns_answers(&answer, &answer));
    }
    build.data[5] = 0;
    assert_int_equal(dns_parse(span_of(build.data, 12), &answer, &why), 0);
    assert_int_equal(answer.questions, 0);
    assert_string_equal(answer.name, "");
    assert_false(dns_answers(&question, &answer));
}

/* ---- what is found ---- */

/* "203.0.113.10 2001:db8::1 | web.ebpf.io. | 60" */
static const char *find(char *text, size_t size)
{
    struct dns dns;
    const char *why = "";
    size_t len = 0;

    if (parse(built(&build), &dns, &why) < 0) {
        print_message("%s\n", why);
        fail();
    }
    memset(&found, 0xee, sizeof(found));
    dns_find(&dns, &found);
    forget(&dns);
    for (size_t i = 0; i < found.addresses_len; i++) {
        char ip[ADDR_TEXT_MAX];

        assert_int_equal(found.addresses[i].port, 0);
        len += (size_t)snprintf(text + len, size - len, "%s ",
                                addr_format_ip(&found.addresses[i], ip));
    }
    len += (size_t)snprintf(text + len, size - len, "| ");
    for (size_t i = 0; i < found.cnames_len; i++)
        len += (size_t)snprintf(text + len, size - len, "%s ", found.cnames[i]);
    snprintf(text + len, size - len, "| %u", found.ttl);
    return text;
}

#define IP6 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"

/* A record as a line: section 1 unless said, class 1 unless said. */
struct line {
    const char *owner;
    unsigned type;
    uint32_t ttl;
    const char *target; /* or data */
    struct span data;
    unsigned section, class;
};

static const struct {
    const char *name;
    struct line lines[6];
    const char *want;
} answers[] = {
    {"nothing", {{0}}, "| | 0"},
    {"two addresses",
     {{"@12", DNS_A, 60, .data = BYTES(IP)}, {"@12", DNS_A, 30, .data = BYTES("\xcb\0\x71\x0b")}},
     "203.0.113.10 203.0.113.11 | | 30"},
    {"both families",
     {{"@12", DNS_A, 60, .data = BYTES(IP)}, {"@12", DNS_AAAA, 90, .data = BYTES(IP6)}},
     "203.0.113.10 2001:db8::1 | | 60"},
    {"a mapped IPv6 address is IPv4",
     {{"@12", DNS_AAAA, 60, .data = BYTES("\0\0\0\0\0\0\0\0\0\0\xff\xff" IP)}},
     "203.0.113.10 | | 60"},
    {"a name in another case", {{"EBPF.iO.", DNS_A, 60, .data = BYTES(IP)}}, "203.0.113.10 | | 60"},
    {"another name's address", {{"ebpf.com.", DNS_A, 60, .data = BYTES(IP)}}, "| | 0"},
    {"the address of the name below", {{"@17", DNS_A, 60, .data = BYTES(IP)}}, "| | 0"},
    {"the address of a name above", {{"www.@12", DNS_A, 60, .data = BYTES(IP)}}, "| | 0"},
    {"an address of another class",
     {{"@12", DNS_AAAA, 60, .data = BYTES(IP6), .class = 3}},
     "| | 0"},
    {"an address in the authority section",
     {{"@12", DNS_A, 60, .data = BYTES(IP), .section = 2}},
     "| | 0"},
    {"an address in the additional section",
     {{"@12", DNS_A, 60, .data = BYTES(IP), .section = 3}},
     "| | 0"},
    {"a text", {{"@12", DNS_TXT, 60, .data = BYTES("\4text")}}, "| | 0"},

    {"a chain",
     {{"@12", DNS_CNAME, 300, .target = "a.net."},
      {"a.net.", DNS_CNAME, 200, .target = "b.net."},
      {"b.net.", DNS_A, 250, .data = BYTES(IP)}},
     "203.0.113.10 | a.net. b.net. | 200"},
    {"a chain backwards",
     {{"b.net.", DNS_A, 250, .data = BYTES(IP)},
      {"a.net.", DNS_CNAME, 200, .target = "B.net."},
      {"@12", DNS_CNAME, 300, .target = "A.net."}},
     "203.0.113.10 | a.net. b.net. | 200"},
    {"a chain without an end", {{"@12", DNS_CNAME, 300, .target = "a.net."}}, "| a.net. | 300"},
    {"a chain that does not begin at the question",
     {{"a.net.", DNS_CNAME, 200, .target = "b.net."}, {"b.net.", DNS_A, 250, .data = BYTES(IP)}},
     "| | 0"},
    {"a link in the additional section",
     {{"a.net.", DNS_A, 250, .data = BYTES(IP)},
      {"@12", DNS_CNAME, 300, .target = "a.net.", .section = 3}},
     "| | 0"},
    {"a link of another class",
     {{"@12", DNS_CNAME, 300, .target = "a.net.", .class = 3},
      {"a.net.", DNS_A, 250, .data = BYTES(IP)}},
     "| | 0"},
    {"a name that is its own alias",
     {{"@12", DNS_CNAME, 300, .target = "@12"}, {"@12", DNS_A, 250, .data = BYTES(IP)}},
     "203.0.113.10 | | 250"},
    {"a loop",
     {{"@12", DNS_CNAME, 300, .target = "a.net."},
      {"a.net.", DNS_CNAME, 200, .target = "b.net."},
      {"b.net.", DNS_CNAME, 100, .target = "a.net."}},
     "| a.net. b.net. | 200"},
    {"two links from one name: the first",
     {{"@12", DNS_CNAME, 300, .target = "a.net."},
      {"@12", DNS_CNAME, 300, .target = "b.net."},
      {"a.net.", DNS_A, 250, .data = BYTES(IP)},
      {"b.net.", DNS_A, 250, .data = BYTES("\xcb\0\x71\x0b")}},
     "203.0.113.10 | a.net. | 250"},
    {"addresses along the chain",
     {{"@12", DNS_CNAME, 300, .target = "a.net."},
      {"@12", DNS_A, 250, .data = BYTES(IP)},
      {"a.net.", DNS_A, 250, .data = BYTES("\xcb\0\x71\x0b")}},
     "203.0.113.10 203.0.113.11 | a.net. | 250"},

    {"a TTL with the top bit",
     {{"@12", DNS_A, 0x80000000, .data = BYTES(IP)}},
     "203.0.113.10 | | 0"},
    {"the highest TTL",
     {{"@12", DNS_A, 0x7fffffff, .data = BYTES(IP)}},
     "203.0.113.10 | | 2147483647"},
    {"a TTL of none, then one",
     {{"@12", DNS_A, 0, .data = BYTES(IP)}, {"@12", DNS_A, 60, .data = BYTES(IP)}},
     "203.0.113.10 203.0.113.10 | | 0"},
    {"the TTL of what is not used",
     {{"@12", DNS_A, 60, .data = BYTES(IP)},
      {"a.net.", DNS_A, 1, .data = BYTES(IP)},
      {"@12", DNS_TXT, 1, .data = BYTES("\0")}},
     "203.0.113.10 | | 60"},

    {"hints",
     {{"@12", DNS_HTTPS, 60, .data = BYTES("\0\1\0\0\4\0\x08" IP "\xcb\0\x71\x0b\0\6\0\x10" IP6)}},
     "203.0.113.10 203.0.113.11 2001:db8::1 | | 60"},
    {"hints of another service",
     {{"@12", DNS_SVCB, 60, .data = BYTES("\0\1\1x\0\0\4\0\4" IP)}},
     "203.0.113.10 | | 60"},
    {"hints of an alias", {{"@12", DNS_HTTPS, 60, .data = BYTES("\0\0\1x\0\0\4\0\4" IP)}}, "| | 0"},
    {"hints of priority 256",
     {{"@12", DNS_HTTPS, 60, .data = BYTES("\1\0\0\0\4\0\4" IP)}},
     "203.0.113.10 | | 60"},
    {"hints of another name",
     {{"a.net.", DNS_HTTPS, 60, .data = BYTES("\0\1\0\0\4\0\4" IP)}},
     "| | 0"},
};

static void finds_what_answers_the_question(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        char text[512];

        print_message("  %s\n", answers[i].name);
        begin(&build, ANSWER, "ebpf.io.", DNS_A);
        for (const struct line *line = answers[i].lines; line->owner; line++) {
            record(&build, line->section ? line->section : 1, line->owner, line->type, line->ttl);
            if (line->class)
                build.data[build.data_at - 7] = (uint8_t)line->class;
            if (line->target)
                put_name(&build, line->target);
            else
                put(&build, line->data.data, line->data.len);
            record_end(&build);
        }
        assert_string_equal(find(text, sizeof(text)), answers[i].want);
    }
}

static void finds_as_much_as_it_says(void **state)
{
    static uint8_t hints[7 + 4 * DNS_ADDRESSES_MAX];
    static char text[DNS_ADDRESSES_MAX * ADDR_TEXT_MAX];
    char owner[16], target[16];

    (void)state;
    memcpy(hints, "\0\1\0\0\4", 5); /* priority, target, ipv4hint */
    hints[5] = (uint8_t)(4 * DNS_ADDRESSES_MAX >> 8);
    hints[6] = (uint8_t)(4 * DNS_ADDRESSES_MAX);
    begin(&build, ANSWER, "ebpf.io.", DNS_HTTPS);
    record_of(&build, "@12", DNS_HTTPS, 60, span_of(hints, sizeof(hints)));
    record_of(&build, "@12", DNS_A, 1, BYTES(IP));
    find(text, sizeof(text));
    assert_int_equal(found.addresses_len, DNS_ADDRESSES_MAX);
    assert_int_equal(found.ttl, 60);

    begin(&build, ANSWER, "n0.", DNS_A);
    for (unsigned i = DNS_CNAMES_MAX + 5; i-- > 0;) {
        snprintf(owner, sizeof(owner), "n%u.", i);
        snprintf(target, sizeof(target), "n%u.", i + 1);
        record_to(&build, owner, DNS_CNAME, 60, target);
    }
    find(text, sizeof(text));
    assert_int_equal(found.cnames_len, DNS_CNAMES_MAX);
    assert_string_equal(found.cnames[DNS_CNAMES_MAX - 1], "n16.");
}

static void finds_nothing_without_a_question(void **state)
{
    char text[64];

    (void)state;
    begin(&build, ANSWER, "ebpf.io.", DNS_A);
    build.len = 12;
    build.data[5] = 0;
    record_of(&build, "ebpf.io.", DNS_A, 60, BYTES(IP));
    assert_string_equal(find(text, sizeof(text)), "| | 0");
}

/* ---- 64 kB ---- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* As dear as a name can be: labels of one byte, and a pointer behind each four. Returns its offset.
 */
static size_t put_dear_name(void)
{
    size_t last;

    record(&build, 1, "", 10 /* NULL */, 60);
    put_uint(&build, 1, 0);
    last = build.len - 1;
    for (unsigned i = 0; i < 31; i++) {
        put(&build, "\1a\1b\1c\1d", 8);
        put_uint(&build, 2, 0xc000 | last);
        last = build.len - 10;
    }
    record_end(&build);
    return last;
}

static void fill(unsigned type, size_t dear, struct span data)
{
    char owner[16];

    snprintf(owner, sizeof(owner), "@%zu", dear);
    while (build.len + 14 + data.len <= DNS_MESSAGE_MAX)
        record_of(&build, owner, type, 60, data);
}

/* The bound is generous for sanitizers on a busy machine; anything quadratic takes minutes. */
static void no_message_takes_long(void **state)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    static const struct {
        const char *name;
        unsigned type;
        struct span data;
    } cases[] = {
        {"addresses", DNS_A, BYTES(IP)},
        {"links", DNS_CNAME, BYTES("\xc1\x51")},
        {"two names each", DNS_SOA,
         BYTES("\xc1\x51\xc1\x51"
               "12345678901234567890")},
        {"services", DNS_HTTPS, BYTES("\0\1\xc1\x51\0\5\0\0")},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dns dns;
        const char *why = "";
        unsigned stripped;
        double began, parsed, looked, done;
        size_t dear;

        begin(&build, ANSWER, "ebpf.io.", DNS_A);
        dear = put_dear_name();
        assert_int_equal(dear, 0x151);
        fill(cases[i].type, dear, cases[i].data);
        began = seconds();
        if (dns_parse(built(&build), &dns, &why) < 0)
            print_message("%s\n", why);
        assert_string_equal(why, "");
        parsed = seconds();
        dns_find(&dns, &found);
        looked = seconds();
        dns_strip(&dns, out, &stripped);
        done = seconds();
        print_message("  %s: %zu bytes, parse %.2f ms, find %.2f ms, strip %.2f ms\n",
                      cases[i].name, build.len, (parsed - began) * 1e3, (looked - parsed) * 1e3,
                      (done - looked) * 1e3);
        assert_true(done - began < 1);
    }
}

/* ---- refusing ---- */

static void says_that_a_policy_refuses(void **state)
{
    static const uint8_t want[] = "\x12\x34\x81\x85\0\1\0\0\0\0\0\1"
                                  "\4ebpf\2io\0\0\1\0\1"
                                  "\0\0\x29\x04\xd0\0\0\0\0\0\x0f\0\x0f\0\x0b\0\x12"
                                  "shop/cart";
    const size_t len = sizeof(want) - 1, without = len - strlen("shop/cart");
    uint8_t out[128];
    struct dns query, answer;
    const char *why;

    (void)state;
    begin(&build, QUERY, "ebpf.io.", DNS_A); /* knows no EDNS */
    assert_int_equal(dns_parse(built(&build), &query, &why), 0);
    assert_int_equal(dns_prohibit(&query, "shop/cart", out, sizeof(out)), build.len);
    record(&build, 3, "", DNS_OPT, 0);
    record_end(&build);
    assert_int_equal(dns_parse(built(&build), &query, &why), 0);
    assert_int_equal(dns_prohibit(&query, "shop/cart", out, len), len);
    assert_int_equal(out[3] & 0xf, DNS_REFUSED);
    assert_memory_equal(out + 4, want + 4, len - 4);
    assert_int_equal(dns_parse(span_of(out, len), &answer, &why), 0);
    assert_int_equal(dns_prohibit(&query, "shop/cart", out, len - 1), without);
    assert_int_equal(dns_parse(span_of(out, without), &answer, &why), 0);
    assert_int_equal(dns_prohibit(&query, "", out, without - 1), without - 6);
    assert_int_equal(dns_parse(span_of(out, without - 6), &answer, &why), 0);
    assert_int_equal(dns_prohibit(&query, "", out, without - 7), 0);
}

static void refuses_in_the_query_s_own_words(void **state)
{
    static const uint8_t want[] = "\x12\x34\x81\x85\0\1\0\0\0\0\0\1"
                                  "\4eBpf\2io\0\0\1\0\1"
                                  "\0\0\x29\x04\xd0\0\0\0\0\0";
    uint8_t out[128];
    struct dns query, answer;
    const char *why;
    size_t len;

    (void)state;
    begin(&build, QUERY, "eBpf.io.", DNS_A);
    assert_int_equal(dns_parse(built(&build), &query, &why), 0);
    assert_int_equal(dns_refuse(&query, DNS_NXDOMAIN, out, sizeof(out)), build.len);
    assert_int_equal(dns_parse(span_of(out, build.len), &answer, &why), 0);
    assert_true(dns_answers(&query, &answer));
    assert_int_equal(answer.rcode, DNS_NXDOMAIN);
    assert_false(answer.has_opt);

    len = build.len;
    record(&build, 3, "@12", DNS_TXT, 0); /* as a signature would be */
    assert_int_equal(dns_parse(built(&build), &query, &why), 0);
    assert_int_equal(dns_refuse(&query, DNS_NXDOMAIN, out, sizeof(out)), len);
    assert_int_equal(dns_parse(span_of(out, len), &answer, &why), 0);

    begin(&build, QUERY, "eBpf.io.", DNS_A);
    record(&build, 3, "", DNS_OPT, 0x8000); /* and the DNSSEC bit */
    put(&build, "\0\x0a\0\2xy", 6);
    record_end(&build);
    assert_int_equal(dns_parse(built(&build), &query, &why), 0);
    assert_int_equal(dns_refuse(&query, DNS_REFUSED, out, sizeof(want) - 1), 0);
    assert_int_equal(dns_refuse(&query, DNS_REFUSED, out, sizeof(want)), sizeof(want));
    assert_memory_equal(out, want, sizeof(want));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_header),
        cmocka_unit_test(tells_answers_to_other_questions),
        cmocka_unit_test(finds_what_answers_the_question),
        cmocka_unit_test(finds_as_much_as_it_says),
        cmocka_unit_test(finds_nothing_without_a_question),
        cmocka_unit_test(no_message_takes_long),
        cmocka_unit_test(refuses_in_the_query_s_own_words),
        cmocka_unit_test(says_that_a_policy_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
