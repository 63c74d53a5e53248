#include "proxy/keeper/keeper_process.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/keeper/inside.h"
#include "proxy/keeper/keeper_io.h"

enum { LOOK_AGAIN_MS = 1000 }; /* without an agent */

struct net {
    uint64_t cookie;
    int netns_fd;
    struct listeners listeners;
};

struct client {
    int fd;
    int hold_until_fd; /* -1: it has not said hello */
    uint64_t since;    /* counts hellos: the youngest has the say */
};

struct process {
    const char *path; /* where agents find us, and the file that was there */
    struct stat place;
    int home_fd;
    uint64_t home_cookie;
    struct net **nets; /* by rising cookie */
    size_t nets_len, nets_room;
    struct client clients[KEEPER_AGENTS_MAX];
    size_t clients_len;
    uint64_t hellos;
    uint64_t alone_ns; /* since when there is no agent */
    bool ending;
};

/* ---- namespaces ---- */

static void net_free(struct net **net)
{
    if (!*net)
        return;
    listeners_fini(&(*net)->listeners);
    fd_close(&(*net)->netns_fd);
    free(TAKE(*net));
}

/* Takes the descriptor. */
static struct net *net_new(int *netns_fd)
{
    struct net *net = calloc(1, sizeof(*net));

    if (!net)
        return NULL;
    listeners_init(&net->listeners);
    net->netns_fd = fd_take(netns_fd);
    return net;
}

