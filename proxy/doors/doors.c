#include "proxy/doors/doors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "proxy/doors/acceptor.h"
#include "proxy/doors/attempts.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/limits.h"
#include "proxy/doors/origin.h"
#include "proxy/pods/pods.h"
#include "proxy/dns/resolver.h"

enum { GUESTS_MAX = 256, LOOK_US = 200 * 1000 };

/* A namespace we listen in, with what the loop watches of it. Where no pod is registered we are a
 * guest: no longer there than the programs of pods that are found there. */
struct door {
    struct door *next;
    struct doors *doors;
    struct keeper_net *net;
    ino_t inode;              /* no other namespace's while keeper_net holds this one */
    unsigned pods;            /* registered with it; 0: we are a guest */
    bool counted;             /* among the open files that limits know of */
    bool inhabited, deserted; /* see look_for_deserted() */
    struct event *on_change;
};

struct doors {
    struct doors_parts parts;
    struct door *first;
    struct acceptor *acceptor;
    struct event *look_due;
    bool told_guests_max;
};

/* ---- accepting ---- */

static bool meet(void *arg, int fd, struct arrival *out)
{
    const struct doors *doors = arg;
    const struct doors_parts *parts = &doors->parts;
    struct origin *origin = &out->origin;

    /* no record: a stranger who dialled the listener itself. Nobody is told anything. */
    if (origin_take_kept(parts->keeper, fd, origin) < 0)
        return false;
    out->pod = pods_find(parts->pods, origin->pod);
    out->process = identity_flow_begin(parts->identity, origin->pid, origin->start_ns, origin->pod);
    out->upstream = attempts_take(parts->attempts, origin, out->pod);
    out->credentials = pods_credentials(parts->pods, origin->pod);
    return true;
}

/* ---- namespaces ---- */

static void on_change(evutil_socket_t fd, short what, void *arg)
{
    struct door *door = arg;
    struct err err;

    (void)fd;
    (void)what;
    if (keeper_net_refresh(door->doors->parts.keeper, door->net, &err) < 0)
        log_warn("%s", err.text);
}

static void door_free(struct door **door)
{
    struct door *gone = TAKE(*door);

    if (!gone)
        return;
    if (gone->on_change)
        event_free(gone->on_change);
    if (gone->net) {
        const struct listener *stream = &keeper_net_listeners(gone->net)->stream;

        acceptor_unwatch(gone->doors->acceptor, stream->v4);
        acceptor_unwatch(gone->doors->acceptor, stream->v6);
    }
    if (gone->net)
        resolver_unwatch(gone->doors->parts.resolver, gone->net);
    if (gone->net)
        keeper_net_remove(gone->doors->parts.keeper, &gone->net);
    if (gone->counted)
        limits_give(gone->doors->parts.limits, LIMIT_FILES, KEEPER_NET_FILES);
    free(gone);
}

static struct event *watch_changes(struct door *door)
{
    int fd = keeper_net_watch(door->net);
    struct event *event =
        fd < 0 ? NULL
               : event_new(door->doors->parts.base, fd, EV_READ | EV_PERSIST, on_change, door);

    if (event && event_add(event, NULL) == 0)
        return event;
    if (event)
        event_free(event);
    return NULL;
}

static int count_files(struct doors *doors, struct door *door, struct err *err)
{
    door->counted = limits_take(doors->parts.limits, LIMIT_FILES, KEEPER_NET_FILES);
    if (door->counted || !doors->first) /* the first has what limits set aside */
        return 0;
    return err_set(err, -EMFILE, "%s", limits_reason(LIMIT_FILES));
}

static int watch_door(struct door *door, struct err *err)
{
    struct doors *doors = door->doors;
    const struct listener *stream = &keeper_net_listeners(door->net)->stream;

    door->on_change = watch_changes(door);
    if (acceptor_watch(doors->acceptor, stream->v4, err) < 0 ||
        acceptor_watch(doors->acceptor, stream->v6, err) < 0)
        return err->code;
    return resolver_watch(doors->parts.resolver, door->net, err);
}

