/* sockops: a pod's connection begins: it is told, and where a steered one meant to go is filed
 * under the addresses it has, where accept() finds it.
 *
 * BPF_SOCK_OPS_TCP_CONNECT_CB comes after the kernel chose the source port and before the SYN
 * leaves: the record is there before anybody can accept the connection. proxy/doors/origin.c takes
 * it.
 *
 * A connection that is never accepted leaves its record, and whoever got the same port later would
 * be taken for it. So the socket takes its record along when it ends - unless the other side
 * acknowledged more than our SYN: then the connection stands in the listener's queue, where one
 * that sends a few bytes and closes at once is perfectly in order.
 *
 * Its end is told by sockets.bpf.c; the sequence numbers which that counts by are noted here. */
#include <linux/bpf.h>
#include <linux/tcp.h>

#include "bpf/bypass.h"
#include "bpf/ending.h"
#include "bpf/hold.h"
#include "bpf/judge.h"
#include "bpf/pod.h"
#include "bpf/speech.h"
#include "bpf/socket.h"

static __always_inline void read_addresses(struct bpf_sock_ops *ctx, struct ip *source,
                                           struct ip *to)
{
    struct ip source4 = ip_of_v4(WORD(ctx->local_ip4)), to4 = ip_of_v4(WORD(ctx->remote_ip4));
    struct ip source6 = IP_READ(ctx->local_ip6); /* IPv4-mapped comes as such */
    struct ip to6 = IP_READ(ctx->remote_ip6);
    bool v4 = WORD(ctx->family) == AF_INET;

    *source = v4 ? source4 : source6;
    *to = v4 ? to4 : to6;
}

static __always_inline struct abi_tuple tuple_of(struct bpf_sock_ops *ctx, __u64 netns_cookie)
{
    struct abi_tuple tuple = {.netns_cookie = netns_cookie, .port = WORD(ctx->local_port)};
    struct ip source, to;

    read_addresses(ctx, &source, &to);
    ip_store(tuple.ip, &source);
    ip_store(tuple.local, &to);
    return tuple;
}

static __always_inline void file_record(struct bpf_sock_ops *ctx, const struct abi_origin *origin)
{
    struct abi_tuple tuple = tuple_of(ctx, origin->netns_cookie);

    /* full: the listener finds nothing and closes, which for the pod is a reset */
    bpf_map_update_elem(&origins, &tuple, origin, BPF_ANY);
}

static __always_inline void drop_record(struct bpf_sock_ops *ctx, const struct abi_origin *origin)
{
    struct abi_tuple tuple = tuple_of(ctx, origin->netns_cookie);
    const struct abi_origin *filed = bpf_map_lookup_elem(&origins, &tuple);

    if (filed && filed->cookie == origin->cookie)
        bpf_map_delete_elem(&origins, &tuple);
}

/* For what this program is called on behalf of the socket. */
static __always_inline void call_for(struct bpf_sock_ops *ctx, __u32 more, __u32 less)
{
    bpf_sock_ops_cb_flags_set(ctx, (WORD(ctx->bpf_sock_ops_cb_flags) | more) & ~less);
}

/* Before its SYN leaves, which may say something (TCP fast open). NULL: there is no memory. */
static __always_inline struct speech *begin_speech(struct bpf_sock *sk,
                                                   const struct connection *connection)
{
    struct speech *speech;

    bpf_sk_storage_delete(&speeches, sk); /* so that it is all zeroes */
    speech = bpf_sk_storage_get(&speeches, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!speech)
        return NULL;
    speech->origin = connection->origin;
    speech->asks = !connection->accepted;
    speech->sent = connection->first_tx + 1;
    speech->counted = speech->whole = true;
    speech->sides[LEAVING].next = connection->first_tx + 1;
    speech->sides[ABI_TX].next = connection->first_tx + 1; /* behind the SYN */
    return speech;
}

