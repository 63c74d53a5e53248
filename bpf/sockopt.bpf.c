/* sockopt: a pod's program hands its keys to the kernel, which encrypts from then on: it is told
 * which program does, and that what follows on this connection is plain text.
 *
 * This runs before the kernel looks at the keys, so it is an attempt: of a socket it may refuse
 * them, and the program goes on by itself, as OpenSSL does without a word. Of struct
 * tls_crypto_info, version and cipher are read; the keys lie behind them.
 *
 * Attached to pods, one by one, and not to the cgroup that all others are attached to:
 * proxy/kernel/options.h. */
#include <linux/bpf.h>
#include <linux/tcp.h>
#include <linux/tls.h>

#include "bpf/bypass.h"
#include "bpf/encrypted.h"
#include "bpf/keyed.h"
#include "bpf/pod.h"
#include "bpf/socket.h"

enum { SOL_TLS = 282 }; /* <sys/socket.h> needs a libc for the target */

static __always_inline void tell_keys(struct bpf_sockopt *ctx, const struct tls_crypto_info *info,
                                      __u64 pod, __u64 cookie, enum abi_direction direction,
                                      bool unread)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct abi_ktls *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
    struct abi_program program = program_of_current(pod);

    if (!record) {
        count_lost();
        return;
    }
    __builtin_memset(record, 0, sizeof(*record));
    record->kind = ABI_KTLS;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
    record->pod = pod;
    record->cookie = cookie;
    record->netns_cookie = bpf_get_netns_cookie(ctx);
    record->time_ns = bpf_ktime_get_boot_ns();
    record->inode = program.inode;
    record->device = program.device;
    record->version = info->version;
    record->cipher = info->cipher_type;
    record->direction = direction;
    record->unread = unread;
    bpf_ringbuf_submit(record, 0);
}

struct bpf_sockopt_kern {
    struct tcp_sock *sk;
} __attribute__((preserve_access_index));

/* Up to where the program has sent by itself. */
static __always_inline __u32 written(struct bpf_sockopt *ctx)
{
    const struct bpf_sockopt_kern *kernels = (const void *)ctx;

    return BPF_CORE_READ(kernels, sk, write_seq);
}

static __always_inline const struct sock *sock_of(struct bpf_sockopt *ctx)
{
    const struct bpf_sockopt_kern *kernels = (const void *)ctx;

    return (const void *)BPF_CORE_READ(kernels, sk);
}

/* Another thread is in the midst of a send, which waits for room: what is still to come of that
 * would lie among what the kernel encrypts, and nobody read it. It takes no keys meanwhile. */
static __always_inline bool is_amid_send(struct bpf_sockopt *ctx)
{
    return ctx->optname == TLS_TX && BPF_CORE_READ(sock_of(ctx), sk_write_pending) &&
           bpf_sk_storage_get(&speeches, ctx->sk, NULL, 0);
}

/* A connection of the kernel route; what it says begins anew in this direction. False: nobody can
 * follow it there, so packets.bpf.c goes on with what there is to see, records. */
static __always_inline bool key_speech(struct speech *speech, enum abi_direction direction)
{
    struct speech *found;

    if (!(route_can() & ABI_ROUTE_KTLS))
        return false;
    bpf_map_update_elem(&keyed, &speech->origin.cookie, speech, BPF_NOEXIST);
    found = bpf_map_lookup_elem(&keyed, &speech->origin.cookie);
    if (!found) {
        count_route(ABI_ROUTE_UNHEARD, 1);
        return false;
    }
    __builtin_memset(&found->sides[direction], 0, SPEECH_STATE);
    found->sides[direction].keyed = true;
    speech->sides[direction].keying = true;
    return true;
}

/* Of this connection before; or there is no room to note it. */
static __always_inline bool was_told(struct bpf_sock *sk, struct speech *speech,
                                     enum abi_direction direction)
{
    struct keys *noted;
    bool was;

    if (speech) { /* which asks for no room that its program could have taken up */
        was = speech->told[direction];
        speech->told[direction] = true;
        return was;
    }
    noted = bpf_sk_storage_get(&keys, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!noted)
        return true;
    was = noted->told[direction];
    noted->told[direction] = true;
    return was;
}

static __always_inline void note_keys(struct bpf_sockopt *ctx, const struct tls_crypto_info *info,
                                      __u64 pod)
{
    struct bpf_sock *sk = ctx->sk;
    enum abi_direction direction = ctx->optname == TLS_TX ? ABI_TX : ABI_RX;
    const struct connection *connection;
    struct speech *speech;
    bool unread = false;
    __u64 cookie = 0;

    speech = bpf_sk_storage_get(&speeches, sk, NULL, 0);
    if (speech && direction == ABI_TX && !is_encrypted(sock_of(ctx)))
        speech->keyed_from = written(ctx); /* the attempts before may have failed */
    if (was_told(sk, speech, direction))
        return;
    connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
    if (connection)
        cookie = connection->origin.cookie;
    if (speech) {
        cookie = speech->origin.cookie;
        unread = !key_speech(speech, direction);
    }
    tell_keys(ctx, info, pod, cookie, direction, unread);
}

/* A server that lets the kernel wait for the first bytes (nginx's `deferred`, Apache as it comes):
 * those come before there is a connection that they could be told of. So it has it without that.
 * (So do those that a client sends with its SYN, or with the ACK behind it: they are not heard.) */
static __always_inline void take_at_once(struct bpf_sockopt *ctx)
{
    const struct abi_pod *pod;
    int *seconds = ctx->optval; /* how long it waits */
    __u64 id;

    if ((void *)(seconds + 1) > ctx->optval_end || !(route_can() & ABI_ROUTE_PLAIN))
        return;
    pod = pod_of_current(&id);
    if (pod && pod->flags & ABI_POD_KERNEL)
        *seconds = 0;
}

SEC("cgroup/setsockopt")
int follow_options(struct bpf_sockopt *ctx)
{
    const struct tls_crypto_info *info = ctx->optval;
    __s32 optname = ctx->optname;
    const void *end = ctx->optval_end;
    __u64 pod;

    if (ctx->optlen > end - (void *)info)
        ctx->optlen = 0; /* longer than what we are shown: the kernel is to take the program's */
    if (ctx->level == SOL_TLS && (optname == TLS_TX || optname == TLS_RX) &&
        (void *)(info + 1) <= end && ctx->sk && pod_of_current(&pod)) {
        if (is_amid_send(ctx))
            return REFUSE;
        note_keys(ctx, info, pod);
    }
    if (ctx->level == IPPROTO_TCP && optname == TCP_DEFER_ACCEPT)
        take_at_once(ctx);
    return ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
