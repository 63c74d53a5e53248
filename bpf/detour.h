/* detour: packets that a program sends by a way of its own.
 *
 * Any program may bind its socket to a device, or name hosts to go by (source routes of IPv4,
 * routing headers of IPv6), before it connects or after. What is meant for our listener, in the
 * clear perhaps, would leave instead; and what is allowed for where it is connected to would go to
 * another host first. So what is steered leaves by no device, and a connection that rules judge has
 * no such route. Datagrams are judged by where the packet goes. */
#pragma once

#include "bpf/judge.h"
#include "bpf/socket.h"

enum {
    V4_HEADER = 20,
    V4_OPTIONS_MAX = 40,
    V4_END = 0,
    V4_NOTHING = 1,
    V4_LOOSE_ROUTE = 131,
    V4_STRICT_ROUTE = 137,
    V6_NEXT = 6, /* where it is in the header */
    LOOPBACK_DEVICE =
        1, /* in every namespace; what stays in one goes by it, to whichever address */
};

static __always_inline bool v4_has_route(struct __sk_buff *skb)
{
    __u32 at = V4_HEADER, end;
    __u8 first, option[2]; /* its kind; how long */

    if (bpf_skb_load_bytes(skb, 0, &first, sizeof(first)))
        return false;
    end = (first & 0xf) * 4;
    for (int i = 0; i < V4_OPTIONS_MAX && at < end; i++) {
        if (bpf_skb_load_bytes(skb, at, option, sizeof(option)) || option[0] == V4_END)
            return false;
        if (option[0] == V4_LOOSE_ROUTE || option[0] == V4_STRICT_ROUTE)
            return true;
        at += option[0] == V4_NOTHING ? 1 : option[1];
    }
    return false;
}

static __always_inline bool v6_has_route(struct __sk_buff *skb)
{
    __u8 next;

    return !bpf_skb_load_bytes(skb, V6_NEXT, &next, sizeof(next)) &&
           find_v6(skb, next, IPPROTO_ROUTING);
}

/* For the verifier a function of its own, as find_place() is. */
__weak __noinline bool has_route(struct __sk_buff *skb)
{
    return skb->protocol == bpf_htons(ETH_P_IP) ? v4_has_route(skb) : v6_has_route(skb);
}

static __always_inline bool leaves(struct __sk_buff *skb)
{
    return WORD(skb->ifindex) != LOOPBACK_DEVICE;
}

/* A connection's packet. Told once; what is not looked into is refused where raw sockets are. */
static __always_inline bool is_detour(struct __sk_buff *skb, struct connection *connection)
{
    __u32 verdict = ABI_VERDICT_DENY;
    const struct abi_pod *pod;

    if (!leaves(skb) || (!connection->steered && !has_route(skb)))
        return false;
    if (!connection->steered) {
        pod = bpf_map_lookup_elem(&pods, &connection->origin.pod);
        verdict = pod && pod->rules ? judge(pod->rules, &connection->origin, ABI_ANY_PROTOCOL) : 0;
    }
    if (!verdict)
        return false;
    if (!connection->detour)
        tell_kind(&connection->origin, 0, IPPROTO_TCP, verdict);
    connection->detour = true;
    return !(verdict & ABI_VERDICT_TELL);
}
