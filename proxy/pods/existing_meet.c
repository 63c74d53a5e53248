/* What becomes of a connection that nobody told the agent of. */
#include "proxy/pods/existing_own.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets_older.h"

static bool is_loopback(const struct addr *addr)
{
    static const uint8_t loopback6[16] = {[15] = 1};

    return addr_is_v4(addr) ? addr->ip[12] == 127 : memcmp(addr->ip, loopback6, 16) == 0;
}

/* To a listener of ours; an agent before us has turned it there. */
static bool comes_to_us(const struct scan *scan, const struct diag_socket *socket)
{
    const struct keeper_net *net =
        keeper_net_find(scan->existing->parts.keeper, scan->nets[scan->net_at]);

    return net && socket->dst.port == keeper_net_listeners(net)->stream.port &&
           (is_loopback(&socket->dst) ||
            memcmp(socket->dst.ip, socket->src.ip, sizeof(socket->dst.ip)) == 0);
}

/* Somebody else connected to the pod. */
static bool is_incoming(const struct scan *scan, const struct diag_socket *socket)
{
    return !socket->begun_here && scan->listening[socket->src.port / 8] >> socket->src.port % 8 & 1;
}

/* A connect was seen on it. */
static bool is_noted(const struct existing *existing, int fd)
{
    return bpf_map_lookup_elem(existing->noted_fd, &fd, existing->noted) == 0;
}

/* The kernel tells its end, by this. */
static bool have_its_end_told(const struct scan *scan, const struct diag_socket *socket,
                              const struct process *process, int fd)
{
    struct abi_socket record = {
        .kind = ABI_SOCKET_CLOSE,
        .pid = process ? process->pid : 0,
        .start_ns = process ? process->start_ns : 0,
        .pod = scan->pod->cgroup_id,
        .netns_cookie = scan->nets[scan->net_at],
        .cookie = socket->cookie,
        .src_port = socket->src.port,
        .dst_port = socket->dst.port,
        .protocol = IPPROTO_TCP,
        .tx = socket->tx,
        .rx = socket->rx,
    };

    memcpy(record.src, socket->src.ip, sizeof(record.src));
    memcpy(record.dst, socket->dst.ip, sizeof(record.dst));
    return bpf_map_update_elem(scan->existing->older_fd, &fd, &record, BPF_ANY) == 0;
}

static void reset(const struct scan *scan, const struct diag_socket *socket, int fd)
{
    struct existing *existing = scan->existing;
    int code = diag_end(scan->diag_fd, socket);

    if (code == 0 || code == -ENOENT)
        return;
    if (!existing->told_no_end)
        log_info("the kernel does not end connections for us (CONFIG_INET_DIAG_DESTROY): %s; "
                 "they are ended as their programs could",
                 strerror(-code));
    existing->told_no_end = true;
    code = fd < 0 ? code : held_reset(fd);
    if (code < 0)
        log_warn("pod %s: a connection that is older than its registration cannot be reset: %s",
                 scan->pod->name, strerror(-code));
}

static struct sockets_older older_of(const struct scan *scan, const struct diag_socket *socket,
                                     const struct held *holder)
{
    struct identity *identity = scan->existing->parts.identity;

    return (struct sockets_older){
        .src = socket->src,
        .dst = socket->dst,
        .cookie = socket->cookie,
        .tx = socket->tx,
        .rx = socket->rx,
        .tls = socket->tls_version,
        .visibility = VISIBILITY_PRE_EXISTING,
        .process =
            holder ? identity_flow_begin(identity, (uint32_t)holder->pid, 0, scan->pod->cgroup_id)
                   : NULL,
        .pod = scan->pod,
    };
}