static struct door *find_inode(const struct doors *doors, ino_t inode)
{
    struct door *door = doors->first;

    while (door && door->inode != inode)
        door = door->next;
    return door;
}

static struct door *find_cookie(const struct doors *doors, uint64_t netns_cookie)
{
    struct door *door = doors->first;

    while (door && keeper_net_cookie(door->net) != netns_cookie)
        door = door->next;
    return door;
}

/* As a guest, at first. wanted_cookie as in keeper_net_add(). */
static int listen_in(struct doors *doors, struct door **out, int netns_fd, uint64_t wanted_cookie,
                     struct err *err)
{
    CLEANUP(door_free) struct door *door = NULL;
    struct stat file;
    int result;

    if (fstat(netns_fd, &file) < 0)
        return err_sys(err, -errno, "network namespace");
    *out = find_inode(doors, file.st_ino);
    if (*out)
        return !wanted_cookie || wanted_cookie == keeper_net_cookie((*out)->net) ? 0 : -ESTALE;
    door = calloc(1, sizeof(*door));
    if (!door)
        return err_set(err, -ENOMEM, "network namespace");
    door->doors = doors;
    door->inode = file.st_ino;
    result = count_files(doors, door, err);
    if (result == 0)
        result = keeper_net_add(doors->parts.keeper, &door->net, netns_fd, wanted_cookie, err);
    if (result == 0)
        result = watch_door(door, err);
    if (result < 0)
        return result;
    door->next = doors->first;
    doors->first = *out = TAKE(door);
    return 0;
}

/* ---- guests ---- */

static bool may_enter(struct doors *doors)
{
    unsigned guests = 0;

    for (const struct door *door = doors->first; door; door = door->next)
        guests += !door->pods;
    if (guests < GUESTS_MAX)
        return true;
    if (!doors->told_guests_max)
        log_warn("programs run in more than %d network namespaces of their own: connections "
                 "from further ones are refused",
                 GUESTS_MAX);
    doors->told_guests_max = true;
    return false;
}

static void enter(struct doors *doors, uint32_t pid, int netns, uint64_t wanted_cookie)
{
    struct door *door;
    struct err err;
    int result = listen_in(doors, &door, netns, wanted_cookie, &err);

    if (result < 0 && result != -ESTALE) /* gone, and another process has its pid */
        log_warn("process %u is in a network namespace that cannot be steered: %s", pid, err.text);
}

