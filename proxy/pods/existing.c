#include "proxy/pods/existing.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "proxy/enforce/policies.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/diag.h"
#include "proxy/keeper/keeper.h"
#include "proxy/pods/cgroups.h"
#include "proxy/pods/held.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets_older.h"
#include "sallyport.skel.h"

enum {
    FILES_A_TURN = 256,
    MEETINGS_A_TURN = 32,
    REPLY_MAX = 32768, /* as large as the kernel ever makes a dump's datagram */
    CGROUPS_MAX = 4096,
    NETS_MAX = 256,
    FOUND_MAX = 1 << 17,
    PORTS = 1 << 16,
};

/* One pod's. */
struct scan {
    struct scan *next;
    struct existing *existing;
    struct pod *pod; /* a reference */
    bool again;      /* its pod was an agent's before us */
    bool failed;     /* something of it could not be read; told once */
    struct held_list held;
    uint64_t *cgroups; /* it and those below that are its */
    size_t cgroups_len, cgroups_room;
    uint64_t nets[NETS_MAX]; /* where its processes are: cookies */
    size_t nets_len, net_at;
    /* of the namespace that is being read */
    int diag_fd;
    uint8_t family; /* whose answer is being read; 0: none, all have been */
    uint8_t listening[PORTS / 8];
    struct diag_socket *found; /* the pod's, as it seems */
    size_t found_len, found_room, found_at;
};

struct existing {
    struct existing_parts parts;
    int noted_fd, older_fd, enrolled_fd; /* the maps `connections`, `older` and `enrolled` */
    void *noted;                         /* room for what is in the first */
    struct event *step_due;
    struct scan *first, **last; /* the first is at work */
    bool told_no_end;
};

/* ---- what is the pod's ---- */

static void scan_free(struct scan **scan)
{
    struct scan *gone = TAKE(*scan);

    if (!gone)
        return;
    held_fini(&gone->held);
    fd_close(&gone->diag_fd);
    pod_unref(&gone->pod);
    free(gone->cgroups);
    free(gone->found);
    free(gone);
}

/* What lies below a cgroup that has a pod of its own is that one's. */
static bool is_anothers(void *arg, uint64_t id)
{
    const struct scan *scan = arg;

    return pods_find(scan->existing->parts.pods, id);
}

static void add_cgroup(void *arg, uint64_t id)
{
    struct scan *scan = arg;

    if (scan->cgroups_len == scan->cgroups_room) {
        size_t room = scan->cgroups_room ? 2 * scan->cgroups_room : 16;
        uint64_t *more =
            room > CGROUPS_MAX ? NULL : reallocarray(scan->cgroups, room, sizeof(*more));

        if (!more) {
            scan->failed = true;
            return;
        }
        scan->cgroups = more;
        scan->cgroups_room = room;
    }
    scan->cgroups[scan->cgroups_len++] = id;
}

/* A namespace we listen in; 0: it is none of them. */
static uint64_t find_net(struct existing *existing, pid_t pid)
{
    struct keeper_net *net = NULL;
    struct stat wanted, file;
    char path[32];

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    if (stat(path, &wanted) < 0)
        return 0;
    while ((net = keeper_net_next(existing->parts.keeper, net)))
        if (fstat(keeper_net_fd(net), &file) == 0 && file.st_ino == wanted.st_ino)
            return keeper_net_cookie(net);
    return 0;
}

static void add_process(void *arg, pid_t pid)
{
    struct scan *scan = arg;
    uint64_t net = find_net(scan->existing, pid);

    held_add_process(&scan->held, pid);
    for (size_t i = 0; i < scan->nets_len; i++)
        if (scan->nets[i] == net)
            return;
    if (net && scan->nets_len < NETS_MAX)
        scan->nets[scan->nets_len++] = net;
    else
        scan->failed |= scan->nets_len == NETS_MAX;
}

static bool is_in(const struct scan *scan, uint64_t cgroup)
{
    for (size_t i = 0; cgroup && i < scan->cgroups_len; i++)
        if (scan->cgroups[i] == cgroup)
            return true;
    return false;
}

/* ---- one connection ---- */

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

static void look_at(const struct scan *scan, const struct diag_socket *socket)
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

/* ---- one namespace ---- */

static void add_found(struct scan *scan, const struct diag_socket *socket)
{
    if (scan->found_len == scan->found_room) {
        size_t room = scan->found_room ? 2 * scan->found_room : 64;
        struct diag_socket *more =
            room > FOUND_MAX ? NULL : reallocarray(scan->found, room, sizeof(*more));

        if (!more) {
            scan->failed = true;
            return;
        }
        scan->found = more;
        scan->found_room = room;
    }
    scan->found[scan->found_len++] = *socket;
}

static void on_socket(void *arg, const struct diag_socket *socket)
{
    struct scan *scan = arg;

    if (socket->state == DIAG_LISTEN)
        scan->listening[socket->src.port / 8] |= (uint8_t)(1 << socket->src.port % 8);
    else if (socket->inode &&
             (held_find(&scan->held, socket->inode) || is_in(scan, socket->cgroup)))
        add_found(scan, socket);
}

