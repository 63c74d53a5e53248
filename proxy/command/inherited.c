#include "proxy/command/inherited.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static void dir_close(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static bool leads_away(int fd)
{
    int family = AF_UNIX, flags = fcntl(fd, F_GETFD);
    socklen_t len = sizeof(family);

    if (flags < 0 || flags & FD_CLOEXEC)
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
        return false; /* no socket */
    return family != AF_UNIX && family != AF_NETLINK;
}

int inherited_check(struct err *err)
{
    CLEANUP(dir_close) DIR *dir = opendir("/proc/self/fd");

    if (!dir)
        return err_sys(err, -errno, "/proc/self/fd");
    for (const struct dirent *entry; (entry = readdir(dir));) {
        int fd = (int)strtol(entry->d_name, NULL, 10); /* "." and "..": stdin, which has its turn */

        if (leads_away(fd))
            return err_set(err, -EPERM,
                           "the command would be given descriptor %d, a socket from outside, which "
                           "no policy can judge: close it before (%d<&-)",
                           fd, fd);
    }
    return 0;
}
