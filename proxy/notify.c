#include "proxy/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"

int notify_send(const char *socket_name, const char *assignments)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = socket_name ? strlen(socket_name) : 0;
    CLEANUP(fd_close) int fd = -1;

    if (!len)
        return 0;
    if (socket_name[0] != '/' && socket_name[0] != '@')
        return -EAFNOSUPPORT; /* "vsock:…": for virtual machines */
    if (len >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, socket_name, len);
    if (socket_name[0] == '@')
        address.sun_path[0] = 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (sendto(fd, assignments, strlen(assignments), MSG_NOSIGNAL,
               (const struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        return -errno;
    return 0;
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
    result = notify_send(socket_name, text);
    if (result < 0)
        log_warn("telling systemd (NOTIFY_SOCKET=%s): %s", socket_name, strerror(-result));
}