static int ask(struct scan *scan, uint8_t family)
{
    struct diag_request request;

    diag_ask_all(&request, family);
    scan->family = family;
    return send(scan->diag_fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

static int enter_net(struct scan *scan)
{
    struct keeper *keeper = scan->existing->parts.keeper;
    struct keeper_net *net = keeper_net_find(keeper, scan->nets[scan->net_at]);

    if (!net)
        return -ENONET;
    scan->diag_fd = keeper_net_diag(keeper, net);
    return scan->diag_fd < 0 ? scan->diag_fd : ask(scan, AF_INET);
}

static void leave_net(struct scan *scan)
{
    fd_close(&scan->diag_fd);
    scan->family = 0;
    scan->found_len = scan->found_at = 0;
    memset(scan->listening, 0, sizeof(scan->listening));
    scan->net_at++;
}

/* One datagram of it. */
static int take_answer(struct scan *scan)
{
    uint8_t answer[REPLY_MAX];
    ssize_t n = recv(scan->diag_fd, answer, sizeof(answer), 0);
    struct err err;
    bool done;
    int code;

    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    code = diag_take(span_of(answer, (size_t)n), on_socket, scan, &done, &err);
    if (code < 0 || !done)
        return code;
    if (scan->family == AF_INET)
        return ask(scan, AF_INET6);
    scan->family = 0;
    return 0;
}

/* ---- a bit at a time ---- */

static int read_net(struct scan *scan)
{
    if (scan->diag_fd < 0)
        return enter_net(scan);
    if (scan->family)
        return take_answer(scan);
    for (int i = 0; i < MEETINGS_A_TURN && scan->found_at < scan->found_len; i++)
        look_at(scan, &scan->found[scan->found_at++]);
    if (scan->found_at == scan->found_len)
        leave_net(scan);
    return 0;
}

/* False: it is over. */
static bool step_scan(struct scan *scan)
{
    int code;

    if (atomic_load(&scan->pod->removed))
        return false;
    if (held_read(&scan->held, FILES_A_TURN))
        return true;
    if (scan->net_at == scan->nets_len)
        return false;
    code = read_net(scan);
    if (code < 0 && code != -ENONET) /* which is left by now */
        log_warn("pod %s: its connections that are older than its registration cannot be listed: "
                 "%s",
                 scan->pod->name, strerror(-code));
    if (code < 0)
        leave_net(scan);
    return true;
}

static void go_on(struct existing *existing)
{
    static const struct timeval now = {0};

    if (existing->first && !evtimer_pending(existing->step_due, NULL))
        event_add(existing->step_due, &now);
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
    struct existing *existing = arg;
    struct scan *scan = existing->first;

    (void)fd;
    (void)what;
    if (!step_scan(scan)) {
        if (scan->failed || scan->held.cut)
            log_warn("pod %s has more processes, or connections, than are looked at: some that "
                     "are older than its registration may go untold",
                     scan->pod->name);
        existing->first = scan->next;
        if (!existing->first)
            existing->last = &existing->first;
        scan_free(&scan);
    }
    go_on(existing);
}

void existing_look(struct existing *existing, struct pod *pod, int cgroup_fd, bool again)
{
    CLEANUP(scan_free) struct scan *scan = calloc(1, sizeof(*scan));

    if (!scan) {
        log_warn("pod %s: no memory to look for what it had connected before", pod->name);
        return;
    }
    scan->existing = existing;
    scan->pod = pod_ref(pod);
    scan->again = again;
    scan->diag_fd = -1;
    cgroup_each_process(cgroup_fd, is_anothers, add_process, scan);
    if (!scan->nets_len)
        return; /* nobody lives there yet */
    for (size_t i = 0; i < scan->held.pids_len; i++)
        if (scan->held.pids[i] == getpid())
            return; /* its connections upstream are none of the pod's */
    cgroup_each(cgroup_fd, is_anothers, add_cgroup, scan);
    *existing->last = scan;
    existing->last = &scan->next;
    TAKE(scan);
    go_on(existing);
}

int existing_new(struct existing **out, const struct existing_parts *parts, struct err *err)
{
    CLEANUP(existing_free) struct existing *existing = calloc(1, sizeof(*existing));
    const struct sallyport_bpf *bpf = keeper_bpf(parts->keeper);

    if (!existing)
        return err_set(err, -ENOMEM, "connections older than their pods");
    existing->parts = *parts;
    existing->last = &existing->first;
    existing->noted_fd = bpf_map__fd(bpf->maps.connections);
    existing->older_fd = bpf_map__fd(bpf->maps.older);
    existing->enrolled_fd = bpf_map__fd(bpf->maps.enrolled);
    existing->noted = malloc(bpf_map__value_size(bpf->maps.connections));
    existing->step_due = evtimer_new(parts->base, on_step, existing);
    if (!existing->noted || !existing->step_due)
        return err_set(err, -ENOMEM, "connections older than their pods");
    *out = TAKE(existing);
    return 0;
}

void existing_free(struct existing **existing)
{
    struct existing *gone = TAKE(*existing);

    if (!gone)
        return;
    while (gone->first) {
        struct scan *scan = gone->first;

        gone->first = scan->next;
        scan_free(&scan);
    }
    if (gone->step_due)
        event_free(gone->step_due);
    free(gone->noted);
    free(gone);
}
