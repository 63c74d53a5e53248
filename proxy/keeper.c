/* The thread takes namespaces from a queue, enters each, opens there what is wanted, and goes home.
 * The lock covers the queue, the list of namespaces and their sockets made ahead; it is never held
 * over a change of namespace. What a namespace owns and reaches (`reach`) is the control thread's.
 */
#include "proxy/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "proxy/hooks.h"
#include "proxy/listener.h"
#include "proxy/net.h"
#include "proxy/reach.h"

enum { KINDS = KEEPER_KINDS, SOCKETS_AHEAD = KEEPER_AHEAD };
enum { SOCKETS_LOW = SOCKETS_AHEAD / 2 }; /* make more when fewer are left */
static const struct {
    int family, type;
} kinds[KINDS] = {
    {AF_INET, SOCK_STREAM},
    {AF_INET6, SOCK_STREAM},
    {AF_INET, SOCK_DGRAM},
    {AF_INET6, SOCK_DGRAM},
};

struct ahead {
    int fds[SOCKETS_AHEAD];
    size_t len;
    bool wanted;
    unsigned int turns; /* how often the thread was here for it */
    int code;           /* of its last turn */
};

struct keeper_net {
    struct keeper_net *next; /* in keeper->nets */
    struct keeper_net *next_queued;
    bool queued;
    struct err *opening; /* for the story, while the listeners are wanted; else NULL */
    struct ahead ahead[KINDS];

    int netns_fd; /* from here on: set before others see it, then the control thread's */
    struct listeners listeners;
    int watch, ask; /* rtnetlink */
    struct reach reach;
};

struct keeper {
    struct hooks *hooks;
    int home_fd; /* the namespace the agent itself is in */
    uint64_t home_cookie;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t work, served;
    bool stopping; /* this and all below: under the lock */
    struct keeper_net *nets;
    struct keeper_net *queue, **queue_end;
    struct keeper_net *busy; /* what the thread is at */
};

static int cookie_of(int fd, uint64_t *cookie)
{
    socklen_t len = sizeof(*cookie);

    return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) < 0 ? -errno : 0;
}

/* Of the calling thread's namespace. */
static int cookie_here(uint64_t *cookie)
{
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : cookie_of(fd, cookie);
}

static void open_all(struct keeper_net *net, struct err *err)
{
    uint64_t wanted_cookie = net->reach.netns_cookie;
    int code = cookie_here(&net->reach.netns_cookie);

    if (code == 0 && wanted_cookie && wanted_cookie != net->reach.netns_cookie)
        code = -ESTALE;
    if (code == 0)
        code = listeners_open(&net->listeners);
    if (code < 0) {
        err_sys(err, code, "listening there");
        return;
    }
    net->reach.listeners = &net->listeners;
    net->watch = net_open_watch(err);
    if (net->watch >= 0)
        net->ask = net_open_ask(err);
}

static size_t open_ahead(int family, int type, int *fds, size_t wanted, int *code)
{
    size_t len = 0;

    *code = 0;
    while (len < wanted) {
        fds[len] = listener_socket(family, type);
        if (fds[len] < 0) {
            *code = fds[len];
            break;
        }
        len++;
    }
    return len;
}

struct job {
    struct keeper_net *net;
    struct err *opening;
    struct {
        int fds[SOCKETS_AHEAD];
        size_t wanted, len;
        int code;
    } ahead[KINDS];
};

static void do_job(const struct keeper *keeper, struct job *job)
{
    if (setns(job->net->netns_fd, CLONE_NEWNET) < 0) {
        for (int i = 0; i < KINDS; i++)
            job->ahead[i].code = -errno;
        if (job->opening)
            err_sys(job->opening, -errno, "entering it");
        return;
    }
    if (job->opening)
        open_all(job->net, job->opening);
    for (int i = 0; i < KINDS; i++)
        job->ahead[i].len = open_ahead(kinds[i].family, kinds[i].type, job->ahead[i].fds,
                                       job->ahead[i].wanted, &job->ahead[i].code);
    /* not to keep a pod's namespace alive by standing in it */
    setns(keeper->home_fd, CLONE_NEWNET);
}

/* Under the lock. */
static void begin_job(struct keeper *keeper, struct job *job)
{
    struct keeper_net *net = keeper->queue;

    keeper->queue = net->next_queued;
    if (!keeper->queue)
        keeper->queue_end = &keeper->queue;
    net->queued = false;
    keeper->busy = net;
    *job = (struct job){.net = net, .opening = net->opening};
    for (int i = 0; i < KINDS; i++) {
        job->ahead[i].wanted = net->ahead[i].wanted ? SOCKETS_AHEAD - net->ahead[i].len : 0;
        net->ahead[i].wanted = false;
    }
}

/* Under the lock. Only the thread adds sockets, so there is room for those it made. */
static void end_job(struct keeper *keeper, const struct job *job)
{
    for (int i = 0; i < KINDS; i++) {
        struct ahead *ahead = &job->net->ahead[i];

        for (size_t j = 0; j < job->ahead[i].len; j++)
            ahead->fds[ahead->len++] = job->ahead[i].fds[j];
        ahead->code = job->ahead[i].code;
        ahead->turns++;
    }
    job->net->opening = NULL;
    keeper->busy = NULL;
    pthread_cond_broadcast(&keeper->served);
}

static void *keep(void *arg)
{
    struct keeper *keeper = arg;
    struct job job;

    pthread_mutex_lock(&keeper->lock);
    while (!keeper->stopping) {
        if (!keeper->queue) {
            pthread_cond_wait(&keeper->work, &keeper->lock);
            continue;
        }
        begin_job(keeper, &job);
        pthread_mutex_unlock(&keeper->lock);
        do_job(keeper, &job);
        pthread_mutex_lock(&keeper->lock);
        end_job(keeper, &job);
    }
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

/* Signals are the control thread's: this one takes none. */
static int start_thread(struct keeper *keeper, struct err *err)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&keeper->thread, NULL, keep, keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        return err_sys(err, -code, "the keeper's thread");
    keeper->has_thread = true;
    pthread_setname_np(keeper->thread, "keeper");
    return 0;
}

