/* adopt: connections that are older than their pod's registration, in plain text: the agent has put
 * them into `enrolled` (proxy/pods/existing_heard.c), and with the first that is sent from then on
 * what they say is heard. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

#include "bpf/kernel.h"
#include "bpf/maps.h"
#include "bpf/speech.h"

/* Its speech, as if it began now; NULL: it is none of those, or there is no memory. */
static __always_inline struct speech *adopt(struct bpf_sock *sk)
{
    const struct abi_socket *noted = bpf_sk_storage_get(&older, sk, NULL, 0);
    const struct tcp_sock *tcp = noted ? bpf_skc_to_tcp_sock(sk) : NULL;
    struct speech *speech;

    if (!noted || !tcp || !(noted->flags & ABI_SOCKET_KERNEL))
        return NULL;
    speech = bpf_sk_storage_get(&speeches, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!speech)
        return NULL;
    speech->origin.pod = noted->pod;
    speech->origin.cgroup = noted->cgroup;
    speech->origin.cookie = noted->cookie;
    speech->origin.netns_cookie = noted->netns_cookie;
    speech->origin.pid = noted->pid;
    speech->origin.start_ns = noted->start_ns;
    speech->origin.time_ns = noted->time_ns + bpf_ktime_get_ns() - bpf_ktime_get_boot_ns();
    speech->origin.port = noted->dst_port;
    __builtin_memcpy(speech->origin.ip, noted->dst, sizeof(noted->dst));
    speech->sides[ABI_TX].next = BPF_CORE_READ(tcp, write_seq);
    speech->sides[ABI_RX].next = BPF_CORE_READ(tcp, rcv_nxt);
    speech->asks = true;
    return speech;
}
