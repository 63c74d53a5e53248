#include "proxy/doors/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proxy/keeper/keeper.h"
#include "proxy/keeper/listener.h"
#include "proxy/doors/returned.h"

static int socket_here(int family, struct err *err)
{
    static const int mark = RETURNED_MARK;
    int fd = listener_socket(family, SOCK_STREAM);

    if (fd < 0)
        return err_sys(err, fd, "a socket for the upstream leg");
    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
    return fd;
}

int upstream_socket(struct keeper *keeper, const struct origin *origin, struct err *err)
{
    int family = addr_is_v4(&origin->dst) ? AF_INET : AF_INET6;

    return keeper ? keeper_socket(keeper, origin->netns_cookie, family, SOCK_STREAM, err)
                  : socket_here(family, err);
}

int upstream_begin(int fd, const struct origin *origin, struct err *err)
{
    struct sockaddr_storage to, from;
    socklen_t to_len = addr_to_sockaddr(&origin->dst, &to);
    char address[ADDR_TEXT_MAX];
    int yes = 1;

    if (origin->has_bound) {
        socklen_t from_len = addr_to_sockaddr(&origin->bound, &from);

        /* the address the program chose, any port: the program's own port is taken by itself */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
        if (bind(fd, (struct sockaddr *)&from, from_len) < 0)
            return err_sys(err, -errno, "binding the upstream leg to %s",
                           addr_format_ip(&origin->bound, address));
    }
    if (connect(fd, (struct sockaddr *)&to, to_len) < 0 && errno != EINPROGRESS)
        return err_sys(err, -errno, "connecting to %s", addr_format(&origin->dst, address));
    return 0;
}
