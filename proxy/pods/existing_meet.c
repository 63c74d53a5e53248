/* What becomes of a connection that nobody told the agent of. */
#include "proxy/pods/existing_own.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/kernel/ring.h"
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
        .route = ROUTE_DIRECT,
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

/* Its end is told by the kernel, as far as that can be. Says how it goes on. */
static void note_on_socket(const struct scan *scan, const struct diag_socket *socket,
                           const struct policy_scope *scope, struct sockets_older *older,
                           struct abi_socket *note, int fd)
{
    if (fd >= 0 && !older->reset && existing_hear(scan, socket, scope, note, fd))
        older->route = ROUTE_KERNEL;
    else
        older->unheard = fd < 0 || !existing_put(scan->existing, fd, note);
}

/* As its policies say. again: it was met before. */
static void meet(const struct scan *scan, const struct diag_socket *socket,
                 const struct held *holder, int fd, bool again)
{
    const struct existing_parts *parts = &scan->existing->parts;
    CLEANUP(policy_view_unref)
    struct policy_view *view = policies_view(parts->policies, scan->pod->cgroup_id);
    CLEANUP(policy_scope_free) struct policy_scope *scope = NULL;
    struct policy_verdict verdict;
    struct sockets_older older = older_of(scan, socket, holder);
    struct abi_socket note = existing_note(scan, socket, older.process);
    enum policy_existing said;

    if (view && !policy_view_is_empty(view))
        scope = policy_scope_new(view, older.process);
    said = judge(scan, socket, scope, &verdict);
    if (said == POLICY_EXISTING_LEAVE) {
        if (older.process)
            identity_flow_end(parts->identity, &older.process);
        return;
    }
    older.reset = said == POLICY_EXISTING_RESET;
    older.verdict = verdict.policy && (older.reset || !again) ? &verdict : NULL;
    if (!again)
        note_on_socket(scan, socket, scope, &older, &note, fd);
    sockets_meet(parts->sockets, &older);
    if (older.reset)
        reset(scan, socket, fd);
    if (older.route == ROUTE_KERNEL)
        ring_adopt(*parts->ring, &note);
}

/* What an agent before us had the kernel programs listen to is heard here from now on. */
static void hear_again(const struct scan *scan, const struct diag_socket *socket, int fd,
                       bool incoming)
{
    struct ring *ring = *scan->existing->parts.ring;
    struct abi_socket note = existing_note(scan, socket, NULL);

    if (!ring || !existing_is_heard(scan->existing, fd))
        return;
    note.time_ns = existing_began_ns(scan->existing, fd);
    if (incoming)
        note.kind = ABI_SOCKET_ACCEPT;
    ring_adopt(ring, &note);
}

/* An agent before us has told of it, and the kernel will tell its end: what that one looked into
 * has ended with it. */
static void follow_again(const struct scan *scan, const struct diag_socket *socket,
                         const struct held *holder, int fd)
{
    const struct existing *existing = scan->existing;
    bool is_heard = *existing->parts.ring && existing_is_heard(existing, fd);
    struct sockets_older older;
    struct abi_socket note;
    bool is_older = existing_get(existing, fd, &note);

    if (!is_older && !existing_was_seen(existing, fd))
        return;
    older = older_of(scan, socket, holder);
    older.untold = true;
    older.began_ns = existing_began_ns(existing, fd);
    if (!is_older)
        older.visibility = VISIBILITY_UNKNOWN;
    if (is_heard)
        older.route = ROUTE_KERNEL;
    sockets_meet(existing->parts.sockets, &older);
}

static void meet_again(const struct scan *scan, const struct diag_socket *socket,
                       const struct held *holder, int fd, enum sockets_known known)
{
    bool incoming = is_incoming(scan, socket), is_heard = existing_is_heard(scan->existing, fd);

    if (*scan->existing->parts.ring && is_heard && !existing_hear_again(scan->existing, socket, fd))
        log_warn("pod %s: a connection that was read when it said something is read, if at all, as "
                 "that leaves: it could not be taken over from the agent before",
                 scan->pod->name);
    if (known == SOCKETS_NEW && !incoming)
        follow_again(scan, socket, holder, fd);
    hear_again(scan, socket, fd, incoming);
}

void existing_meet(const struct scan *scan, const struct diag_socket *socket)
{
    const struct held *holder = held_find(&scan->held, socket->inode);
    enum sockets_known known = sockets_know(scan->existing->parts.sockets, socket->cookie);
    CLEANUP(fd_close) int fd = -1;

    if (comes_to_us(scan, socket) ||
        (!scan->again && (known == SOCKETS_KNOWN || is_incoming(scan, socket))))
        return;
    if (holder)
        fd = held_take(holder, socket->cookie);
    if (fd == -ESTALE)
        return; /* closed meanwhile */
    if (scan->again && fd >= 0)
        meet_again(scan, socket, holder, fd, known);
    else if (!scan->again && (fd < 0 || !existing_was_seen(scan->existing, fd)))
        meet(scan, socket, holder, fd, known == SOCKETS_MET);
}
