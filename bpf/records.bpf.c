/* records: sends of TLS records of another type than data, noted for send.bpf.c (typed.h). */
#include <linux/bpf.h>

#include <bpf/bpf_tracing.h>

#include "bpf/keyed.h"
#include "bpf/ktls.h"
#include "bpf/typed.h"

SEC("?fentry/tls_sw_sendmsg")
int BPF_PROG(note_type, struct sock *sk, struct msghdr *msg)
{
    __u64 thread = bpf_get_current_pid_tgid();
    struct typed note = {.sk = (__u64)sk, .msg = (__u64)msg, .type = sent_type(msg)};
    __u64 cookie;
    struct speech *speech;

    if (note.type == DATA_RECORD) {
        if (bpf_map_lookup_elem(&typed, &thread)) /* its end was not seen */
            bpf_map_delete_elem(&typed, &thread);
        return 0;
    }
    cookie = bpf_get_socket_cookie(sk);
    speech = bpf_map_lookup_elem(&keyed, &cookie);
    note.size = BPF_CORE_READ(msg, msg_iter.count);
    /* what cannot be noted is not known for what it is: nothing within a body of it is, then */
    if (speech && bpf_map_update_elem(&typed, &thread, &note, BPF_ANY))
        speech->untyped = true;
    return 0;
}

SEC("?fexit/tls_sw_sendmsg")
int BPF_PROG(forget_type, struct sock *sk, struct msghdr *msg)
{
    __u64 thread = bpf_get_current_pid_tgid();

    if (sent_type(msg) != DATA_RECORD)
        bpf_map_delete_elem(&typed, &thread);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