static int open_netns_of(uint32_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* A pod's program that starts in another namespace (ip netns exec, nsenter, unshare): we listen
 * there before it has loaded its libraries. If it is faster, its connect gets EPERM. */
void doors_on_exec(void *arg, uint32_t pid, uint64_t netns_cookie)
{
    struct doors *doors = arg;

    if (find_cookie(doors, netns_cookie) || !may_enter(doors))
        return;
    CLEANUP(fd_close) int netns = open_netns_of(pid);

    if (netns >= 0) /* else it is gone already */
        enter(doors, pid, netns, netns_cookie);
}

void doors_meet(struct doors *doors, uint32_t pid)
{
    CLEANUP(fd_close) int netns = open_netns_of(pid);
    struct stat file;

    if (netns >= 0 && fstat(netns, &file) == 0 && !find_inode(doors, file.st_ino) &&
        may_enter(doors))
        enter(doors, pid, netns, 0);
}

void doors_look_soon(struct doors *doors)
{
    static const struct timeval soon = {.tv_usec = LOOK_US};
    const struct door *door = doors->first;

    while (door && door->pods)
        door = door->next;
    if (door && !evtimer_pending(doors->look_due, NULL))
        event_add(doors->look_due, &soon);
}

static void mark_inhabited(void *arg, const struct process *process, bool told)
{
    struct doors *doors = arg;

    (void)told;
    for (struct door *door = doors->first; door; door = door->next)
        door->inhabited = door->inhabited || door->inode == process->ns.net;
}

/* Leaves the namespaces we are a guest in and that no pod's process began its image in, or was
 * forked in, or was found to connect from; what we hold there would keep them alive.
 * Deserted at two looks in a row, so that connections of those who went last have been dialled.
 * Only from the loop itself, for accepting walks the list of doors and comes to doors_on_exec(). */
static void look_for_deserted(evutil_socket_t fd, short what, void *arg)
{
    struct doors *doors = arg;

    (void)fd;
    (void)what;
    for (struct door *door = doors->first; door; door = door->next)
        door->inhabited =
            door->pods || attempts_are_in(doors->parts.attempts, keeper_net_cookie(door->net));
    identity_each(doors->parts.identity, mark_inhabited, doors);
    for (struct door **at = &doors->first; *at;) {
        struct door *door = *at;

        if (!door->inhabited && door->deserted) {
            *at = door->next;
            door_free(&door);
            continue;
        }
        door->deserted = !door->inhabited;
        if (door->deserted)
            doors_look_soon(doors);
        at = &door->next;
    }
}

/* ---- set-up ---- */

int doors_new(struct doors **out, const struct doors_parts *parts, struct err *err)
{
    CLEANUP(doors_free) struct doors *doors = calloc(1, sizeof(*doors));
    int result;

    if (!doors)
        return err_set(err, -ENOMEM, "doors");
    doors->parts = *parts;
    doors->look_due = evtimer_new(parts->base, look_for_deserted, doors);
    if (!doors->look_due)
        return err_set(err, -ENOMEM, "doors");
    const struct acceptor_parts accepting = {
        .base = parts->base,
        .identity = parts->identity,
        .sockets = parts->sockets,
        .credentials = parts->credentials,
        .limits = parts->limits,
        .workers = parts->workers,
        .workers_len = parts->workers_len,
        .meet = meet,
        .arg = doors,
    };

    result = acceptor_new(&doors->acceptor, &accepting, err);
    if (result < 0)
        return result;
    *out = TAKE(doors);
    return 0;
}

void doors_free(struct doors **doors)
{
    struct door *door;

    if (!*doors)
        return;
    while ((door = (*doors)->first)) {
        (*doors)->first = door->next;
        door_free(&door);
    }
    if ((*doors)->look_due)
        event_free((*doors)->look_due);
    acceptor_free(&(*doors)->acceptor);
    free(TAKE(*doors));
}

void doors_retire(struct doors *doors)
{
    event_del(doors->look_due);
    acceptor_stop(doors->acceptor);
    for (const struct door *door = doors->first; door; door = door->next)
        if (door->on_change)
            event_del(door->on_change);
}

int doors_open(struct doors *doors, int netns_fd, uint64_t *netns_cookie, struct err *err)
{
    struct door *door;
    int result = listen_in(doors, &door, netns_fd, 0, err);

    if (result < 0)
        return result;
    door->pods++;
    *netns_cookie = keeper_net_cookie(door->net);
    return 0;
}

void doors_release(struct doors *doors, uint64_t netns_cookie)
{
    struct door *door = find_cookie(doors, netns_cookie);

    if (!door)
        return;
    door->pods--;
    doors_look_soon(doors);
}

void doors_adopt(struct doors *doors)
{
    struct keeper_net *net = NULL;
    struct door *door;
    struct err err;

    while ((net = keeper_net_next(doors->parts.keeper, net)))
        if (listen_in(doors, &door, keeper_net_fd(net), keeper_net_cookie(net), &err) < 0)
            log_warn("what waits in a network namespace is not served before a pod of it is "
                     "registered: %s",
                     err.text);
}

void doors_accept(struct doors *doors)
{
    acceptor_run(doors->acceptor);
}

size_t doors_count(const struct doors *doors)
{
    size_t count = 0;

    for (const struct door *door = doors->first; door; door = door->next)
        count++;
    return count;
}
