/* hold: a steered connection's SYN is kept back until the upstream has answered ours, so that
 * connect() fails where and how it would have failed without us.
 *
 * Its headers go to proxy/doors/attempts.c, and the packet is dropped. The kernel takes that for a
 * loss: connect() goes on, the SYN is repeated after a second and so on, and in the end the socket
 * times out as it would have. When the upstream has answered, attempts.c puts the SYN back on its
 * way to our listener, or tells the socket what happened.
 *
 * Only while somebody is there to do so: else the SYN goes to the listener, and waits in its queue.
 */
#pragma once

#include "bpf/socket.h"

enum { IPV6_NEXT_HEADER = 6 }; /* where it is in the packet */

static __always_inline bool agent_is_awake(void)
{
    __u32 zero = 0;
    const __u64 *until = bpf_map_lookup_elem(&hold_until, &zero);

    return until && bpf_ktime_get_boot_ns() < *until;
}

/* What follows the headers (TCP Fast Open), if anything, the kernel sends again by itself. */
static __always_inline bool read_headers(struct __sk_buff *skb, struct abi_syn *syn)
{
    __u64 len = skb->len;

    if (len > sizeof(syn->packet))
        len = sizeof(syn->packet);
    asm volatile("" : "+r"(len)); /* or the compiler derives the bound below from the context */
    if (len <= IPV6_NEXT_HEADER || len > sizeof(syn->packet) ||
        bpf_skb_load_bytes(skb, 0, syn->packet, len))
        return false;
    syn->len = len;
    /* behind headers that the program had put between, nobody would look for it */
    return skb->protocol == bpf_htons(ETH_P_IP) || syn->packet[IPV6_NEXT_HEADER] == IPPROTO_TCP;
}

/* Of a socket in SYN_SENT, which sends nothing else. */
static __always_inline bool hold_syn(struct __sk_buff *skb, struct connection *connection)
{
    struct abi_syn *syn;

    if (!connection->steered || !agent_is_awake())
        return false;
    syn = bpf_ringbuf_reserve(&records, sizeof(*syn), 0);
    if (!syn)
        return false; /* not lost: the listener has it */
    syn->kind = ABI_SYN_HELD;
    syn->origin = connection->origin;
    if (!read_headers(skb, syn)) {
        bpf_ringbuf_discard(syn, 0);
        return false;
    }
    connection->held = true;
    bpf_ringbuf_submit(syn, 0);
    return true;
}

/* The socket has given up, or was told. */
static __always_inline void tell_gone(const struct connection *connection)
{
    struct abi_syn *syn =
        bpf_ringbuf_reserve(&records, __builtin_offsetof(struct abi_syn, packet), 0);

    if (!syn)
        return; /* what is done for it ends by its time-out */
    syn->kind = ABI_SYN_GONE;
    syn->len = 0;
    syn->origin = connection->origin;
    bpf_ringbuf_submit(syn, 0);
}
