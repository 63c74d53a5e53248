#include "proxy/keeper/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>

#include <setjmp.h>
#include <cmocka.h>

#include "base/addr.h"

enum { ETH = 2, ETH2 = 3, LO = 1, MAIN = RT_TABLE_MAIN };

/* A dump as the kernel sends it, written message by message. */
struct dump {
    _Alignas(struct nlmsghdr) uint8_t bytes[4096];
    size_t len;
};

static void put(struct dump *dump, const void *data, size_t len)
{
    assert_true(dump->len + NLMSG_ALIGN(len) <= sizeof(dump->bytes));
    if (len)
        memcpy(dump->bytes + dump->len, data, len);
    dump->len += NLMSG_ALIGN(len);
}

static void put_attr(struct dump *dump, uint16_t type, const void *data, size_t len)
{
    struct rtattr attr = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type};

    put(dump, &attr, sizeof(attr));
    put(dump, data, len);
}

static void put_ip(struct dump *dump, uint16_t type, const char *text)
{
    uint8_t ip[16];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;

    assert_int_equal(inet_pton(family, text, ip), 1);
    put_attr(dump, type, ip, family == AF_INET ? 4 : 16);
}

static size_t begin(struct dump *dump, uint16_t type, uint16_t flags, const void *head, size_t len)
{
    struct nlmsghdr message = {.nlmsg_type = type, .nlmsg_flags = flags};
    size_t at = dump->len;

    put(dump, &message, sizeof(message));
    put(dump, head, len);
    return at;
}

static void end(struct dump *dump, size_t at)
{
    struct nlmsghdr *message = (struct nlmsghdr *)(dump->bytes + at);

    message->nlmsg_len = (uint32_t)(dump->len - at);
}

struct address {
    const char *local, *peer; /* peer: of a point-to-point link */
    unsigned char scope;
    uint32_t link, flags;
};

static void put_address(struct dump *dump, const struct address *address)
{
    struct ifaddrmsg head = {
        .ifa_family = strchr(address->local, ':') ? AF_INET6 : AF_INET,
        .ifa_scope = address->scope,
        .ifa_index = address->link,
    };
    size_t at = begin(dump, RTM_NEWADDR, 0, &head, sizeof(head));

    put_ip(dump, IFA_ADDRESS, address->peer ? address->peer : address->local);
    if (head.ifa_family == AF_INET || address->peer) /* of IPv6 only peers have a local one */
        put_ip(dump, IFA_LOCAL, address->local);
    put_attr(dump, IFA_FLAGS, &address->flags, sizeof(address->flags));
    end(dump, at);
}

struct route {
    const char *to; /* NULL: the default */
    int family;
    uint32_t link, metric;
    const char *source;
    unsigned char type, table;
    bool many; /* its link stands in a list of next hops */
    bool dead;
};

static void put_route(struct dump *dump, const struct route *route)
{
    struct rtmsg head = {
        .rtm_family = (unsigned char)route->family,
        .rtm_dst_len = route->to ? 24 : 0,
        .rtm_type = route->type ? route->type : RTN_UNICAST,
        .rtm_table = route->table ? route->table : MAIN,
        .rtm_flags = route->dead && !route->many ? RTNH_F_DEAD : 0,
    };
    struct rtnexthop hop = {.rtnh_len = sizeof(hop),
                            .rtnh_flags = route->dead ? RTNH_F_DEAD : 0,
                            .rtnh_ifindex = (int)route->link};
    size_t at = begin(dump, RTM_NEWROUTE, 0, &head, sizeof(head));

    if (route->to)
        put_ip(dump, RTA_DST, route->to);
    if (route->source)
        put_ip(dump, RTA_PREFSRC, route->source);
    if (route->many)
        put_attr(dump, RTA_MULTIPATH, &hop, sizeof(hop));
    else if (route->link)
        put_attr(dump, RTA_OIF, &route->link, sizeof(route->link));
    put_attr(dump, RTA_PRIORITY, &route->metric, sizeof(route->metric));
    end(dump, at);
}

