/* The lock covers the thread's queue, the list of namespaces and their sockets made ahead; it is
 * never held over a change of namespace. What a namespace owns and reaches (`reach`) is the control
 * thread's; the conversation with the keeper process is the keeper's thread's, once it runs. */
#include "proxy/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "proxy/keeper/fd_store.h"
#include "proxy/keeper/hooks.h"
#include "proxy/keeper/keeper_parts.h"

enum { SOCKETS_LOW = SOCKETS_AHEAD / 2 }; /* make more when fewer are left */

/* Without hooks and thread. */
static int new_empty(struct keeper **out, const char *runtime_dir, struct err *err)
{
    CLEANUP(keeper_free) struct keeper *keeper = calloc(1, sizeof(*keeper));
    int code;

    if (!keeper)
        return err_set(err, -ENOMEM, "keeper");
    keeper->home_fd = keeper->wake_fd = keeper->client.fd = -1;
    keeper->queue_end = &keeper->queue;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->served, NULL);
    keeper->runtime_dir = runtime_dir ? strdup(runtime_dir) : NULL;
    keeper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (keeper->wake_fd < 0 || (runtime_dir && !keeper->runtime_dir))
        return err_set(err, -ENOMEM, "keeper");
    code = inside_home(&keeper->home_fd, &keeper->home_cookie, err);
    if (code < 0)
        return code;
    *out = TAKE(keeper);
    return 0;
}

int keeper_new(struct keeper **out, int cgroup_fd, const char *pin_dir, struct err *err)
{
    CLEANUP(keeper_free) struct keeper *keeper = NULL;
    int code = new_empty(&keeper, NULL, err);

    if (code == 0)
        code = hooks_new(&keeper->hooks, cgroup_fd, pin_dir, err);
    if (code == 0)
        code = keeper_thread_start(keeper, err);
    if (code < 0)
        return code;
    *out = TAKE(keeper);
    return 0;
}

bool keeper_set_dir(const struct keeper *keeper, char out[PATH_MAX])
{
    return hooks_set_dir(keeper->hooks, out);
}

struct sallyport_bpf *keeper_bpf(struct keeper *keeper)
{
    return hooks_bpf(keeper->hooks);
}

int keeper_options_program(const struct keeper *keeper)
{
    return hooks_options_program(keeper->hooks);
}

static void net_free(struct keeper_net **net)
{
    if (!*net)
        return;
    listeners_fini(&(*net)->listeners);
    for (int i = 0; i < KINDS; i++) {
        for (size_t j = 0; j < (*net)->ahead[i].len; j++)
            fd_close(&(*net)->ahead[i].fds[j]);
    }
    fd_close(&(*net)->watch);
    fd_close(&(*net)->ask);
    fd_close(&(*net)->netns_fd);
    net_view_fini(&(*net)->reach.view);
    free(TAKE(*net));
}

void keeper_free(struct keeper **keeper)
{
    struct keeper *gone = TAKE(*keeper);
    struct keeper_net *net;

    if (!gone)
        return;
    keeper_thread_stop(gone);
    if (gone->leaving && gone->hooks)
        hooks_leave(gone->hooks);
    /* before the listeners go: nobody is steered to what is closed */
    hooks_free(&gone->hooks);
    if (gone->has_thread && !gone->leaving)
        keeper_client_end(&gone->client);
    keeper_client_close(&gone->client);
    while ((net = gone->nets)) {
        gone->nets = net->next;
        net_free(&net);
    }
    pthread_cond_destroy(&gone->served);
    pthread_mutex_destroy(&gone->lock);
    fd_close(&gone->home_fd);
    fd_close(&gone->wake_fd);
    free(gone->runtime_dir);
    free(gone);
}

bool keeper_leave(struct keeper *keeper, bool idle_too)
{
    if (keeper->runtime_dir && (idle_too || hooks_have_pods(keeper->hooks)))
        keeper->leaving = true;
    return keeper->leaving;
}

static struct keeper_net *find_by_cookie(struct keeper *keeper, uint64_t netns_cookie)
{
    struct keeper_net *net = keeper->nets;

    while (net && net->reach.netns_cookie != netns_cookie)
        net = net->next;
    return net;
}

static struct keeper_net *find_by_file(struct keeper *keeper, const struct stat *file)
{
    for (struct keeper_net *net = keeper->nets; net; net = net->next) {
        struct stat known;

        if (fstat(net->netns_fd, &known) == 0 && known.st_dev == file->st_dev &&
            known.st_ino == file->st_ino)
            return net;
    }
    return NULL;
}

/* Takes the descriptor. */
static int net_new(struct keeper_net **out, int *netns_fd, uint64_t cookie, struct err *err)
{
    struct keeper_net *net = calloc(1, sizeof(*net));

    if (!net)
        return err_set(err, -ENOMEM, "network namespace");
    net->watch = net->ask = -1;
    listeners_init(&net->listeners);
    net->reach.netns_cookie = cookie;
    net->netns_fd = fd_take(netns_fd);
    *out = net;
    return 0;
}