static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                       struct connection *connection, const struct tcp_sock *tcp)
{
    struct ip source, to;

    if (connection->steered)
        file_record(ctx, &connection->origin);
    read_addresses(ctx, &source, &to);
    ip_store(connection->src, &source);
    connection->src_port = WORD(ctx->local_port);
    connection->first_tx = BPF_CORE_READ(tcp, write_seq);
    connection->told = true;
    tell_connection(ABI_SOCKET_CONNECT, connection, NULL, false);
    call_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG, 0);
    if (connection->bypassed)
        begin_speech(sk, connection);
    if (connection->bypassed && connection->judged)
        call_for(ctx, BPF_SOCK_OPS_RTO_CB_FLAG, 0);
}

/* The kernel takes it out of the sockhash itself when it is closed, but not when it is
 * disconnected, and would not take it in again then. */
static __always_inline void leave(struct connection *connection)
{
    __u64 cookie;

    if (!connection || !connection->enrolled)
        return;
    cookie = connection->origin.cookie;
    bpf_map_delete_elem(&enrolled, &cookie);
    count_route(ABI_ROUTE_ENROLLED, -1);
    connection->enrolled = false;
}

/* Its program has said all, and may wait for the answer: in a sockhash a recv() that waits fails
 * with EAGAIN when it is woken for anything but data (tcp_bpf_recvmsg()), as by the FIN's ACK. What
 * the kernel encrypts has another recv(), and is better not taken out of a sockhash. */
static __always_inline void on_half_closed(struct bpf_sock *sk, struct connection *connection)
{
    const struct speech *speech = bpf_sk_storage_get(&speeches, sk, NULL, 0);

    if (speech && !speech->sides[ABI_TX].keyed && !speech->sides[ABI_RX].keyed)
        leave(connection);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                     struct connection *connection, const void *tcp)
{
    __u32 state = WORD(ctx->args[1]);
    const struct sock *sock = tcp;
    struct speech *heard;

    if (state == BPF_TCP_FIN_WAIT1 || state == BPF_TCP_LAST_ACK)
        connection->fin_sent = true; /* it will have a sequence number */
    if (state == BPF_TCP_FIN_WAIT1)
        on_half_closed(sk, connection);
    if (state != BPF_TCP_CLOSE)
        return;
    if (connection->steered && ctx->bytes_acked <= 1) {
        drop_record(ctx, &connection->origin);
        if (connection->held)
            tell_gone(connection);
    }
    leave(connection);
    if (connection->bypassed)
        has_ended(&connection->origin);
    count_connection(connection, tcp);
    connection->error = BPF_CORE_READ(sock, sk_err);
    connection->closed = true;
    /* a subflow of MPTCP's: the program holds another socket, whose release says nothing of it; or
     * it came, and nobody took it */
    if (connection->told &&
        (BPF_CORE_READ_BITFIELD_PROBED(sock, sk_kern_sock) || !BPF_CORE_READ(sock, sk_socket))) {
        connection->told = false;
        heard = bpf_sk_storage_get(&speeches, sk, NULL, 0);
        tell_connection(ABI_SOCKET_CLOSE, connection, heard, fin_came(tcp, heard));
    }
}

/* ---- the kernel route ---- */