/* What its policies say of it. The verdict is empty where they say nothing that is told. */
static enum policy_existing judge(const struct scan *scan, const struct diag_socket *socket,
                                  const struct policy_scope *scope, struct policy_verdict *verdict)
{
    const struct policy *policy;
    enum policy_existing said = policy_scope_existing(scope, &policy);

    *verdict = (struct policy_verdict){0};
    if (said != POLICY_EXISTING_RESET ||
        (is_loopback(&socket->dst) &&
         !pods_loopback(scan->existing->parts.pods, scan->pod->cgroup_id)))
        return said == POLICY_EXISTING_LEAVE ? said : POLICY_EXISTING_REPORT;
    *verdict = (struct policy_verdict){
        .verdict = policy->mode == POLICY_MONITOR ? VERDICT_ALERT : VERDICT_DENY,
        .mode = policy->mode,
        .action = POLICY_RESET,
        .policy = policy,
        .place = &policy->place,
        .reason = "it was connected before its pod was registered",
    };
    return verdict->verdict == VERDICT_DENY ? POLICY_EXISTING_RESET : POLICY_EXISTING_REPORT;
}

/* What a policy's word is, and what the agent tells of it. */
static void meet(const struct scan *scan, const struct diag_socket *socket,
                 const struct held *holder, int fd, bool again)
{
    const struct existing_parts *parts = &scan->existing->parts;
    CLEANUP(policy_view_unref)
    struct policy_view *view = policies_view(parts->policies, scan->pod->cgroup_id);
    CLEANUP(policy_scope_free) struct policy_scope *scope = NULL;
    struct policy_verdict verdict;
    struct sockets_older older = older_of(scan, socket, holder);
    enum policy_existing said;

    if (view && !policy_view_is_empty(view))
        scope = policy_scope_new(view, older.process);
    said = judge(scan, socket, scope, &verdict);
    if (said == POLICY_EXISTING_LEAVE) {
        if (older.process)
            identity_flow_end(parts->identity, &older.process);
        return;
    }
    older.unheard = fd < 0 || !have_its_end_told(scan, socket, older.process, fd);
    older.reset = said == POLICY_EXISTING_RESET;
    older.verdict = verdict.policy && (older.reset || !again) ? &verdict : NULL;
    sockets_meet(parts->sockets, &older);
    if (older.reset)
        reset(scan, socket, fd);
}

/* An agent before us has told of it, and the kernel will tell its end: what we looked into has
 * ended with that agent, what is read in the kernel goes on by itself. */
static void follow_again(const struct scan *scan, const struct diag_socket *socket,
                         const struct held *holder, int fd)
{
    const struct existing *existing = scan->existing;
    struct sockets_older older;
    struct abi_socket noted;
    bool is_older = bpf_map_lookup_elem(existing->older_fd, &fd, &noted) == 0;
    uint64_t enrolled;

    if (!is_older && (!is_noted(existing, fd) ||
                      bpf_map_lookup_elem(existing->enrolled_fd, &socket->cookie, &enrolled) == 0))
        return;
    older = older_of(scan, socket, holder);
    older.untold = true;
    if (!is_older)
        older.visibility = VISIBILITY_UNKNOWN;
    sockets_meet(existing->parts.sockets, &older);
}

void existing_meet(const struct scan *scan, const struct diag_socket *socket)
{
    const struct held *holder = held_find(&scan->held, socket->inode);
    enum sockets_known known = sockets_know(scan->existing->parts.sockets, socket->cookie);
    CLEANUP(fd_close) int fd = -1;

    if (known == SOCKETS_KNOWN || is_incoming(scan, socket) || comes_to_us(scan, socket))
        return;
    if (holder)
        fd = held_take(holder, socket->cookie);
    if (fd == -ESTALE)
        return; /* closed meanwhile */
    if (scan->again && fd >= 0 && known == SOCKETS_NEW)
        follow_again(scan, socket, holder, fd);
    else if (!scan->again && (fd < 0 || !is_noted(scan->existing, fd)))
        meet(scan, socket, holder, fd, known == SOCKETS_MET);
}
