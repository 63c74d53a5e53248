/* The thread takes namespaces from a queue and has opened there what is wanted: by the keeper
 * process, or where there is none (`exec`, or it has just died) by entering each itself and going
 * home. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "proxy/keeper/fd_store.h"
#include "proxy/keeper/hooks.h"
#include "proxy/keeper/keeper_parts.h"

enum { TRY_AGAIN_MS = 1000 }; /* to have a keeper process */

static size_t make_sockets(struct keeper *keeper, struct keeper_net *net, enum inside_kind kind,
                           int *fds, size_t wanted, int *code)
{
    size_t len = 0;

    if (keeper->client.fd >= 0)
        len = keeper_client_sockets(&keeper->client, net->reach.netns_cookie, kind, fds, wanted,
                                    code);
    if (keeper->client.fd < 0 ||                   /* none, or it is gone just now */
        (kind == INSIDE_DIAG && *code == -EINVAL)) /* or it is of a build that knows no such */
        len = inside_sockets(keeper->home_fd, net->netns_fd, kind, fds, wanted, code);
    return len;
}

int keeper_thread_follow(struct keeper *keeper, struct keeper_net *net, struct err *err)
{
    int code;

    if (make_sockets(keeper, net, INSIDE_WATCH, &net->watch, 1, &code) &&
        make_sockets(keeper, net, INSIDE_ASK, &net->ask, 1, &code))
        return 0;
    return err_sys(err, code, "following its addresses and routes");
}

static void open_all(struct keeper *keeper, struct keeper_net *net, struct err *err)
{
    uint64_t *cookie = &net->reach.netns_cookie, wanted = *cookie;
    int code = -EPIPE;

    if (keeper->client.fd >= 0)
        code = keeper_client_add(&keeper->client, net->netns_fd, cookie, &net->listeners, err);
    if (keeper->client.fd < 0) {
        *cookie = wanted;
        *err = (struct err){0};
        code = inside_listen(keeper->home_fd, net->netns_fd, cookie, &net->listeners, err);
    }
    if (code < 0)
        return;
    net->reach.listeners = &net->listeners;
    keeper_thread_follow(keeper, net, err);
}

struct job {
    struct keeper_net *net;
    bool leaving, storing;
    struct err *opening;
    int *diag;
    struct {
        int fds[SOCKETS_AHEAD];
        size_t wanted, len;
        int code;
    } ahead[KINDS];
};

static void do_job(struct keeper *keeper, struct job *job)
{
    if (job->leaving) {
        fd_store_remove(job->net->reach.netns_cookie);
        keeper_client_remove(&keeper->client, job->net->reach.netns_cookie);
        return;
    }
    if (job->opening) {
        *job->opening = (struct err){0};
        open_all(keeper, job->net, job->opening);
    }
    if (job->storing && !(job->opening && job->opening->code < 0))
        fd_store_add(job->net->reach.netns_cookie, job->net->netns_fd, &job->net->listeners);
    if (job->diag) {
        int fd, code = 0;

        *job->diag = make_sockets(keeper, job->net, INSIDE_DIAG, &fd, 1, &code) ? fd : code;
    }
    for (int i = 0; i < KINDS; i++)
        if (job->ahead[i].wanted)
            job->ahead[i].len =
                make_sockets(keeper, job->net, (enum inside_kind)i, job->ahead[i].fds,
                             job->ahead[i].wanted, &job->ahead[i].code);
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
    *job = (struct job){.net = net,
                        .leaving = net->leaving,
                        .storing = net->unstored,
                        .opening = net->opening,
                        .diag = net->diag};
    net->unstored = false;
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
    job->net->diag = NULL;
    keeper->busy = NULL;
    pthread_cond_broadcast(&keeper->served);
}

/* The next one that a new keeper process is to be given. The thread is at it afterwards. */
static struct keeper_net *begin_giving(struct keeper *keeper, uint64_t after)
{
    struct keeper_net *next = NULL;

