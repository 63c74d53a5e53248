#include "proxy/keeper/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "proxy/keeper/diag.h"
#include "proxy/keeper/net.h"

static int cookie_here(uint64_t *cookie)
{
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*cookie);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) < 0)
        return -errno;
    return 0;
}

int inside_home(int *home_fd, uint64_t *cookie, struct err *err)
{
    CLEANUP(fd_close) int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int code;

    if (fd < 0)
        return err_sys(err, -errno, "/proc/thread-self/ns/net");
    code = cookie_here(cookie);
    if (code < 0)
        return err_sys(err, code, "our own network namespace (Linux 5.14 or newer?)");
    *home_fd = fd_take(&fd);
    return 0;
}

static int enter(int netns_fd)
{
    return setns(netns_fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

/* That we could come from there is proof that we may go there. */
static void go_home(int home_fd)
{
    setns(home_fd, CLONE_NEWNET);
}

static int listen_here(uint64_t *cookie, struct listeners *out)
{
    uint64_t wanted = *cookie;
    int code = cookie_here(cookie);

    if (code == 0 && wanted && wanted != *cookie)
        code = -ESTALE;
    return code < 0 ? code : listeners_open(out);
}

int inside_listen(int home_fd, int netns_fd, uint64_t *cookie, struct listeners *out,
                  struct err *err)
{
    int code = enter(netns_fd);

    if (code < 0)
        return err_sys(err, code, "entering it");
    code = listen_here(cookie, out);
    go_home(home_fd);
    if (code < 0) {
        listeners_fini(out);
        return err_sys(err, code, "listening there");
    }
    return 0;
}

static int open_here(enum inside_kind kind)
{
    switch (kind) {
    case INSIDE_STREAM4:
        return listener_socket(AF_INET, SOCK_STREAM);
    case INSIDE_STREAM6:
        return listener_socket(AF_INET6, SOCK_STREAM);
    case INSIDE_DATAGRAM4:
        return listener_socket(AF_INET, SOCK_DGRAM);
    case INSIDE_DATAGRAM6:
        return listener_socket(AF_INET6, SOCK_DGRAM);
    case INSIDE_WATCH:
        return net_open_watch(NULL);
    case INSIDE_ASK:
        return net_open_ask(NULL);
    case INSIDE_DIAG:
        return diag_open();
    default:
        return -EINVAL;
    }
}

size_t inside_sockets(int home_fd, int netns_fd, enum inside_kind kind, int *fds, size_t wanted,
                      int *code)
{
    size_t len = 0;

    *code = enter(netns_fd);
    if (*code < 0)
        return 0;
    while (len < wanted) {
        fds[len] = open_here(kind);
        if (fds[len] < 0) {
            *code = fds[len];
            break;
        }
        len++;
    }
    go_home(home_fd);
    return len;
}
