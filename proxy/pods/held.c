#include "proxy/pods/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { PROCESSES_MAX = 16384, HELD_MAX = 1 << 18 };

/* Room for one more of what is `len` long; false: there is no memory, or enough of them. */
static bool has_room(void **list, size_t len, size_t *room, size_t size, size_t most)
{
    size_t wanted = *room ? 2 * *room : 64;
    void *more;

    if (len < *room)
        return true;
    more = len < most ? reallocarray(*list, wanted, size) : NULL;
    if (!more)
        return false;
    *list = more;
    *room = wanted;
    return true;
}

void held_add_process(struct held_list *held, pid_t pid)
{
    if (has_room((void **)&held->pids, held->pids_len, &held->pids_room, sizeof(*held->pids),
                 PROCESSES_MAX))
        held->pids[held->pids_len++] = pid;
    else
        held->cut = true;
}

static void note(struct held_list *held, const struct held *one)
{
    if (has_room((void **)&held->list, held->len, &held->room, sizeof(*held->list), HELD_MAX))
        held->list[held->len++] = *one;
    else
        held->cut = true;
}

/* A descriptor's entry in /proc/PID/fd. */
static void read_entry(struct held_list *held, const char *name)
{
    struct held one = {.pid = held->pids[held->pid_at]};
    char target[64], *end;
    ssize_t len = readlinkat(dirfd(held->dir), name, target, sizeof(target) - 1);
    unsigned long long inode;

    if (len <= 0)
        return;
    target[len] = 0;
    if (sscanf(target, "socket:[%llu]", &inode) != 1)
        return;
    one.inode = inode;
    one.fd = (int)strtol(name, &end, 10);
    if (!*end)
        note(held, &one);
}

static DIR *open_files(pid_t pid)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    return opendir(path);
}

/* Of equals the lowest pid first: as a rule the others are its children. */
static int by_inode(const void *a, const void *b)
{
    const struct held *x = a, *y = b;

    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

bool held_read(struct held_list *held, size_t most)
{
    const struct dirent *entry;

    while (most && held->pid_at < held->pids_len) {
        if (!held->dir)
            held->dir = open_files(held->pids[held->pid_at]);
        entry = held->dir ? readdir(held->dir) : NULL;
        most--;
        if (entry) {
            read_entry(held, entry->d_name);
            continue;
        }
        if (held->dir)
            closedir(TAKE(held->dir));
        held->pid_at++;
        if (held->pid_at == held->pids_len && held->len)
            qsort(held->list, held->len, sizeof(*held->list), by_inode);
    }
    return held->pid_at < held->pids_len;
}

const struct held *held_find(const struct held_list *held, uint64_t inode)
{
    size_t from = 0, to = held->len;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (held->list[middle].inode < inode)
            from = middle + 1;
        else
            to = middle;
    }
    return from < held->len && held->list[from].inode == inode ? &held->list[from] : NULL;
}

void held_fini(struct held_list *held)
{
    if (held->dir)
        closedir(held->dir);
    free(held->pids);
    free(held->list);
    *held = (struct held_list){0};
}

int held_take(const struct held *held, uint64_t cookie)
{
    CLEANUP(fd_close) int pidfd = (int)syscall(SYS_pidfd_open, held->pid, 0);
    CLEANUP(fd_close)
    int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, held->fd, 0);
    uint64_t found = 0;
    socklen_t len = sizeof(found);

    if (pidfd < 0 || fd < 0)
        return errno == ESRCH || errno == EBADF ? -ESTALE : -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &found, &len) < 0 || found != cookie)
        return -ESTALE;
    return fd_take(&fd);
}

int held_reset(int fd)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

    if (connect(fd, &nowhere, sizeof(nowhere)) == 0)
        return 0;
    return shutdown(fd, SHUT_RDWR) == 0 ? 0 : -errno;
}
