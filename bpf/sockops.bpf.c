/* sockops: file where a steered connection meant to go under the addresses it has, where accept()
 * finds it.
 *
 * BPF_SOCK_OPS_TCP_CONNECT_CB comes after the kernel chose the source port and before the SYN
 * leaves: the record is there before anybody can accept the connection. proxy/origin.c takes it.
 *
 * A connection that is never accepted leaves its record, and whoever got the same port later would
 * be taken for it. So the socket takes its record along when it ends - unless the other side
 * acknowledged more than our SYN: then the connection stands in the listener's queue, where one
 * that sends a few bytes and closes at once is perfectly in order. */
#include <linux/bpf.h>

#include "bpf/maps.h"
#include "bpf/steer.h"

static __always_inline struct abi_tuple tuple_of(struct bpf_sock_ops *ctx, __u64 netns_cookie)
{
    struct abi_tuple tuple = {.netns_cookie = netns_cookie, .port = WORD(ctx->local_port)};
    struct ip source4 = ip_of_v4(WORD(ctx->local_ip4)), to4 = ip_of_v4(WORD(ctx->remote_ip4));
    struct ip source = IP_READ(ctx->local_ip6); /* IPv4-mapped comes as such */
    struct ip to = IP_READ(ctx->remote_ip6);

    if (WORD(ctx->family) == AF_INET) {
        source = source4;
        to = to4;
    }
    ip_store(tuple.ip, &source);
    ip_store(tuple.local, &to);
    return tuple;
}

static __always_inline void file_record(struct bpf_sock_ops *ctx, const struct abi_origin *origin)
{
    struct abi_tuple tuple = tuple_of(ctx, origin->netns_cookie);

    /* full: the listener finds nothing and closes, which for the pod is a reset */
    bpf_map_update_elem(&origins, &tuple, origin, BPF_ANY);
    bpf_sock_ops_cb_flags_set(ctx, WORD(ctx->bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void drop_record(struct bpf_sock_ops *ctx, const struct abi_origin *origin)
{
    struct abi_tuple tuple = tuple_of(ctx, origin->netns_cookie);
    const struct abi_origin *filed = bpf_map_lookup_elem(&origins, &tuple);

    if (filed && filed->cookie == origin->cookie)
        bpf_map_delete_elem(&origins, &tuple);
}

SEC("sockops")
int file_origin(struct bpf_sock_ops *ctx)
{
    __u32 op = WORD(ctx->op);
    struct bpf_sock *sk = SOCK(ctx);
    const struct abi_origin *origin;

    if (!sk || (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_STATE_CB))
        return ALLOW;
    origin = bpf_sk_storage_get(&asked, sk, NULL, 0);
    if (!origin)
        return ALLOW; /* not steered */
    if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
        file_record(ctx, origin);
    else if (WORD(ctx->args[1]) == BPF_TCP_CLOSE && ctx->bytes_acked <= 1)
        drop_record(ctx, origin);
    return ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