/* Where it is, or would be put. */
static size_t place_of(const struct process *process, uint64_t cookie)
{
    size_t low = 0, high = process->nets_len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (process->nets[middle]->cookie < cookie)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct net *find(const struct process *process, uint64_t cookie)
{
    size_t at = place_of(process, cookie);

    return at < process->nets_len && process->nets[at]->cookie == cookie ? process->nets[at] : NULL;
}

static struct net *find_by_file(const struct process *process, int netns_fd)
{
    struct stat file, known;

    if (fstat(netns_fd, &file) < 0)
        return NULL;
    for (size_t i = 0; i < process->nets_len; i++)
        if (fstat(process->nets[i]->netns_fd, &known) == 0 && known.st_ino == file.st_ino &&
            known.st_dev == file.st_dev)
            return process->nets[i];
    return NULL;
}

/* Takes it, in the place of an older one with that cookie. */
static int keep(struct process *process, struct net **net)
{
    size_t at = place_of(process, (*net)->cookie);

    if (at < process->nets_len && process->nets[at]->cookie == (*net)->cookie) {
        net_free(&process->nets[at]);
        process->nets[at] = TAKE(*net);
        return 0;
    }
    if (process->nets_len == process->nets_room) {
        size_t room = process->nets_room ? 2 * process->nets_room : 16;
        struct net **more = reallocarray(process->nets, room, sizeof(struct net *));

        if (!more)
            return -ENOMEM;
        process->nets = more;
        process->nets_room = room;
    }
    memmove(process->nets + at + 1, process->nets + at,
            (process->nets_len++ - at) * sizeof(struct net *));
    process->nets[at] = TAKE(*net);
    return 0;
}

static void drop(struct process *process, uint64_t cookie)
{
    size_t at = place_of(process, cookie);

    if (!find(process, cookie))
        return;
    net_free(&process->nets[at]);
    memmove(process->nets + at, process->nets + at + 1,
            (--process->nets_len - at) * sizeof(struct net *));
}

/* ---- what agents ask for ---- */

/* What an answer is made of. */
struct answer {
    struct keeper_message message;
    int fds[KEEPER_WIRE_FDS_MAX]; /* borrowed, but for `made` of them */
    size_t made;
};

static int open_net(struct process *process, struct net **out, int *netns_fd, uint64_t cookie,
                    struct err *err)
{
    CLEANUP(net_free) struct net *net = net_new(netns_fd);
    int code;

    if (!net)
        return err_set(err, -ENOMEM, "the keeper has no memory");
    net->cookie = cookie;
    code = inside_listen(process->home_fd, net->netns_fd, &net->cookie, &net->listeners, err);
    if (code < 0)
        return code;
    *out = net;
    code = keep(process, &net);
    return code < 0 ? err_set(err, code, "the keeper has no memory") : 0;
}

static int on_add(struct process *process, struct keeper_parcel *asked, struct answer *answer,
                  struct err *err)
{
    uint64_t wanted = asked->message.cookie;
    struct net *net = find_by_file(process, asked->fds[0]);
    int code = 0;

    if (net && wanted && net->cookie != wanted)
        return err_set(err, -ESTALE, "it is another one");
    if (!net)
        code = open_net(process, &net, &asked->fds[0], wanted, err);
    if (code < 0)
        return code;
    answer->message.cookie = net->cookie;
    keeper_wire_put(&answer->message, &net->listeners, answer->fds);
    return 0;
}

static int on_give(struct process *process, struct keeper_parcel *asked, struct err *err)
{
    CLEANUP(net_free) struct net *net = NULL;
    int code;

    if (find(process, asked->message.cookie))
        return 0; /* from another agent, which has the same */
    net = net_new(&asked->fds[0]);
    if (!net)
        return err_set(err, -ENOMEM, "the keeper has no memory");
    net->cookie = asked->message.cookie;
    keeper_wire_take(&asked->message, asked->fds + 1, &net->listeners);
    code = keep(process, &net);
    return code < 0 ? err_set(err, code, "the keeper has no memory") : 0;
}

static int on_next(const struct process *process, const struct keeper_parcel *asked,
                   struct answer *answer)
{
    size_t at = asked->message.cookie == UINT64_MAX ? process->nets_len
                                                    : place_of(process, asked->message.cookie + 1);

    if (at == process->nets_len)
        return -ENOENT;
    answer->message.cookie = process->nets[at]->cookie;
    answer->fds[0] = process->nets[at]->netns_fd;
    keeper_wire_put(&answer->message, &process->nets[at]->listeners, answer->fds + 1);
    return 0;
}

static int on_sockets(const struct process *process, const struct keeper_parcel *asked,
                      struct answer *answer)
{
    const struct net *net = find(process, asked->message.cookie);
    int code;

    if (!net)
        return -ENONET;
    answer->made =
        inside_sockets(process->home_fd, net->netns_fd, (enum inside_kind)asked->message.kind,
                       answer->fds, asked->message.count, &code);
    answer->message.count = (uint32_t)answer->made;
    return answer->made ? 0 : code;
}

static bool has_the_say(const struct process *process, const struct client *client)
{
    return client->since == process->hellos;
}

/* The youngest of those that are left; nobody's number is 0. */
static void find_who_has_the_say(struct process *process)
{
    process->hellos = 0;
    for (size_t i = 0; i < process->clients_len; i++)
        if (process->clients[i].since > process->hellos)
            process->hellos = process->clients[i].since;
}

static int do_verb(struct process *process, struct client *client, struct keeper_parcel *asked,
                   struct answer *answer, struct err *err)
{
    switch (asked->message.verb) {
    case KEEPER_HELLO:
        fd_close(&client->hold_until_fd);
        client->hold_until_fd = fd_take(&asked->fds[0]);
        client->since = ++process->hellos;
        return 0;
    case KEEPER_ADD:
        return on_add(process, asked, answer, err);
    case KEEPER_GIVE:
        return on_give(process, asked, err);
    case KEEPER_REMOVE:
        if (has_the_say(process, client))
            drop(process, asked->message.cookie);
        return 0;
    case KEEPER_NEXT:
        return on_next(process, asked, answer);
    case KEEPER_SOCKETS:
        return on_sockets(process, asked, answer);
    case KEEPER_END:
        process->ending = has_the_say(process, client);
        return 0;
    default:
        return -EPROTO;
    }
}

/* False: it is gone, or to be sent away. */
static bool serve(struct process *process, struct client *client)
{
    struct keeper_parcel asked;
    struct answer answer = {.message.answer = true};
    struct err err = {0};
    int code = keeper_receive(client->fd, &asked);

    if (code < 0)
        return code == -EAGAIN;
    if (asked.message.answer || (client->hold_until_fd < 0 && asked.message.verb != KEEPER_HELLO)) {
        keeper_parcel_fini(&asked);
        return false;
    }
    answer.message.verb = asked.message.verb;
    code = do_verb(process, client, &asked, &answer, &err);
    answer.message.code = code;
    if (code < 0)
        memcpy(answer.message.text, err.text, sizeof(answer.message.text) - 1);
    code = keeper_send(client->fd, &answer.message, answer.fds);
    for (size_t i = 0; i < answer.made; i++)
        fd_close(&answer.fds[i]);
    keeper_parcel_fini(&asked);
    return code == 0;
}

/* ---- agents ---- */

static bool is_root(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == 0;
}

static void admit(struct process *process, int listener)
{
    CLEANUP(fd_close) int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 || !is_root(fd) || process->clients_len == KEEPER_AGENTS_MAX)
        return;
    process->clients[process->clients_len++] =
        (struct client){.fd = fd_take(&fd), .hold_until_fd = -1};
}

