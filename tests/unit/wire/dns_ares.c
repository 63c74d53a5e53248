/* dns against c-ares, another reader of the same bytes: what both accept, both understand alike.
 *
 * Where they differ by intent (c-ares 1.18):
 * - c-ares lets names point forward and follows any number of pointers, reads names past their
 * record's end, passes over addresses of a wrong length and stops reading behind the answers.
 * dns_parse() refuses such messages: readers differ about them.
 * - c-ares follows every CNAME it meets, whoever owns it, and in the order of the records only:
 * after one, addresses of any other name than its target are passed over. dns_find() goes by
 * owners, whatever the order, and takes the addresses of every name in the chain, as other
 * resolvers do.
 * - c-ares escapes "$();@ in names as well, but not the blank, keeps their case and writes no last
 * dot. A label that is one NUL ends its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#define CARES_NO_DEPRECATED /* since 1.28 it would rather have its records used */
#include <ares.h>
#include <netdb.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/dns_build.h"

enum { MUTATIONS = 20000, OTHERS_MAX = 128 };

static struct build build;
static struct dns_found found;

/* ---- what c-ares says ---- */

struct other {
    bool accepts;
    size_t len;
    uint8_t ips[OTHERS_MAX][16];
    int ttl;              /* the least */
    struct hostent *host; /* NULL when the answer has neither an address nor a CNAME */
};

static void other_fini(struct other *other)
{
    if (other->host)
        ares_free_hostent(other->host);
}

static void note(struct other *other, const void *ip, size_t size, int ttl)
{
    if (!other->len || ttl < other->ttl)
        other->ttl = ttl;
    memcpy(other->ips[other->len++], ip, size);
}

static struct other other_reads(struct span bytes, size_t ip_size)
{
    struct other other = {0};
    struct ares_addrttl four[OTHERS_MAX];
    struct ares_addr6ttl six[OTHERS_MAX];
    int len = OTHERS_MAX;
    int status = ip_size == 4
                     ? ares_parse_a_reply(bytes.data, (int)bytes.len, &other.host, four, &len)
                     : ares_parse_aaaa_reply(bytes.data, (int)bytes.len, &other.host, six, &len);

    other.accepts = status == ARES_SUCCESS || status == ARES_ENODATA;
    for (int i = 0; status == ARES_SUCCESS && i < len; i++) {
        if (ip_size == 4)
            note(&other, &four[i].ipaddr, 4, four[i].ttl);
        else
            note(&other, &six[i].ip6addr, 16, six[i].ttl);
    }
    return other;
}

/* Whether the texts are of one name, but for what the head of this file says. */
static bool same_text(const char *ours, const char *theirs)
{
    for (; *ours && *theirs; ours++, theirs++) {
        char lower = *theirs >= 'A' && *theirs <= 'Z' ? (char)(*theirs + 32) : *theirs;

        if (*theirs == ' ' && strncmp(ours, "\\032", 4) == 0) {
            ours += 3;
            continue;
        }
        if (*theirs == '\\' && theirs[1] && strchr("\"$();@", theirs[1]) && *ours == theirs[1])
            theirs++;
        else if (*ours != lower)
            return false;
        else if (*ours == '\\') { /* the escaped byte, whatever it is */
            ours++;
            theirs++;
            if (*ours != *theirs)
                return false;
        }
    }
    return !*theirs && strcmp(ours, ".") == 0;
}

static void check_name(struct span bytes, const struct dns *dns)
{
    char *text = NULL;
    long len;

    if (!dns->questions || strstr(dns->name, "\\000") ||
        ares_expand_name(bytes.data + 12, bytes.data, (int)bytes.len, &text, &len) != ARES_SUCCESS)
        return;
    if (!same_text(dns->name, text))
        print_message("%s is not %s\n", dns->name, text);
    assert_true(same_text(dns->name, text));
    ares_free_string(text);
}

/* Whether c-ares went along the chain that was found. */
static bool same_chain(const struct other *other, const struct dns *dns)
{
    char **alias = other->host->h_aliases;
    size_t i;

    for (i = 0; i < found.cnames_len && alias[i]; i++)
        if (!same_text(i ? found.cnames[i - 1] : dns->name, alias[i]))
            return false;
    return i == found.cnames_len && !alias[i] &&
           same_text(i ? found.cnames[i - 1] : dns->name, other->host->h_name);
}

