#include "proxy/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"

enum { PATIENCE_SECONDS = 3 };

/* Sockets of a manager are named as in notify_send(). Returns the length, or a negative errno. */
static int find(const char *socket_name, struct sockaddr_un *out)
{
    size_t len = strlen(socket_name);

    if (socket_name[0] != '/' && socket_name[0] != '@')
        return -EAFNOSUPPORT; /* "vsock:…": for virtual machines */
    if (len >= sizeof(out->sun_path))
        return -ENAMETOOLONG;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, socket_name, len);
    if (socket_name[0] == '@')
        out->sun_path[0] = 0;
    return (int)(offsetof(struct sockaddr_un, sun_path) + len);
}

int notify_send(const char *socket_name, const char *assignments, int with_fd)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {(char *)assignments, strlen(assignments)};
    struct msghdr datagram = {.msg_iov = &data, .msg_iovlen = 1};
    struct sockaddr_un address;
    CLEANUP(fd_close) int fd = -1;
    int len;

    if (!socket_name || !*socket_name)
        return 0;
    len = find(socket_name, &address);
    if (len < 0)
        return len;
    datagram.msg_name = &address;
    datagram.msg_namelen = (socklen_t)len;
    if (with_fd >= 0) {
        datagram.msg_control = &control;
        datagram.msg_controllen = sizeof(control);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &with_fd, sizeof(int));
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        sendmsg(fd, &datagram, MSG_NOSIGNAL) < 0)
        return -errno;
    return 0;
}

/* Not polled: it would be closed as soon as there is an error to be told at it. */
int notify_store(const char *name, int fd)
{
    char text[512];

    snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    return notify_send(getenv("NOTIFY_SOCKET"), text, fd);
}

int notify_unstore(const char *name)
{
    char text[512];

    snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    return notify_send(getenv("NOTIFY_SOCKET"), text, -1);
}

void notify_say(const char *format, ...)
{
    const char *socket_name = getenv("NOTIFY_SOCKET");
    char text[1024];
    va_list args;
    int result;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    result = notify_send(socket_name, text, -1);
    if (result < 0)
        log_warn("telling systemd (NOTIFY_SOCKET=%s): %s", socket_name, strerror(-result));
}