static void put_done(struct dump *dump, uint16_t flags)
{
    int status = 0;

    end(dump, begin(dump, NLMSG_DONE, flags, &status, sizeof(status)));
}

static const struct {
    const char *name;
    struct address addresses[4];
    struct route routes[4];
    const char *source4, *source6;
    bool reaches4, reaches6;
    size_t own;
} cases[] = {
    {.name = "nothing but loopback",
     .addresses = {{"127.0.0.1", NULL, RT_SCOPE_HOST, LO, 0}, {"::1", NULL, RT_SCOPE_HOST, LO, 0}},
     .source4 = "127.0.0.1",
     .source6 = "::1"},
    {.name = "one network, no default route",
     .addresses = {{"192.0.2.1", NULL, 0, ETH, 0}, {"2001:db8::1", NULL, 0, ETH, 0}},
     .routes = {{.family = AF_INET, .to = "192.0.2.0", .link = ETH},
                {.family = AF_INET6, .to = "2001:db8::", .link = ETH}},
     .source4 = "192.0.2.1",
     .source6 = "2001:db8::1",
     .reaches4 = true,
     .reaches6 = true,
     .own = 2},
    {.name = "the default route's interface has the address",
     .addresses = {{"192.0.2.1", NULL, 0, ETH, 0}, {"198.51.100.1", NULL, 0, ETH2, 0}},
     .routes = {{.family = AF_INET, .link = ETH2}},
     .source4 = "198.51.100.1",
     .source6 = "::1",
     .reaches4 = true,
     .own = 2},
    {.name = "the cheaper of two default routes",
     .addresses = {{"192.0.2.1", NULL, 0, ETH, 0}, {"198.51.100.1", NULL, 0, ETH2, 0}},
     .routes = {{.family = AF_INET, .link = ETH, .metric = 600},
                {.family = AF_INET, .link = ETH2, .metric = 100}},
     .source4 = "198.51.100.1",
     .source6 = "::1",
     .reaches4 = true,
     .own = 2},
    {.name = "a default route that names its source",
     .addresses = {{"192.0.2.1", NULL, 0, ETH, 0}, {"192.0.2.9", NULL, 0, ETH, 0}},
     .routes = {{.family = AF_INET, .link = ETH, .source = "192.0.2.9"}},
     .source4 = "192.0.2.9",
     .source6 = "::1",
     .reaches4 = true,
     .own = 2},
    {.name = "link-local IPv6 alone reaches nothing",
     .addresses = {{"fe80::1", NULL, RT_SCOPE_LINK, ETH, 0}},
     .routes = {{.family = AF_INET6, .to = "fe80::", .link = ETH},
                {.family = AF_INET6, .to = "ff00::", .link = ETH}},
     .source4 = "127.0.0.1",
     .source6 = "::1"},
    {.name = "an address on probation is own, but no source",
     .addresses = {{"2001:db8::1", NULL, 0, ETH, IFA_F_TENTATIVE},
                   {"2001:db8::2", NULL, 0, ETH, IFA_F_DEPRECATED},
                   {"2001:db8::3", NULL, 0, ETH, 0}},
     .source4 = "127.0.0.1",
     .source6 = "2001:db8::3",
     .own = 3},
    {.name = "of a point-to-point link, this end",
     .addresses = {{"192.0.2.1", "192.0.2.2", 0, ETH, 0},
                   {"2001:db8::1", "2001:db8::2", 0, ETH, 0}},
     .source4 = "192.0.2.1",
     .source6 = "2001:db8::1",
     .own = 2},
    {.name = "a default route of several ways",
     .addresses = {{"192.0.2.1", NULL, 0, ETH, 0}, {"198.51.100.1", NULL, 0, ETH2, 0}},
     .routes = {{.family = AF_INET, .link = ETH2, .many = true}},
     .source4 = "198.51.100.1",
     .source6 = "::1",
     .reaches4 = true,
     .own = 2},
    {.name = "routes that lead nowhere",
     .routes = {{.family = AF_INET6, .type = RTN_UNREACHABLE, .link = LO},
                {.family = AF_INET, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL, .link = ETH},
                {.family = AF_INET, .to = "192.0.2.0", .link = LO},
                {.family = AF_INET, .link = ETH, .many = true, .dead = true}},
     .source4 = "127.0.0.1",
     .source6 = "::1"},
};