static int open_there(struct keeper *keeper, struct keeper_net *net, struct err *err)
{
    struct err story = {0};

    pthread_mutex_lock(&keeper->lock);
    net->opening = &story;
    keeper_thread_enqueue(keeper, net);
    keeper_thread_wait(keeper, net);
    pthread_mutex_unlock(&keeper->lock);
    return story.code < 0 ? err_set(err, story.code, "%s", story.text) : 0;
}

static void enlist(struct keeper *keeper, struct keeper_net *net)
{
    pthread_mutex_lock(&keeper->lock);
    net->next = keeper->nets;
    keeper->nets = net;
    pthread_mutex_unlock(&keeper->lock);
}

int keeper_net_add(struct keeper *keeper, struct keeper_net **out, int netns_fd,
                   uint64_t wanted_cookie, struct err *err)
{
    CLEANUP(net_free) struct keeper_net *net = NULL;
    CLEANUP(fd_close) int own_fd = -1;
    struct keeper_net *known;
    struct stat file;
    int code;

    *out = NULL;
    if (fstat(netns_fd, &file) < 0)
        return err_sys(err, -errno, "network namespace");
    known = find_by_file(keeper, &file);
    if (known && wanted_cookie && wanted_cookie != keeper_net_cookie(known))
        return err_set(err, -ESTALE, "network namespace %llu is another one",
                       (unsigned long long)file.st_ino);
    if (known) {
        *out = known;
        return 0;
    }
    own_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
    if (own_fd < 0)
        return err_sys(err, -errno, "network namespace");
    code = net_new(&net, &own_fd, wanted_cookie, err);
    if (code == 0) {
        net->unstored = keeper->runtime_dir != NULL;
        code = open_there(keeper, net, err);
    }
    if (code == 0)
        code = keeper_net_refresh(keeper, net, err);
    if (code < 0) {
        err_wrap(err, "network namespace %llu", (unsigned long long)file.st_ino);
        return code;
    }
    *out = net;
    enlist(keeper, TAKE(net));
    return 0;
}

void keeper_net_remove(struct keeper *keeper, struct keeper_net **net)
{
    struct keeper_net **at = &keeper->nets;

    if (!*net)
        return;
    if (!keeper->leaving)
        reach_forget(&(*net)->reach, keeper_bpf(keeper));
    pthread_mutex_lock(&keeper->lock);
    while (*at != *net)
        at = &(*at)->next;
    *at = (*net)->next;
    (*net)->leaving = keeper->runtime_dir && !keeper->leaving;
    if ((*net)->leaving)
        keeper_thread_enqueue(keeper, *net);
    keeper_thread_wait(keeper, *net);
    pthread_mutex_unlock(&keeper->lock);
    net_free(net);
}

int keeper_net_refresh(struct keeper *keeper, struct keeper_net *net, struct err *err)
{
    CLEANUP(net_view_fini) struct net_view view = {0};
    int code;

    net_drain(net->watch); /* before reading: what changes later makes it readable again */
    code = net_read(net->ask, &view, err);
    if (code < 0)
        return code;
    return reach_tell(&net->reach, keeper_bpf(keeper), &view, err);
}

int keeper_net_diag(struct keeper *keeper, struct keeper_net *net)
{
    int fd = -EIO;

    pthread_mutex_lock(&keeper->lock);
    net->diag = &fd;
    keeper_thread_enqueue(keeper, net);
    keeper_thread_wait(keeper, net);
    pthread_mutex_unlock(&keeper->lock);
    return fd;
}

/* ---- what the agent before us left ---- */

/* The keeper process has the namespace, with the very sockets that pods' connects wait at. */
static int adopt_one(struct keeper *keeper, struct keeper_net *net, struct err *err)
{
    int code;

    net->reach.listeners = &net->listeners;
    code = keeper_thread_follow(keeper, net, err);
    return code < 0 ? code : keeper_net_refresh(keeper, net, err);
}

/* Of one that has died with its agent; the keeper that did not die has all of it. */
static int give_kept(void *arg, uint64_t cookie, int netns_fd, const struct listeners *listeners)
{
    struct keeper *keeper = arg;

    return keeper_client_give(&keeper->client, cookie, netns_fd, listeners);
}

static int adopt_all(struct keeper *keeper, const struct fd_store_kept *kept, struct err *err)
{
    CLEANUP(listeners_fini) struct listeners listeners;
    CLEANUP(fd_close) int netns_fd = -1;
    uint64_t cookie = 0;
    int code;

    listeners_init(&listeners);
    while ((code = keeper_client_next(&keeper->client, &cookie, &netns_fd, &listeners)) == 0) {
        CLEANUP(net_free) struct keeper_net *net = NULL;
        struct err why;

        code = net_new(&net, &netns_fd, cookie, err);
        if (code < 0)
            return code;
        net->listeners = listeners;
        listeners_init(&listeners);
        if (adopt_one(keeper, net, &why) == 0) {
            net->unstored = fd_store_lacks(kept, cookie);
            keeper_thread_enqueue(keeper, net);
            enlist(keeper, TAKE(net));
            continue;
        }
        log_warn("network namespace %llu, as it was kept: %s; listening there anew",
                 (unsigned long long)cookie, why.text);
        keeper_client_remove(&keeper->client, cookie);
        fd_store_remove(cookie);
    }
    return code == -ENOENT ? 0 : err_sys(err, code, "the keeper");
}

