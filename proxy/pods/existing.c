#include "proxy/pods/existing_own.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proxy/keeper/keeper.h"
#include "proxy/kernel/ring.h"
#include "proxy/pods/cgroups.h"
#include "proxy/pods/pods.h"
#include "sallyport.skel.h"

enum {
    FILES_A_TURN = 256,
    MEETINGS_A_TURN = 32,
    REPLY_MAX = 32768, /* as large as the kernel ever makes a dump's datagram */
    CGROUPS_MAX = 4096,
    FOUND_MAX = 1 << 17,
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
    if (net && scan->nets_len < EXISTING_NETS_MAX)
        scan->nets[scan->nets_len++] = net;
    else
        scan->failed |= scan->nets_len == EXISTING_NETS_MAX;
}

static bool is_in(const struct scan *scan, uint64_t cgroup)
{
    for (size_t i = 0; cgroup && i < scan->cgroups_len; i++)
        if (scan->cgroups[i] == cgroup)
            return true;
    return false;
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
        existing_meet(scan, &scan->found[scan->found_at++]);
    if (*scan->existing->parts.ring)
        ring_drain(*scan->existing->parts.ring); /* what was adopted is on its way to its worker */
    if (scan->found_at == scan->found_len)
        leave_net(scan);
    return 0;
}

/* False: it is over. */
static bool step_scan(struct scan *scan)
{
    int code;

    if (atomic_load(&scan->pod->removed_ns))
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

static void release_ring(struct existing *existing)
{
    for (const struct scan *scan = existing->first; scan; scan = scan->next)
        if (scan->again)
            return;
    if (existing->restored && *existing->parts.ring)
        ring_release(*existing->parts.ring);
}

void existing_restored(struct existing *existing)
{
    existing->restored = true;
    release_ring(existing);
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
        if (scan->again)
            release_ring(existing);
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

static void open_maps(struct existing *existing, const struct sallyport_bpf *bpf)
{
    existing->maps.connections = bpf_map__fd(bpf->maps.connections);
    existing->maps.speeches = bpf_map__fd(bpf->maps.speeches);
    existing->maps.older = bpf_map__fd(bpf->maps.older);
    existing->maps.enrolled = bpf_map__fd(bpf->maps.enrolled);
    existing->maps.route = bpf_map__fd(bpf->maps.route);
    existing->maps.connection = malloc(bpf_map__value_size(bpf->maps.connections));
    existing->maps.speech = malloc(bpf_map__value_size(bpf->maps.speeches));
}

int existing_new(struct existing **out, const struct existing_parts *parts, struct err *err)
{
    CLEANUP(existing_free) struct existing *existing = calloc(1, sizeof(*existing));

    if (!existing)
        return err_set(err, -ENOMEM, "connections older than their pods");
    existing->parts = *parts;
    existing->last = &existing->first;
    open_maps(existing, keeper_bpf(parts->keeper));
    existing->step_due = evtimer_new(parts->base, on_step, existing);
    if (!existing->maps.connection || !existing->maps.speech || !existing->step_due)
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
    free(gone->maps.connection);
    free(gone->maps.speech);
    free(gone);
}
