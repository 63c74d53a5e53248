/* judged: a pod that is judged by rules which a test writes by hand, and what is told of what they
 * refuse. By whom they are written is tests/unit/enforce/. */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "fixture.h"
#include "heard.h"
#include "sallyport.skel.h"

enum { RULES = 7, NEXT_RULES, ELSEWHERE = 0, LISTED, NAMED }; /* tables; classes of addresses */

#define put(map, key, value)                                                                       \
    assert_int_equal(                                                                              \
        bpf_map_update_elem(bpf_map__fd(keeper_bpf(fx.keeper)->maps.map), key, value, BPF_ANY), 0)

void put_class(uint32_t rules, const char *ip, unsigned bits, uint32_t class);
/* port 0: any. */
void put_verdict(uint32_t rules, uint32_t class, uint16_t who, uint8_t protocol, uint16_t port,
                 uint32_t verdict);
/* Denied is all, but what the test adds. */
void put_rules(uint32_t rules, const struct abi_rules *about);
void judge_pod_by(uint32_t rules);

/* cmocka's. The pod "pod" may go to port 9000 of what is listed. */
int set_up_judged(void **state);
int take_down_judged(void **state);
int register_judged(void **state);
#define judged(test) cmocka_unit_test_setup_teardown(test, register_judged, unregister)

/* The only refusal that was told since the last; error as connect() had it. */
void assert_told(uint8_t protocol, const char *ip, uint16_t port, int error);
void assert_nothing_came(int server);
