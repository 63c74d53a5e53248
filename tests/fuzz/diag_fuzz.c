/* diag_fuzz: whatever a dump has, what is told of it lies within it: a socket takes bytes of its
 * own. Whether it is the end of one that was asked for is understood, too. */
#include <linux/inet_diag.h>
#include <sys/socket.h>

#include "proxy/keeper/diag.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *arg, const struct diag_socket *socket)
{
    size_t *sockets = arg;

    CHECK(socket->family == AF_INET || socket->family == AF_INET6);
    CHECK(socket->family == AF_INET6 || addr_is_v4(&socket->src));
    ++*sockets;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t sockets = 0;
    struct err err;
    bool done;
    int code = diag_take(span_of(data, size), count, &sockets, &done, &err);

    CHECK(code <= 0 && code > -4096);
    CHECK(sockets <= size / (sizeof(struct nlmsghdr) + sizeof(struct inet_diag_msg)));
    code = diag_take_end(span_of(data, size));
    CHECK(code <= 0 && code > -4096);
    return 0;
}
