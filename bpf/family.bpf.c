/* family: sockets of families that carry nothing a rule could be about, and something to other
 * hosts: where rules judge a pod, its programs are given none.
 *
 * cgroup/sock_create (connect.bpf.c) is run for AF_INET and AF_INET6 alone, so this stands at the
 * hook of LSMs, for those below the agent's cgroup. It is loaded where that can be
 * (proxy/keeper/hooks.c); else such sockets are not seen. */
#include <linux/bpf.h>

#include <bpf/bpf_tracing.h>

#include "bpf/judge.h"

/* <sys/socket.h> needs a libc for the target. */
enum {
    AF_UNIX = 1,
    AF_KEY = 15,
    AF_NETLINK = 16,
    AF_PACKET = 17,
    AF_CAN = 29,
    AF_ALG = 38,
    AF_VSOCK = 40,
    AF_KCM = 41,
    AF_SMC = 43,
    AF_XDP = 44,
};

/* This host's own, or its hypervisor's; what speaks by TCP below, and is judged there; and what
 * takes CAP_NET_RAW, by which a program could undo more than this. */
static __always_inline bool is_let_be(int family)
{
    switch (family) {
    case AF_UNIX:
    case AF_INET:
    case AF_INET6:
    case AF_KEY:
    case AF_NETLINK:
    case AF_PACKET:
    case AF_CAN:
    case AF_ALG:
    case AF_VSOCK:
    case AF_KCM:
    case AF_SMC:
    case AF_XDP:
        return true;
    default:
        return false;
    }
}

SEC("?lsm_cgroup/socket_create")
int BPF_PROG(refuse_family, int family, int type, int protocol, int kern)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct abi_origin origin = {};
    const struct abi_pod *pod;
    __u32 verdict;

    if (kern || is_let_be(family))
        return ALLOW;
    pod = pod_of_current(&origin.pod);
    if (!pod || !pod->rules)
        return ALLOW;
    fill_asker(&origin);
    origin.netns_cookie = BPF_CORE_READ(task, nsproxy, net_ns, net_cookie);
    verdict = judge(pod->rules, &origin, ABI_ANY_PROTOCOL);
    if (!verdict)
        return ALLOW;
    tell_kind(&origin, type, ABI_OTHER_FAMILY, verdict);
    return verdict & ABI_VERDICT_TELL ? ALLOW : REFUSE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