    pthread_mutex_lock(&keeper->lock);
    for (struct keeper_net *net = keeper->nets; net; net = net->next)
        if (net->reach.netns_cookie > after &&
            (!next || net->reach.netns_cookie < next->reach.netns_cookie))
            next = net;
    keeper->busy = next;
    pthread_cond_broadcast(&keeper->served);
    pthread_mutex_unlock(&keeper->lock);
    return next;
}

/* Another keeper process, which shall hold what the one before did: we have it all ourselves. */
static void find_keeper(struct keeper *keeper)
{
    struct keeper_net *net = NULL;
    uint64_t cookie = 0;
    struct err err;

    if (keeper_client_open(&keeper->client, keeper->runtime_dir, hooks_hold_until(keeper->hooks),
                           &err) < 0) {
        log_warn("%s; when this process dies, connects of its pods will not wait for the next",
                 err.text);
        return;
    }
    keeper_client_make_haste(&keeper->client);
    while ((net = begin_giving(keeper, cookie))) {
        cookie = net->reach.netns_cookie;
        keeper_client_give(&keeper->client, cookie, net->netns_fd, &net->listeners);
    }
}

/* One that leaves has no say any more: another one is its successor's to start. */
static void replace_keeper(struct keeper *keeper, const char *why)
{
    if (keeper->leaving)
        return;
    log_warn("the keeper %s; starting another one", why);
    find_keeper(keeper);
}

/* Until there is something in the queue, as a rule. */
static void wait_for_work(struct keeper *keeper)
{
    struct pollfd ready[] = {{.fd = keeper->wake_fd, .events = POLLIN},
                             {.fd = keeper->client.fd, .events = POLLIN}};
    bool lacks_keeper = keeper->runtime_dir && keeper->client.fd < 0 && !keeper->leaving;
    eventfd_t woken;

    if (poll(ready, ARRAY_SIZE(ready), lacks_keeper ? TRY_AGAIN_MS : -1) == 0) {
        find_keeper(keeper);
        return;
    }
    if (ready[0].revents)
        eventfd_read(keeper->wake_fd, &woken);
    if (ready[1].revents) { /* it says nothing by itself */
        keeper_client_close(&keeper->client);
        replace_keeper(keeper, "is gone");
    }
}

/* Without the lock. What there was to wait for is there by then. */
static void replace_silent(struct keeper *keeper, bool was_there)
{
    if (was_there && keeper->client.fd < 0 && keeper->client.silent)
        replace_keeper(keeper, "does not answer");
}

static void *keep(void *arg)
{
    struct keeper *keeper = arg;
    struct job job;
    bool was_there;

    pthread_mutex_lock(&keeper->lock);
    while (!keeper->stopping) {
        if (!keeper->queue) {
            pthread_mutex_unlock(&keeper->lock);
            wait_for_work(keeper);
            pthread_mutex_lock(&keeper->lock);
            continue;
        }
        begin_job(keeper, &job);
        pthread_mutex_unlock(&keeper->lock);
        was_there = keeper->client.fd >= 0;
        do_job(keeper, &job);
        pthread_mutex_lock(&keeper->lock);
        end_job(keeper, &job);
        pthread_mutex_unlock(&keeper->lock);
        replace_silent(keeper, was_there);
        pthread_mutex_lock(&keeper->lock);
    }
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

/* Signals are the control thread's: this one takes none. */
int keeper_thread_start(struct keeper *keeper, struct err *err)
{
    sigset_t all, before;
    int code;

    keeper_client_make_haste(&keeper->client);
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

void keeper_thread_stop(struct keeper *keeper)
{
    if (!keeper->has_thread)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stopping = true;
    eventfd_write(keeper->wake_fd, 1);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
}

/* Under the lock. */
void keeper_thread_enqueue(struct keeper *keeper, struct keeper_net *net)
{
    if (net->queued)
        return;
    net->queued = true;
    net->next_queued = NULL;
    *keeper->queue_end = net;
    keeper->queue_end = &net->next_queued;
    eventfd_write(keeper->wake_fd, 1);
}

void keeper_thread_wait(struct keeper *keeper, const struct keeper_net *net)
{
    while (net->queued || keeper->busy == net)
        pthread_cond_wait(&keeper->served, &keeper->lock);
}
