#include "proxy/enforce/act.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/queue.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "proxy/identity/snapshot.h"

struct acted {
    LIST_ENTRY(acted) all;
    struct pod *pod; /* a reference */
    int cgroup_fd;
};

struct act {
    pthread_mutex_t lock;
    LIST_HEAD(, acted) pods;
};

/* ---- one process ---- */

/* The descriptor first: what has the pid when its start is looked at has it when it is killed. */
int act_kill(const struct process *process, struct err *err)
{
    CLEANUP(fd_close) int fd = -1;

    if (!process)
        return err_set(err, -ESRCH, "nobody knows which process it was, so none is killed");
    fd = (int)syscall(SYS_pidfd_open, (pid_t)process->pid, 0);
    if (fd < 0 || !snapshot_is_same(process->pid, process->start_ns))
        return err_set(err, -ESRCH, "process %" PRIu32 " is gone", process->pid);
    if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
        return err_sys(err, -errno, "killing process %" PRIu32, process->pid);
    return 0;
}

/* ---- a pod ---- */

static bool read_frozen(int cgroup_fd)
{
    CLEANUP(fd_close) int fd = openat(cgroup_fd, "cgroup.freeze", O_RDONLY | O_CLOEXEC);
    char state = '0';

    return fd >= 0 && read(fd, &state, 1) == 1 && state == '1';
}

static int write_frozen(int cgroup_fd, bool frozen)
{
    CLEANUP(fd_close) int fd = openat(cgroup_fd, "cgroup.freeze", O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, frozen ? "1" : "0", 1) == 1 ? 0 : -errno;
}

static struct acted *find(const struct act *act, uint64_t cgroup_id)
{
    struct acted *acted;

    LIST_FOREACH(acted, &act->pods, all)
    if (acted->pod->cgroup_id == cgroup_id)
        break;
    return acted;
}

/* With the lock held. */
static int set_frozen(struct act *act, uint64_t cgroup_id, bool frozen, struct err *err)
{
    struct acted *acted = find(act, cgroup_id);
    int code;

    if (!acted)
        return err_set(err, -ENOENT, "it is no pod any more");
    code = write_frozen(acted->cgroup_fd, frozen);
    if (code < 0)
        return err_sys(err, code, "%s pod %s%s%s", frozen ? "freezing" : "thawing",
                       acted->pod->space, acted->pod->space[0] ? "/" : "", acted->pod->name);
    atomic_store(&acted->pod->frozen, frozen);
    return 0;
}

int act_freeze(struct act *act, uint64_t cgroup_id, struct err *err)
{
    int result;

    pthread_mutex_lock(&act->lock);
    result = set_frozen(act, cgroup_id, true, err);
    pthread_mutex_unlock(&act->lock);
    return result;
}

int act_thaw(struct act *act, uint64_t cgroup_id, struct err *err)
{
    int result;

    pthread_mutex_lock(&act->lock);
    result = set_frozen(act, cgroup_id, false, err);
    pthread_mutex_unlock(&act->lock);
    return result;
}

bool act_is_frozen(struct act *act, uint64_t cgroup_id)
{
    const struct acted *acted;
    bool frozen;

    pthread_mutex_lock(&act->lock);
    acted = find(act, cgroup_id);
    frozen = acted && read_frozen(acted->cgroup_fd);
    pthread_mutex_unlock(&act->lock);
    return frozen;
}

bool act_holds(struct act *act, struct pod *pod)
{
    if (!atomic_load(&pod->frozen))
        return false;
    if (act_is_frozen(act, pod->cgroup_id))
        return true;
    atomic_store(&pod->frozen, false); /* somebody has thawed it by hand */
    return false;
}

size_t act_count(struct act *act)
{
    const struct acted *acted;
    size_t len = 0;

    pthread_mutex_lock(&act->lock);
    LIST_FOREACH(acted, &act->pods, all)
    len += atomic_load(&acted->pod->frozen) && read_frozen(acted->cgroup_fd);
    pthread_mutex_unlock(&act->lock);
    return len;
}

/* ---- pods come and go ---- */

static void acted_free(struct acted **acted)
{
    if (!*acted)
        return;
    pod_unref(&(*acted)->pod);
    fd_close(&(*acted)->cgroup_fd);
    free(TAKE(*acted));
}

/* One that was frozen when the last agent ended is ours to hold now. */
int act_add_pod(struct act *act, struct pod *pod, int cgroup_fd, struct err *err)
{
    CLEANUP(acted_free) struct acted *acted = calloc(1, sizeof(*acted));

    if (!acted)
        return err_set(err, -ENOMEM, "pod %s", pod->name);
    acted->pod = pod_ref(pod);
    acted->cgroup_fd = fcntl(cgroup_fd, F_DUPFD_CLOEXEC, 0);
    if (acted->cgroup_fd < 0)
        return err_sys(err, -errno, "the cgroup of pod %s", pod->name);
    atomic_store(&pod->frozen, read_frozen(acted->cgroup_fd));
    pthread_mutex_lock(&act->lock);
    LIST_INSERT_HEAD(&act->pods, acted, all);
    pthread_mutex_unlock(&act->lock);
    TAKE(acted); /* the list's now */
    return 0;
}

void act_remove_pod(struct act *act, uint64_t cgroup_id)
{
    CLEANUP(acted_free) struct acted *acted;

    pthread_mutex_lock(&act->lock);
    acted = find(act, cgroup_id);
    if (acted)
        LIST_REMOVE(acted, all);
    pthread_mutex_unlock(&act->lock);
}

int act_new(struct act **out, struct err *err)
{
    struct act *act = calloc(1, sizeof(*act));

    if (!act)
        return err_set(err, -ENOMEM, "acting on pods");
    pthread_mutex_init(&act->lock, NULL);
    LIST_INIT(&act->pods);
    *out = act;
    return 0;
}

void act_free(struct act **act)
{
    struct act *gone = TAKE(*act);

    if (!gone)
        return;
    while (!LIST_EMPTY(&gone->pods)) {
        struct acted *acted = LIST_FIRST(&gone->pods);

        LIST_REMOVE(acted, all);
        acted_free(&acted);
    }
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}