static void assert_ip(const uint8_t ip[16], const char *want)
{
    struct addr addr = {0};
    char text[ADDR_TEXT_MAX];

    memcpy(addr.ip, ip, sizeof(addr.ip));
    assert_string_equal(addr_format_ip(&addr, text), want);
}

static void says_what_a_namespace_owns_and_reaches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(net_view_fini) struct net_view view = {0};
        struct dump dump = {.len = 0};
        uint8_t source[16];
        bool done;

        print_message("  %s\n", cases[i].name);
        for (size_t j = 0; j < 4 && cases[i].addresses[j].local; j++)
            put_address(&dump, &cases[i].addresses[j]);
        for (size_t j = 0; j < 4 && cases[i].routes[j].family; j++)
            put_route(&dump, &cases[i].routes[j]);
        assert_int_equal(net_view_add(&view, span_of(dump.bytes, dump.len), &done, NULL), 0);
        assert_false(done);
        dump.len = 0;
        put_done(&dump, 0);
        assert_int_equal(net_view_add(&view, span_of(dump.bytes, dump.len), &done, NULL), 0);
        assert_true(done);
        assert_false(view.torn);
        net_view_source4(&view, source);
        assert_ip(source, cases[i].source4);
        net_view_source6(&view, source);
        assert_ip(source, cases[i].source6);
        assert_int_equal(view.way4.reaches, cases[i].reaches4);
        assert_int_equal(view.way6.reaches, cases[i].reaches6);
        assert_int_equal(view.own_len, cases[i].own);
    }
}

static void notices_tables_that_change_under_its_eyes(void **state)
{
    struct net_view view = {0};
    struct dump dump = {.len = 0};
    bool done;

    (void)state;
    put_done(&dump, NLM_F_DUMP_INTR);
    assert_int_equal(net_view_add(&view, span_of(dump.bytes, dump.len), &done, NULL), 0);
    assert_true(done && view.torn);
}

static void tells_a_refusal(void **state)
{
    struct nlmsgerr refusal = {.error = -EPERM};
    struct net_view view = {0};
    struct dump dump = {.len = 0};
    struct err err;
    bool done;

    (void)state;
    end(&dump, begin(&dump, NLMSG_ERROR, 0, &refusal, sizeof(refusal)));
    assert_int_equal(net_view_add(&view, span_of(dump.bytes, dump.len), &done, &err), -EPERM);
    assert_non_null(strstr(err.text, "refused"));
}

/* Each message of a good dump cut short at each byte, its length field telling the truth or not. */
static void reads_never_past_what_it_was_given(void **state)
{
    struct address address = {"2001:db8::1", "2001:db8::2", 0, ETH, 0};
    struct route route = {.family = AF_INET, .link = ETH, .source = "192.0.2.1", .many = true};

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct dump dump = {.len = 0};

        if (kind)
            put_route(&dump, &route);
        else
            put_address(&dump, &address);
        for (size_t cut = 0; cut < dump.len; cut++)
            for (int lies = 0; lies < 2; lies++) {
                CLEANUP(net_view_fini) struct net_view view = {0};
                uint8_t *exact = malloc(cut + 1); /* so that the sanitizer sees the end */
                uint32_t len = (uint32_t)cut;
                bool done;

                assert_non_null(exact);
                memcpy(exact, dump.bytes, cut);
                if (!lies && cut >= sizeof(struct nlmsghdr))
                    memcpy(exact, &len, sizeof(len));
                assert_int_equal(net_view_add(&view, span_of(exact, cut), &done, NULL), 0);
                assert_false(done);
                free(exact);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_a_namespace_owns_and_reaches),
        cmocka_unit_test(notices_tables_that_change_under_its_eyes),
        cmocka_unit_test(tells_a_refusal),
        cmocka_unit_test(reads_never_past_what_it_was_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
