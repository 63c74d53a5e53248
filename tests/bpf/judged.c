#include "judged.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* ---- rules ---- */

void put_class(uint32_t rules, const char *ip, unsigned bits, uint32_t class)
{
    struct abi_prefix key = {.bits = 32 + bits, .rules = rules};

    assert_int_equal(inet_pton(AF_INET6, ip, key.ip), 1);
    put(policy_nets, &key, &class);
}

void put_verdict(uint32_t rules, uint32_t class, uint16_t who, uint8_t protocol, uint16_t port,
                 uint32_t verdict)
{
    struct abi_where key = {.bits = ABI_WHERE_BITS + (port ? 16 : 0),
                            .rules = rules,
                            .class = class,
                            .who = who,
                            .protocol = protocol,
                            .port = {(uint8_t)(port >> 8), (uint8_t)port}};

    put(policy_ports, &key, &verdict);
}

void judge_pod_by(uint32_t rules)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    struct abi_pod pod;

    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods), &id, &pod),
                     0);
    pod.rules = rules;
    put(pods, &id, &pod);
}

void put_rules(uint32_t rules, const struct abi_rules *about)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

    put(policy_rules, &rules, about);
    put_class(rules, "::", 0, ELSEWHERE);
    put_class(rules, "::ffff:198.51.100.0", 96 + 24, LISTED);
    put_class(rules, "2001:db8:2::", 48, LISTED);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
        for (uint32_t class = ELSEWHERE; class <= NAMED; class ++)
            put_verdict(rules, class, 0, protocols[i], 0, ABI_VERDICT_DENY);
    put_verdict(rules, ABI_ANY_CLASS, 0, ABI_ANY_PROTOCOL, 0, ABI_VERDICT_DENY);
}

int register_judged(void **state)
{
    int code = register_default(state);

    put_rules(RULES, &(struct abi_rules){0});
    put_verdict(RULES, LISTED, 0, IPPROTO_TCP, 9000, 0);
    put_verdict(RULES, LISTED, 0, IPPROTO_UDP, 9000, 0);
    put_verdict(RULES, LISTED, 0, IPPROTO_TCP, 9001, ABI_VERDICT_DENY); /* a test may change it */
    judge_pod_by(RULES);
    heard_forget();
    return code;
}

/* ---- what is told ---- */

void assert_told(uint8_t protocol, const char *ip, uint16_t port, int error)
{
    const struct abi_socket *record = heard_one(ABI_SOCKET_DENIED, 0);
    struct addr dst = {.port = record->dst_port};

    memcpy(dst.ip, record->dst, sizeof(dst.ip));
    assert_ip(&dst, ip);
    assert_int_equal(record->dst_port, port);
    assert_int_equal(record->protocol, protocol);
    assert_int_equal(record->error, error);
    assert_int_equal(record->pod, bed_cgroup_id(&fx.bed, "pod"));
    heard_forget();
}

void assert_nothing_came(int server)
{
    char byte;

    assert_true(recv(server, &byte, 1, MSG_DONTWAIT) < 0);
}

/* ---- the group ---- */

int set_up_judged(void **state)
{
    int code = set_up(state);

    heard_init();
    return code;
}

int take_down_judged(void **state)
{
    heard_fini();
    return take_down(state);
}