static __always_inline void end_soon(struct bpf_sock_ops *ctx, int ms)
{
    bpf_setsockopt(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* Nobody would see what it says. Where that is not to be, nothing of it leaves (sockets.bpf.c), and
 * it ends soon. With rules about what is said, that is nowhere: it is the program's socket that has
 * no room for us, while the agent may well be there. */
static __always_inline void give_up(struct bpf_sock_ops *ctx, struct connection *connection)
{
    const struct abi_pod *pod = bpf_map_lookup_elem(&pods, &connection->origin.pod);

    count_route(ABI_ROUTE_UNHEARD, 1);
    if (connection->accepted ||
        (pod && pod->flags & ABI_POD_OPEN && !is_to_be_heard(&connection->origin)))
        return;
    connection->unheard = true;
    tell_denied(&connection->origin, IPPROTO_TCP, EPERM, ABI_SOCKET_UNSEEN);
    end_soon(ctx, 1000);
    end_held(&connection->origin);
}

/* Out of a sockhash's reach from the beginning: what it said with its SYN was TLS. */
static __always_inline bool has_left(const struct speech *speech)
{
    return route_can() & ABI_ROUTE_LEAVE && speech->sides[ABI_TX].spell.mode == SPELL_TLS;
}

/* Puts it into the sockhash. A connection that began while programs of another version had its pod,
 * too, is in theirs: it is read as it leaves (packets.bpf.c), unless the kernel can encrypt it
 * there (which it cannot where sockets leave, for that). False: nobody would see what it says. */
static __always_inline bool find_room(struct bpf_sock_ops *ctx, struct connection *connection)
{
    __u64 cookie = connection->origin.cookie;
    long code = bpf_sock_hash_update(ctx, &enrolled, &cookie, BPF_ANY);
    __u32 can = route_can();

    connection->enrolled = code == 0;
    return code == 0 || (code == -EBUSY && can & ABI_ROUTE_OLDER &&
                         (can & ABI_ROUTE_LEAVE || !(can & ABI_ROUTE_KTLS)));
}

/* What it says will be seen by send.bpf.c and packets.bpf.c. */
static __always_inline void enrol(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                  struct connection *connection)
{
    struct speech *speech = bpf_sk_storage_get(&speeches, sk, NULL, 0);

    if (!speech)
        speech = begin_speech(sk, connection);
    if (!speech) {
        give_up(ctx, connection);
        return;
    }
    speech->sides[ABI_RX].next = connection->first_rx;
    speech->leaves = has_left(speech);
    if (!speech->leaves && !find_room(ctx, connection)) {
        give_up(ctx, connection);
        return;
    }
    count_route(ABI_ROUTE_ENROLLED, connection->enrolled);
    if (route_can() & ABI_ROUTE_LEAVE)
        call_for(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG, 0);
}

/* Nothing was said, or a tunnel was asked for. */
static __always_inline bool may_come_to_leave(const struct spell *spell)
{
    return spell->mode == SPELL_FIRST || spell->mode == SPELL_SETTLING;
}

/* We are inside a send, for whose packet the kernel asks whether there are options to add: after
 * send.bpf.c saw its bytes, and before the program's next call. That may be the one that hands over
 * keys, which the kernel refuses to a socket in a sockhash: so who begins with TLS, at last, leaves
 * now. Afterwards, what packets.bpf.c lets not leave is tried again and again: it ends with the
 * next time. */
static __always_inline void on_packet(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
    struct connection *connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
    struct speech *speech = bpf_sk_storage_get(&speeches, sk, NULL, 0);

    if (speech && speech->leaves)
        leave(connection);
    if (speech && (speech->sides[ABI_TX].refusal || speech->sides[LEAVING].refusal))
        end_soon(ctx, 1);
    else if (speech && !speech->sides[ABI_TX].keyed &&
             (speech->leaves || may_come_to_leave(&speech->sides[ABI_TX].spell)))
        return; /* there is more to come */
    call_for(ctx, 0, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* It sends again what was not acknowledged, or not let out: it is not to go on with that for
 * minutes, should nobody else end it (ending.h). */
static __always_inline void on_time_out(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                        const struct connection *connection)
{
    const struct speech *speech = bpf_sk_storage_get(&speeches, sk, NULL, 0);

    if (connection->unheard || (speech && speech->sides[LEAVING].refusal))
        end_soon(ctx, 1);
}

static __always_inline void on_established(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                           struct connection *connection,
                                           const struct tcp_sock *tcp)
{
    connection->first_rx = BPF_CORE_READ(tcp, copied_seq);
    connection->established = true;
    if (connection->bypassed)
        enrol(ctx, sk, connection);
}

/* Nobody runs here: whose listener it was is in the socket. */
static __always_inline bool find_taker(struct bpf_sock_ops *ctx, const struct tcp_sock *tcp,
                                       struct abi_origin *origin, struct ip *source)
{
    struct cgroup *own = BPF_CORE_READ((const struct sock *)tcp, sk_cgrp_data.cgroup);
    const struct abi_pod *pod;
    struct ip peer;

    origin->pod = pod_of_cgroup(own);
    pod = origin->pod ? bpf_map_lookup_elem(&pods, &origin->pod) : NULL;
    if (!pod || !(pod->flags & ABI_POD_KERNEL) ||
        !port_is_looked_into(pod, origin->pod, WORD(ctx->local_port)))
        return false;
    read_addresses(ctx, source, &peer);
    if (ip_is_loopback(&peer) && !(pod->flags & ABI_POD_LOOPBACK))
        return false;
    ip_store(origin->ip, &peer);
    origin->port = bpf_ntohl(WORD(ctx->remote_port));
    origin->family = WORD(ctx->family);
    origin->cookie = bpf_get_socket_cookie(ctx);
    origin->cgroup = BPF_CORE_READ(own, kn, id);
    origin->netns_cookie = bpf_get_netns_cookie(ctx);
    origin->time_ns = bpf_ktime_get_ns();
    return true;
}

/* A pod's server has a connection, which is heard, too, where all of the pod's are. */
static __always_inline void on_accept(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                      const struct tcp_sock *tcp)
{
    struct abi_origin origin = {};
    struct connection *connection;
    struct ip source;

    connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
    if (connection && connection->told && !connection->accepted) { /* both ends called at once */
        on_established(ctx, sk, connection, tcp);
        return;
    }
    if (!(route_can() & ABI_ROUTE_PLAIN) || !find_taker(ctx, tcp, &origin, &source))
        return;
    connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!connection)
        return;
    connection->origin = origin;
    ip_store(connection->src, &source);
    connection->src_port = WORD(ctx->local_port);
    connection->first_tx = BPF_CORE_READ(tcp, write_seq) - 1;
    connection->first_rx = BPF_CORE_READ(tcp, copied_seq);
    connection->established = connection->told = connection->bypassed = true;
    connection->accepted = true;
    tell_connection(ABI_SOCKET_ACCEPT, connection, NULL, false);
    call_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG, 0);
    enrol(ctx, sk, connection);
}

/* What is not about a connection from its connect() on. */
static __always_inline bool is_of_route(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
                                        const struct tcp_sock *tcp, __u32 op)
{
    switch (op) {
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        on_accept(ctx, sk, tcp);
        return true;
    case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
        on_packet(ctx, sk);
        return true;
    }
    return false;
}

SEC("sockops")
int follow_connection(struct bpf_sock_ops *ctx)
{
    __u32 op = WORD(ctx->op);
    struct bpf_sock *sk = SOCK(ctx);
    struct connection *connection;
    const struct tcp_sock *tcp;

    if (!sk)
        return ALLOW;
    tcp = bpf_skc_to_tcp_sock(sk);
    if (!tcp || is_of_route(ctx, sk, tcp, op))
        return ALLOW;
    if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
        op != BPF_SOCK_OPS_STATE_CB && op != BPF_SOCK_OPS_RTO_CB)
        return ALLOW;
    connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
    if (!connection)
        return ALLOW; /* no pod's */
    if (op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
        on_connect(ctx, sk, connection, tcp);
    } else if (op == BPF_SOCK_OPS_STATE_CB) {
        on_state(ctx, sk, connection, tcp);
    } else if (op == BPF_SOCK_OPS_RTO_CB) {
        on_time_out(ctx, sk, connection);
    } else {
        on_established(ctx, sk, connection, tcp);
    }
    return ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