/* With the last agent goes who would send held SYNs on: from now on none is held, and those that
 * are will be repeated, into the listener's queue. */
static void dismiss(struct process *process, size_t i)
{
    struct client gone = process->clients[i];
    const uint64_t never = 0;
    const uint32_t zero = 0;

    process->clients[i] = process->clients[--process->clients_len];
    find_who_has_the_say(process);
    if (process->clients_len == 0) {
        process->alone_ns = clock_ns();
        if (gone.hold_until_fd >= 0)
            bpf_map_update_elem(gone.hold_until_fd, &zero, &never, BPF_ANY);
    }
    fd_close(&gone.fd);
    fd_close(&gone.hold_until_fd);
}

/* ---- the loop ---- */

static bool has_place(const struct process *process)
{
    struct stat now;

    return stat(process->path, &now) == 0 && now.st_ino == process->place.st_ino &&
           now.st_dev == process->place.st_dev;
}

/* No agent is there, nor can any be expected. */
static bool is_forsaken(const struct process *process)
{
    if (process->clients_len)
        return false;
    if (!has_place(process))
        return true; /* nobody would find us */
    if (clock_ns() - process->alone_ns < KEEPER_ALONE_SECONDS * UINT64_C(1000000000))
        return false;
    if (process->nets_len)
        log_warn("no agent for %d seconds: its pods fail closed or open from now on, as they are "
                 "set",
                 KEEPER_ALONE_SECONDS);
    return true;
}

static void serve_those(struct process *process, const struct pollfd *ready)
{
    for (size_t i = process->clients_len; i-- > 0;)
        if (ready[i].revents && !serve(process, &process->clients[i]))
            dismiss(process, i);
}

static void loop(struct process *process, int listener, int signals)
{
    bool asked_to_end = false;

    while (!process->ending && !is_forsaken(process) &&
           !(asked_to_end && process->clients_len == 0)) {
        struct pollfd ready[KEEPER_AGENTS_MAX + 2];
        size_t clients = process->clients_len;

        for (size_t i = 0; i < clients; i++)
            ready[i] = (struct pollfd){.fd = process->clients[i].fd, .events = POLLIN};
        ready[clients] = (struct pollfd){.fd = listener, .events = POLLIN};
        ready[clients + 1] = (struct pollfd){.fd = asked_to_end ? -1 : signals, .events = POLLIN};
        if (poll(ready, clients + 2, clients ? -1 : LOOK_AGAIN_MS) < 0)
            continue;
        asked_to_end = asked_to_end || ready[clients + 1].revents;
        serve_those(process, ready);
        if (ready[clients].revents)
            admit(process, listener);
    }
}

/* Terminal and session are an agent's, which this process outlives. Whoever ends all processes of a
 * machine or a service ends the agent, too: it is waited for. */
static int catch_signals(void)
{
    sigset_t mask;

    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    return signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
}

int keeper_process_run(int listener, const char *path)
{
    struct process process = {.path = path, .home_fd = -1, .alone_ns = clock_ns()};
    CLEANUP(fd_close) int signals = catch_signals();
    struct err err;

    if (signals < 0 || stat(path, &process.place) < 0) {
        log_error("the keeper: %s: %s", path, strerror(errno));
        return 1;
    }
    if (inside_home(&process.home_fd, &process.home_cookie, &err) < 0) {
        log_error("the keeper: %s", err.text);
        return 1;
    }
    loop(&process, listener, signals);
    if (has_place(&process))
        unlink(path);
    while (process.nets_len)
        drop(&process, process.nets[process.nets_len - 1]->cookie);
    while (process.clients_len)
        dismiss(&process, process.clients_len - 1);
    free(process.nets);
    fd_close(&process.home_fd);
    return 0;
}
