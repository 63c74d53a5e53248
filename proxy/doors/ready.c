#include "proxy/doors/ready.h"

#include <errno.h>
#include <sys/epoll.h>

int ready_new(struct err *err)
{
    int ready = epoll_create1(EPOLL_CLOEXEC);

    return ready < 0 ? err_sys(err, -errno, "epoll") : ready;
}

int ready_watch(int ready, int fd, void *arg, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = arg};

    if (fd >= 0 && epoll_ctl(ready, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_sys(err, -errno, "watching a listener");
    return 0;
}

void ready_unwatch(int ready, int fd)
{
    if (fd >= 0)
        epoll_ctl(ready, EPOLL_CTL_DEL, fd, NULL);
}

size_t ready_look(int ready, void *args[READY_BATCH])
{
    struct epoll_event events[READY_BATCH];
    int len = epoll_wait(ready, events, READY_BATCH, 0);

    for (int i = 0; i < len; i++)
        args[i] = events[i].data.ptr;
    return len > 0 ? (size_t)len : 0;
}
