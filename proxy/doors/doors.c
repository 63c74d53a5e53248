#include "proxy/doors/doors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/doors/attempts.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/limits.h"
#include "proxy/doors/origin.h"
#include "proxy/pods/pods.h"
#include "proxy/doors/ready.h"
#include "proxy/dns/resolver.h"
#include "proxy/sockets.h"
#include "proxy/worker.h"

enum {
    ACCEPTS_A_TURN = 8192, /* more than the backlog, so that a turn takes all that wait */
    GUESTS_MAX = 256,
    LOOK_US = 200 * 1000,
    PAUSE_US = 100 * 1000, /* between looks whether there are descriptors again */
};

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
    struct event *on_accept4, *on_accept6, *on_change;
};

struct doors {
    struct doors_parts parts;
    struct door *first;
    struct event *look_due;
    int ready; /* of all listeners: see doors_accept() */
    bool told_guests_max;
    int reserve_fd; /* given up for a moment when there are no others left */
    struct event *resume_due;
    uint64_t paused_ns; /* since when; 0: accepting */
};

/* ---- accepting ---- */

static struct credentials *credentials_of(const struct doors *doors, uint64_t pod)
{
    struct credentials *own = pods_credentials(doors->parts.pods, pod);

    return own ? own : *doors->parts.credentials;
}

static struct worker *least_busy(struct doors *doors)
{
    struct worker *best = doors->parts.workers[0];

    for (unsigned i = 1; i < doors->parts.workers_len; i++)
        if (worker_load(doors->parts.workers[i]) < worker_load(best))
            best = doors->parts.workers[i];
    return best;
}

/* By a reset, as an overloaded host would; its close says why. Takes fd and process. */
static void refuse(struct doors *doors, int fd, const struct origin *origin,
                   struct process *process, enum limit why)
{
    struct sockets_flow *done = malloc(sizeof(*done));
    char line[256];

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    if (process)
        identity_flow_end(doors->parts.identity, &process);
    if (done) { /* else its close is told late, and without a reason */
        *done = (struct sockets_flow){
            .cookie = origin->cookie,
            .dst = origin->dst,
            .src_port = origin->src.port,
            .route = ROUTE_PROXY,
        };
        snprintf(done->error, sizeof(done->error), "%s", limits_reason(why));
        sockets_flow_done(doors->parts.sockets, &done);
    }
    if (limits_refuse(doors->parts.limits, why, clock_ns(), line, sizeof(line)))
        log_warn("%s", line);
}

/* exhausted: there is nothing for it but to be refused for that; LIMIT_NONE: what limits say. */
static void receive(struct doors *doors, int fd, enum limit exhausted)
{
    struct origin origin;
    struct process *process;
    struct pod *pod;
    CLEANUP(fd_close) int upstream = -1;

    /* no record: a stranger who dialled the listener itself. Nobody is told anything. */
    if (origin_take_kept(doors->parts.keeper, fd, &origin) < 0) {
        close(fd);
        return;
    }
    pod = pods_find(doors->parts.pods, origin.pod);
    process = identity_flow_begin(doors->parts.identity, origin.pid, origin.start_ns, origin.pod);
    sockets_accepted(doors->parts.sockets, &origin, process, pod);
    upstream = attempts_take(doors->parts.attempts, &origin, pod);
    if (!exhausted && upstream < 0) /* else it was, when its SYN came */
        exhausted = limits_admit(doors->parts.limits, pod);
    if (exhausted) {
        if (upstream >= 0)
            limits_leave(doors->parts.limits, pod);
        refuse(doors, fd, &origin, process, exhausted);
        return;
    }
    worker_give(least_busy(doors), fd, fd_take(&upstream), &origin, process, pod,
                credentials_of(doors, origin.pod));
}

/* Out of descriptors, or memory, although limits saw some left: those who come wait in the queue,
 * and nobody looks at it, for it would be readable all the time. */
static void pause_accepting(struct doors *doors)
{
    static const struct timeval pause = {.tv_usec = PAUSE_US};

    for (const struct door *door = doors->first; door; door = door->next) {
        if (door->on_accept4)
            event_del(door->on_accept4);
        if (door->on_accept6)
            event_del(door->on_accept6);
    }
    if (!doors->paused_ns)
        doors->paused_ns = clock_ns();
    if (!evtimer_pending(doors->resume_due, NULL))
        event_add(doors->resume_due, &pause);
}