/* Theirs are found among ours, in this order; all of ours, if said so. */
static void check_ips(const struct other *other, size_t ip_size, bool all)
{
    size_t matched = 0, ours = 0;

    for (size_t i = 0; i < found.addresses_len; i++) {
        const struct addr *addr = &found.addresses[i];

        if (addr_is_v4(addr) != (ip_size == 4))
            continue;
        ours++;
        if (matched < other->len &&
            memcmp(addr->ip + 16 - ip_size, other->ips[matched], ip_size) == 0)
            matched++;
    }
    assert_int_equal(matched, other->len);
    if (all)
        assert_int_equal(ours, other->len);
}

/* Whether both accept it; they agree, then. */
static bool check(struct span bytes, size_t ip_size)
{
    CLEANUP(other_fini) struct other other = other_reads(bytes, ip_size);
    struct dns dns;
    const char *why;

    if (dns_parse(bytes, &dns, &why) < 0)
        return false;
    dns_find(&dns, &found);
    check_name(bytes, &dns);
    if (!other.accepts)
        return false;
    if (!other.host || (!other.host->h_aliases[0] && !found.cnames_len))
        check_ips(&other, ip_size, true);
    else if (same_chain(&other, &dns))
        check_ips(&other, ip_size, false);
    return true;
}

/* ---- messages as servers send them ---- */

#define IP4 BYTES("\xcb\0\x71\x0a")
#define IP6 BYTES("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")

static void one_address(void)
{
    begin(&build, ANSWER, "ebpf.io.", DNS_A);
    record_of(&build, "@12", DNS_A, 60, IP4);
}

static void many_addresses(void)
{
    begin(&build, ANSWER, "Many.Example.COM.", DNS_A);
    for (unsigned i = 0; i < 30; i++)
        record_of(&build, "@12", DNS_A, 600 - i, span_of((uint8_t[]){198, 51, 100, (uint8_t)i}, 4));
}

static void ipv6(void)
{
    begin(&build, ANSWER, "ebpf.io.", DNS_AAAA);
    record_of(&build, "@12", DNS_AAAA, 60, IP6);
    record_of(&build, "@12", DNS_AAAA, 50, BYTES("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"));
}

static void alias(void)
{
    begin(&build, ANSWER, "www.ebpf.io.", DNS_A);
    record_to(&build, "@12", DNS_CNAME, 300, "@16");
    record_of(&build, "@16", DNS_A, 60, IP4);
}

static void long_chain(void)
{
    begin(&build, ANSWER, "www.example.com.", DNS_AAAA);
    record_to(&build, "@12", DNS_CNAME, 300, "www.example.com.edge.example.net.");
    record_to(&build, "www.example.com.edge.example.net.", DNS_CNAME, 20, "E1.b.example.org.");
    record_to(&build, "e1.B.example.org.", DNS_CNAME, 40, "e2.b.example.org.");
    record_of(&build, "e2.b.example.org.", DNS_AAAA, 60, IP6);
    record(&build, 3, "", DNS_OPT, 0);
    record_end(&build);
}

static void put_soa(const char *zone)
{
    record(&build, 2, zone, DNS_SOA, 900);
    put_name(&build, "ns.@12");
    put_name(&build, "hostmaster.@12");
    put(&build, "\0\0\0\1\0\0\x1c\x20\0\0\x0e\x10\0\x12\x75\0\0\0\1\x2c", 20);
    record_end(&build);
}

static void no_such_name(void)
{
    begin(&build, ANSWER | DNS_NXDOMAIN, "nowhere.example.", DNS_A);
    put_soa("@20");
}

static void no_such_type(void)
{
    begin(&build, ANSWER, "ebpf.io.", DNS_AAAA);
    put_soa("@12");
}

static void text(void)
{
    begin(&build, ANSWER, "ebpf.io.", DNS_TXT);
    record_of(&build, "@12", DNS_TXT, 60, BYTES("\x0dv=spf1 -all x\0"));
}

static void mail(void)
{
    begin(&build, ANSWER, "ebpf.io.", DNS_MX);
    record(&build, 1, "@12", DNS_MX, 60);
    put_uint(&build, 2, 10);
    put_name(&build, "mx.@12");
    record_end(&build);
    record(&build, 3, "mx.@12", DNS_A, 60);
    put(&build, IP4.data, 4);
    record_end(&build);
}