static int find_home(struct keeper *keeper, struct err *err)
{
    int code = cookie_here(&keeper->home_cookie);

    keeper->home_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (keeper->home_fd < 0)
        return err_sys(err, -errno, "/proc/thread-self/ns/net");
    if (code < 0)
        return err_sys(err, code, "our own network namespace (Linux 5.14 or newer?)");
    return 0;
}

int keeper_new(struct keeper **out, int cgroup_fd, const char *pin_dir, struct err *err)
{
    CLEANUP(keeper_free) struct keeper *keeper = calloc(1, sizeof(*keeper));
    int code;

    if (!keeper)
        return err_set(err, -ENOMEM, "keeper");
    keeper->home_fd = -1;
    keeper->queue_end = &keeper->queue;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->work, NULL);
    pthread_cond_init(&keeper->served, NULL);
    code = find_home(keeper, err);
    if (code == 0)
        code = hooks_new(&keeper->hooks, cgroup_fd, pin_dir, err);
    if (code == 0)
        code = start_thread(keeper, err);
    if (code < 0)
        return code;
    *out = TAKE(keeper);
    return 0;
}

struct sallyport_bpf *keeper_bpf(struct keeper *keeper)
{
    return hooks_bpf(keeper->hooks);
}

/* Under the lock. */
static void enqueue(struct keeper *keeper, struct keeper_net *net)
{
    if (net->queued)
        return;
    net->queued = true;
    net->next_queued = NULL;
    *keeper->queue_end = net;
    keeper->queue_end = &net->next_queued;
    pthread_cond_signal(&keeper->work);
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
    struct keeper_net *net;

    if (!*keeper)
        return;
    if ((*keeper)->has_thread) {
        pthread_mutex_lock(&(*keeper)->lock);
        (*keeper)->stopping = true;
        pthread_cond_signal(&(*keeper)->work);
        pthread_mutex_unlock(&(*keeper)->lock);
        pthread_join((*keeper)->thread, NULL);
    }
    hooks_free(
        &(*keeper)->hooks); /* before the listeners go: nobody is steered to what is closed */
    while ((net = (*keeper)->nets)) {
        (*keeper)->nets = net->next;
        net_free(&net);
    }
    pthread_cond_destroy(&(*keeper)->served);
    pthread_cond_destroy(&(*keeper)->work);
    pthread_mutex_destroy(&(*keeper)->lock);
    fd_close(&(*keeper)->home_fd);
    free(TAKE(*keeper));
}

/* Waits until the thread has served what was queued for net. Under the lock. */
static void wait_served(struct keeper *keeper, const struct keeper_net *net)
{
    while (net->queued || keeper->busy == net)
        pthread_cond_wait(&keeper->served, &keeper->lock);
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

static int net_new(struct keeper_net **out, int netns_fd, uint64_t wanted_cookie, struct err *err)
{
    CLEANUP(net_free) struct keeper_net *net = calloc(1, sizeof(*net));

    if (!net)
        return err_set(err, -ENOMEM, "network namespace");
    net->watch = net->ask = -1;
    listeners_init(&net->listeners);
    net->reach.netns_cookie = wanted_cookie;
    net->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
    if (net->netns_fd < 0)
        return err_sys(err, -errno, "network namespace");
    *out = TAKE(net);
    return 0;
}

static int open_there(struct keeper *keeper, struct keeper_net *net, struct err *err)
{
    struct err story = {0};

    pthread_mutex_lock(&keeper->lock);
    net->opening = &story;
    enqueue(keeper, net);
    wait_served(keeper, net);
    pthread_mutex_unlock(&keeper->lock);
    return story.code < 0 ? err_set(err, story.code, "%s", story.text) : 0;
}

int keeper_net_add(struct keeper *keeper, struct keeper_net **out, int netns_fd,
                   uint64_t wanted_cookie, struct err *err)
{
    CLEANUP(net_free) struct keeper_net *net = NULL;
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
    code = net_new(&net, netns_fd, wanted_cookie, err);
    if (code == 0)
        code = open_there(keeper, net, err);
    if (code == 0)
        code = keeper_net_refresh(keeper, net, err);
    if (code < 0) {
        err_wrap(err, "network namespace %llu", (unsigned long long)file.st_ino);
        return code;
    }
    pthread_mutex_lock(&keeper->lock);
    net->next = keeper->nets;
    keeper->nets = net;
    pthread_mutex_unlock(&keeper->lock);
    *out = TAKE(net);
    return 0;
}

void keeper_net_remove(struct keeper *keeper, struct keeper_net **net)
{
    struct keeper_net **at = &keeper->nets;

    if (!*net)
        return;
    pthread_mutex_lock(&keeper->lock);
    while (*at != *net)
        at = &(*at)->next;
    *at = (*net)->next;
    wait_served(keeper, *net);
    pthread_mutex_unlock(&keeper->lock);
    reach_forget(&(*net)->reach, keeper_bpf(keeper));
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

static struct keeper_net *find_by_cookie(struct keeper *keeper, uint64_t netns_cookie)
{
    struct keeper_net *net = keeper->nets;

    while (net && net->reach.netns_cookie != netns_cookie)
        net = net->next;
    return net;
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
        enqueue(keeper, net);
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
    int i = 0;
    struct keeper_net *net;
    int fd = -EAGAIN, code;

    while (kinds[i].family != family || kinds[i].type != type)
        i++;
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