/* One connection for which there was no descriptor takes the one kept in reserve, to be refused. */
static bool turn_away(struct doors *doors, int listener)
{
    int fd;

    fd_close(&doors->reserve_fd);
    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        receive(doors, fd, LIMIT_FILES);
    doors->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static bool somebody_waits(int listener)
{
    struct pollfd queue = {.fd = listener, .events = POLLIN};

    return poll(&queue, 1, 0) > 0;
}

/* False when there were no descriptors for those who wait. (accept looks for one first.) */
static bool accept_all(struct doors *doors, int listener)
{
    for (int i = 0; listener >= 0 && i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            receive(doors, fd, LIMIT_NONE);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            return !somebody_waits(listener);
        else if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    if (!accept_all(arg, fd))
        pause_accepting(arg);
}

/* Whoever has waited for a second in vain is told. */
static bool accept_or_turn_away(struct doors *doors, int listener)
{
    bool late = clock_ns() - doors->paused_ns >= 1000000000u;

    while (!accept_all(doors, listener))
        if (!late || !turn_away(doors, listener))
            return false;
    return true;
}

static void resume_accepting(evutil_socket_t fd, short what, void *arg)
{
    struct doors *doors = arg;
    bool done = true;

    (void)fd;
    (void)what;
    for (const struct door *door = doors->first; door; door = door->next) {
        const struct listener *stream = &keeper_net_listeners(door->net)->stream;

        done = accept_or_turn_away(doors, stream->v4) && done;
        done = accept_or_turn_away(doors, stream->v6) && done;
    }
    if (!done) {
        pause_accepting(doors);
        return;
    }
    doors->paused_ns = 0;
    for (const struct door *door = doors->first; door; door = door->next) {
        if (door->on_accept4)
            event_add(door->on_accept4, NULL);
        if (door->on_accept6)
            event_add(door->on_accept6, NULL);
    }
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
    if (gone->on_accept4)
        event_free(gone->on_accept4);
    if (gone->on_accept6)
        event_free(gone->on_accept6);
    if (gone->on_change)
        event_free(gone->on_change);
    if (gone->net) {
        const struct listener *stream = &keeper_net_listeners(gone->net)->stream;

        ready_unwatch(gone->doors->ready, stream->v4);
        ready_unwatch(gone->doors->ready, stream->v6);
    }
    if (gone->net)
        resolver_unwatch(gone->doors->parts.resolver, gone->net);
    if (gone->net)
        keeper_net_remove(gone->doors->parts.keeper, &gone->net);
    if (gone->counted)
        limits_give(gone->doors->parts.limits, LIMIT_FILES, KEEPER_NET_FILES);
    free(gone);
}

static struct event *watch(struct doors *doors, int fd, event_callback_fn call, void *arg)
{
    struct event *event =
        fd < 0 ? NULL : event_new(doors->parts.base, fd, EV_READ | EV_PERSIST, call, arg);

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

    door->on_accept4 = watch(doors, stream->v4, on_accept, doors);
    door->on_accept6 = watch(doors, stream->v6, on_accept, doors);
    door->on_change = watch(doors, keeper_net_watch(door->net), on_change, door);
    if (!door->on_accept4 && !door->on_accept6)
        return err_set(err, -ENOMEM, "watching the listeners of a network namespace");
    if (ready_watch(doors->ready, stream->v4, door, err) < 0 ||
        ready_watch(doors->ready, stream->v6, door, err) < 0)
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

    if (!doors)
        return err_set(err, -ENOMEM, "doors");
    doors->parts = *parts;
    doors->reserve_fd = -1;
    doors->ready = ready_new(err);
    if (doors->ready < 0)
        return doors->ready;
    doors->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    doors->look_due = evtimer_new(parts->base, look_for_deserted, doors);
    doors->resume_due = evtimer_new(parts->base, resume_accepting, doors);
    if (!doors->look_due || !doors->resume_due)
        return err_set(err, -ENOMEM, "doors");
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
    if ((*doors)->resume_due)
        event_free((*doors)->resume_due);
    fd_close(&(*doors)->reserve_fd);
    fd_close(&(*doors)->ready);
    free(TAKE(*doors));
}

void doors_retire(struct doors *doors)
{
    event_del(doors->look_due);
    event_del(doors->resume_due);
    for (const struct door *door = doors->first; door; door = door->next) {
        if (door->on_accept4)
            event_del(door->on_accept4);
        if (door->on_accept6)
            event_del(door->on_accept6);
        if (door->on_change)
            event_del(door->on_change);
    }
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
    void *waited_at[READY_BATCH];
    size_t len = READY_BATCH;
    bool all = true;

    while (all && len == READY_BATCH) {
        len = ready_look(doors->ready, waited_at);
        for (size_t i = 0; i < len; i++) {
            const struct door *door = waited_at[i];
            const struct listener *stream = &keeper_net_listeners(door->net)->stream;

            all = accept_all(doors, stream->v4) && all;
            all = accept_all(doors, stream->v6) && all;
        }
    }
    if (!all)
        pause_accepting(doors);
}

size_t doors_count(const struct doors *doors)
{
    size_t count = 0;

    for (const struct door *door = doors->first; door; door = door->next)
        count++;
    return count;
}