static void service(void)
{
    begin(&build, ANSWER, "_imaps._tcp.ebpf.io.", DNS_SRV);
    record(&build, 1, "@12", DNS_SRV, 60);
    put(&build, "\0\1\0\0\3\xe1", 6);
    put_name(&build, "imap.ebpf.io.");
    record_end(&build);
}

static void reverse(void)
{
    begin(&build, ANSWER, "10.113.0.203.in-addr.arpa.", DNS_PTR);
    record_to(&build, "@12", DNS_PTR, 60, "ebpf.io.");
}

static void odd_names(void)
{
    begin(&build, ANSWER, "a b(c)\"$;@\\\x1b\xc3\xff.x.", DNS_A);
    record_of(&build, "@12", DNS_A, 60, IP4);
}

static void the_root(void)
{
    begin(&build, ANSWER, "", DNS_NS);
    record_to(&build, "", DNS_NS, 60, "a.root-servers.net.");
}

static void https(void)
{
    begin(&build, ANSWER, "ebpf.io.", DNS_HTTPS);
    record_of(&build, "@12", DNS_HTTPS, 60, BYTES("\0\1\0\0\1\0\6\2h2\2h3"));
}

static const struct {
    const char *name;
    void (*build)(void);
    size_t ip_size;
    size_t addresses;
} corpus[] = {
    {"one address", one_address, 4, 1},
    {"many addresses", many_addresses, 4, 30},
    {"IPv6", ipv6, 16, 2},
    {"an alias", alias, 4, 1},
    {"a long chain", long_chain, 16, 1},
    {"no such name", no_such_name, 4, 0},
    {"no such type", no_such_type, 16, 0},
    {"a text", text, 4, 0},
    {"mail", mail, 4, 0},
    {"a service", service, 4, 0},
    {"reverse", reverse, 4, 0},
    {"odd names", odd_names, 4, 1},
    {"the root", the_root, 16, 0},
    {"HTTPS", https, 4, 0},
};

static void both_read_good_messages_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(corpus); i++) {
        print_message("  %s\n", corpus[i].name);
        corpus[i].build();
        assert_true(check(built(&build), corpus[i].ip_size));
        assert_int_equal(found.addresses_len, corpus[i].addresses);

        CLEANUP(other_fini) struct other other = other_reads(built(&build), corpus[i].ip_size);

        assert_int_equal(other.len, found.addresses_len);
        if (other.len)
            assert_int_equal(other.ttl, found.ttl);
    }
}

/* ---- and bad ones ---- */

static uint32_t next_random(uint32_t *seed, uint32_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed % below;
}

static void mutate(uint32_t *seed)
{
    static const uint8_t telling[] = {0, 1, 0x3f, 0x40, 0xc0, 0xff, 12, 28};
    size_t at = next_random(seed, (uint32_t)build.len);

    switch (next_random(seed, 6)) {
    case 0:
        build.data[at] ^= (uint8_t)(1 << next_random(seed, 8));
        break;
    case 1:
        build.data[at] = telling[next_random(seed, ARRAY_SIZE(telling))];
        break;
    case 2:
        build.data[at] = build.data[next_random(seed, (uint32_t)build.len)];
        break;
    case 3:
        build.data[at] += (uint8_t)(next_random(seed, 5) - 2);
        break;
    case 4: /* a pointer, mostly into the message */
        build.data[at] = 0xc0;
        build.data[at + 1] = (uint8_t)next_random(seed, (uint32_t)build.len + 4);
        break;
    case 5:
        memmove(build.data + at, build.data + at + 1, build.len - at);
        if (build.len > 1)
            build.len--;
        break;
    }
}

static void both_survive_bad_messages_and_agree_on_what_they_accept(void **state)
{
    uint32_t seed = 20221104;
    size_t accepted = 0;

    (void)state;
    for (unsigned i = 0; i < MUTATIONS; i++) {
        size_t which = i % ARRAY_SIZE(corpus);
        uint8_t *copy;

        corpus[which].build();
        for (uint32_t times = 1 + next_random(&seed, 3); times > 0; times--)
            mutate(&seed);
        copy = malloc(build.len);
        assert_non_null(copy);
        memcpy(copy, build.data, build.len);
        accepted += check(span_of(copy, build.len), corpus[which].ip_size);
        free(copy);
    }
    print_message("  both accepted %zu of %d\n", accepted, MUTATIONS);
    assert_true(accepted > MUTATIONS / 10);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_read_good_messages_alike),
        cmocka_unit_test(both_survive_bad_messages_and_agree_on_what_they_accept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