static const struct reach *reach_of(void *arg, uint64_t netns_cookie)
{
    const struct keeper_net *net = find_by_cookie(arg, netns_cookie);

    return net ? &net->reach : NULL;
}

int keeper_new_kept(struct keeper **out, int cgroup_fd, const char *pin_dir,
                    const char *runtime_dir, struct err *err)
{
    CLEANUP(fd_store_free) struct fd_store_kept *kept = fd_store_take();
    CLEANUP(keeper_free) struct keeper *keeper = NULL;
    int code = new_empty(&keeper, runtime_dir, err);

    if (code < 0)
        return code;
    keeper->leaving = true; /* until all is well: a start that fails takes nothing away */
    code = hooks_new_kept(&keeper->hooks, cgroup_fd, pin_dir, err);
    if (code == 0)
        code =
            keeper_client_open(&keeper->client, runtime_dir, hooks_hold_until(keeper->hooks), err);
    if (code == 0)
        fd_store_give(kept, give_kept, keeper);
    if (code == 0)
        code = adopt_all(keeper, kept, err);
    if (code < 0)
        return code;
    reach_sweep(keeper_bpf(keeper), reach_of, keeper);
    code = keeper_thread_start(keeper, err);
    if (code < 0)
        return code;
    keeper->leaving = false;
    *out = TAKE(keeper);
    return 0;
}

void keeper_disarm_older(struct keeper *keeper)
{
    hooks_disarm_older(keeper->hooks);
}

void keeper_remove_older(struct keeper *keeper)
{
    hooks_remove_older(keeper->hooks);
}

const struct pins_older *keeper_older(const struct keeper *keeper, size_t i)
{
    return hooks_older(keeper->hooks, i);
}

struct keeper_net *keeper_net_next(struct keeper *keeper, const struct keeper_net *after)
{
    return after ? after->next : keeper->nets;
}

int keeper_net_fd(const struct keeper_net *net)
{
    return net->netns_fd;
}

uint64_t keeper_net_cookie(const struct keeper_net *net)
{
    return net->reach.netns_cookie;
}

const struct listeners *keeper_net_listeners(const struct keeper_net *net)
{
    return &net->listeners;
}

int keeper_net_watch(const struct keeper_net *net)
{
    return net->watch;
}

/* Only the calling thread changes the list. */
struct keeper_net *keeper_net_find(struct keeper *keeper, uint64_t netns_cookie)
{
    return find_by_cookie(keeper, netns_cookie);
}

/* Under the lock. -EAGAIN: none is ready, but the thread is asked for some. */
static int take_ahead(struct keeper *keeper, struct keeper_net *net, int i)
{
    struct ahead *ahead = &net->ahead[i];
    int fd = ahead->len ? ahead->fds[--ahead->len] : -EAGAIN;

    if (ahead->len < SOCKETS_LOW) {
        ahead->wanted = true;
        keeper_thread_enqueue(keeper, net);
    }
    return fd;
}

/* Under the lock, which waiting gives up: the namespace may be gone afterwards. */
static int wait_ahead(struct keeper *keeper, const struct keeper_net *net, int i)
{
    uint64_t netns_cookie = net->reach.netns_cookie;
    unsigned int turns = net->ahead[i].turns;

    while (net && net->ahead[i].turns == turns) {
        pthread_cond_wait(&keeper->served, &keeper->lock);
        net = find_by_cookie(keeper, netns_cookie);
    }
    return net ? net->ahead[i].code : -ENONET;
}

int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err)
{
    int i = (type == SOCK_STREAM ? INSIDE_STREAM4 : INSIDE_DATAGRAM4) + (family == AF_INET6);
    struct keeper_net *net;
    int fd = -EAGAIN, code;

    if (netns_cookie == keeper->home_cookie) {
        fd = listener_socket(family, type);
        return fd < 0 ? err_sys(err, fd, "upstream socket") : fd;
    }
    pthread_mutex_lock(&keeper->lock);
    while (fd == -EAGAIN) {
        net = find_by_cookie(keeper, netns_cookie);
        fd = net ? take_ahead(keeper, net, i) : -ENONET;
        if (fd == -EAGAIN && (code = wait_ahead(keeper, net, i)) < 0)
            fd = code;
    }
    pthread_mutex_unlock(&keeper->lock);
    return fd < 0 ? err_sys(err, fd, "upstream socket in a pod's network namespace") : fd;
}
