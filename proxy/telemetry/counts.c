#include "proxy/telemetry/counts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proxy/flow/row.h"
#include "proxy/keeper/diag.h"
#include "proxy/keeper/keeper.h"

struct counting {
    struct flow_row *rows; /* by their cookies */
    size_t len, left;      /* left: those of which nothing has been found yet */
};

static int by_cookie(const void *a, const void *b)
{
    uint64_t x = ((const struct flow_row *)a)->cookie, y = ((const struct flow_row *)b)->cookie;

    return (x > y) - (x < y);
}

/* As the kernel's programs count at the close: what was written, and read. Of a FIN that waits, or
 * was read, no byte was. */
static void on_socket(void *arg, const struct diag_socket *socket)
{
    struct counting *counting = arg;
    const struct flow_row like = {.cookie = socket->cookie};
    struct flow_row *row = bsearch(&like, counting->rows, counting->len, sizeof(like), by_cookie);
    bool fin_waits = socket->state == DIAG_FIN_WAIT1 && socket->waits;
    bool fin_read = socket->state == DIAG_CLOSE_WAIT && !socket->unread;

    if (!row || row->route != ROUTE_DIRECT || row->src.port != socket->src.port)
        return;
    row->tx = socket->tx + socket->waits - fin_waits;
    row->rx = socket->rx - socket->unread - fin_read;
    if (counting->left)
        counting->left--;
}

static int ask(struct counting *counting, int diag_fd)
{
    struct diag_request request;
    int code;

    diag_ask_all(&request, AF_INET);
    code = diag_list(diag_fd, &request, on_socket, counting);
    if (code < 0 || !counting->left)
        return code;
    diag_ask_all(&request, AF_INET6);
    return diag_list(diag_fd, &request, on_socket, counting);
}

void counts_take(struct keeper *keeper, struct flow_row *rows, size_t len)
{
    struct counting counting = {.rows = rows, .len = len};
    struct keeper_net *net = NULL;
    int code = 0;

    if (len)
        qsort(rows, len, sizeof(*rows), by_cookie);
    for (size_t i = 0; i < len; i++)
        counting.left += rows[i].route == ROUTE_DIRECT;
    while (code == 0 && counting.left && (net = keeper_net_next(keeper, net))) {
        CLEANUP(fd_close) int diag_fd = keeper_net_diag(keeper, net);

        code = diag_fd < 0 ? diag_fd : ask(&counting, diag_fd);
    }
    if (code < 0)
        log_warn("what connections that are not looked into have carried is told as it was when "
                 "they were met (sock_diag: %s)",
                 strerror(-code));
}
