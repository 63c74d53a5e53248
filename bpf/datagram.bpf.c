/* datagram: what a pod sends to a name server without a connect() goes to our listener in its own
 * network namespace, and answers seem to come from the server that was asked.
 *
 * The kernel runs sendmsg's hooks for datagrams that name their destination, before it looks for a
 * route, and recvmsg's when the program wants to know the sender. To an IPv4-mapped destination an
 * IPv6 socket sends by the hook for IPv4, and receives by the one for IPv6. */
#include <linux/bpf.h>

#include "bpf/exchange.h"

SEC("cgroup/sendmsg4")
int send_datagram4(struct bpf_sock_addr *ctx)
{
    struct place to = {ip_of_v4(WORD(ctx->user_ip4)), bpf_ntohs(WORD(ctx->user_port))};
    enum outcome outcome = begin_exchange(ctx, AF_INET, false, &to);

    return answer4(ctx, outcome, &to);
}

SEC("cgroup/sendmsg6")
int send_datagram6(struct bpf_sock_addr *ctx)
{
    struct place to = {IP_READ(ctx->user_ip6), bpf_ntohs(WORD(ctx->user_port))};
    enum outcome outcome = begin_exchange(ctx, AF_INET6, false, &to);

    return answer6(ctx, outcome, &to);
}

/* The server that was asked through this listener; NULL: the sender is the sender. */
static __always_inline const struct abi_origin *asked_through(struct bpf_sock_addr *ctx,
                                                              const struct place *from)
{
    const struct datagrams *all = bpf_sk_storage_get(&datagrams, SOCK(ctx), NULL, 0);

    for (int i = 0; all && i < ABI_PEERS; i++) {
        const struct peer *peer = &all->peers[i];
        struct ip wire = ip_load(peer->wire);

        if (peer->flags & PEER_STEERED && peer->wire_port == from->port &&
            ip_equal(&wire, &from->ip))
            return &peer->origin;
    }
    return NULL;
}

SEC("cgroup/recvmsg4")
int receive_datagram4(struct bpf_sock_addr *ctx)
{
    struct place from = {ip_of_v4(WORD(ctx->user_ip4)), bpf_ntohs(WORD(ctx->user_port))};

    return show4(ctx, asked_through(ctx, &from));
}

SEC("cgroup/recvmsg6")
int receive_datagram6(struct bpf_sock_addr *ctx)
{
    struct place from = {IP_READ(ctx->user_ip6), bpf_ntohs(WORD(ctx->user_port))};

    return show6(ctx, asked_through(ctx, &from));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
