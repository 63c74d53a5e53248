#include "proxy/kernel/ends.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "proxy/keeper/diag.h"
#include "proxy/keeper/keeper.h"
#include "sallyport.skel.h"

enum {
    ENDINGS_MAX = 1 << 17, /* as the map has it */
    SOON_US = 2000,        /* several may come at once */
    LINGER_TURNS = 20,
    LINGER_MS = 25,
};

struct ends {
    struct keeper *keeper;
    int map;
    struct event *due;
    bool told_no_end;
};

/* ---- what is to end ---- */

struct wanted {
    uint64_t cookie;
    struct abi_ending ending;
};

/* What to do about those that nobody has open, and that have not sent all. */
enum left { LEFT_ALONE, LEFT_COUNTED, LEFT_ENDED };

struct sweep {
    struct ends *ends;
    enum left left;
    uint64_t pod;          /* whose; 0: all pods' */
    size_t count;          /* of those */
    struct wanted *wanted; /* by their cookies */
    size_t len, room;
    struct diag_socket *found; /* in one namespace */
    size_t found_len, found_room;
};

static void sweep_fini(struct sweep *sweep)
{
    free(sweep->wanted);
    free(sweep->found);
}

/* Room for one more; false: there is none. */
static bool grow(void **list, size_t len, size_t *room, size_t size)
{
    size_t wanted = *room ? 2 * *room : 64;
    void *more;

    if (len < *room)
        return true;
    more = wanted > ENDINGS_MAX ? NULL : reallocarray(*list, wanted, size);
    if (!more)
        return false;
    *list = more;
    *room = wanted;
    return true;
}

static int by_cookie(const void *a, const void *b)
{
    uint64_t x = ((const struct wanted *)a)->cookie, y = ((const struct wanted *)b)->cookie;

    return (x > y) - (x < y);
}

static void read_map(struct sweep *sweep)
{
    const struct ends *ends = sweep->ends;
    uint64_t key = 0;
    const void *before = NULL;

    for (size_t i = 0; i < ENDINGS_MAX && bpf_map_get_next_key(ends->map, before, &key) == 0; i++) {
        struct wanted wanted = {.cookie = key};

        before = &key;
        if (bpf_map_lookup_elem(ends->map, &key, &wanted.ending) == 0 &&
            (wanted.ending.held || sweep->left != LEFT_ALONE) &&
            (!sweep->pod || wanted.ending.pod == sweep->pod) &&
            grow((void **)&sweep->wanted, sweep->len, &sweep->room, sizeof(wanted)))
            sweep->wanted[sweep->len++] = wanted;
    }
    if (sweep->len)
        qsort(sweep->wanted, sweep->len, sizeof(*sweep->wanted), by_cookie);
}

static const struct wanted *find(const struct sweep *sweep, uint64_t cookie)
{
    const struct wanted like = {.cookie = cookie};

    return bsearch(&like, sweep->wanted, sweep->len, sizeof(like), by_cookie);
}

/* ---- one namespace ---- */

static void on_socket(void *arg, const struct diag_socket *socket)
{
    struct sweep *sweep = arg;

    if (find(sweep, socket->cookie) &&
        grow((void **)&sweep->found, sweep->found_len, &sweep->found_room, sizeof(*sweep->found)))
        sweep->found[sweep->found_len++] = *socket;
}

static int list(struct sweep *sweep, int diag_fd, uint8_t family)
{
    struct diag_request request;

    diag_ask_sending(&request, family);
    return diag_list(diag_fd, &request, on_socket, sweep);
}

static void tell_failure(struct ends *ends, int code)
{
    if (!ends->told_no_end)
        log_warn("connections of which something may not leave cannot be ended (sock_diag: %s): "
                 "they end by time-out",
                 strerror(-code));
    ends->told_no_end = true;
}

static bool is_to_end(struct sweep *sweep, const struct diag_socket *socket)
{
    enum { FIN = 1 };

    if (find(sweep, socket->cookie)->ending.held)
        return true;
    if (socket->waits <= FIN)
        return false;
    sweep->count++;
    return sweep->left == LEFT_ENDED;
}

static void end_found(struct sweep *sweep, int diag_fd)
{
    for (size_t i = 0; i < sweep->found_len; i++) {
        const struct diag_socket *socket = &sweep->found[i];
        int code;

        if (!is_to_end(sweep, socket))
            continue;
        code = diag_end(diag_fd, socket);
        if (code == 0 || code == -ENOENT)
            bpf_map_delete_elem(sweep->ends->map, &socket->cookie);
        else
            tell_failure(sweep->ends, code);
    }
    sweep->found_len = 0;
}

static void sweep_net(struct sweep *sweep, struct keeper_net *net)
{
    CLEANUP(fd_close) int diag_fd = keeper_net_diag(sweep->ends->keeper, net);
    int code = diag_fd < 0 ? diag_fd : list(sweep, diag_fd, AF_INET);

    if (code == 0)
        code = list(sweep, diag_fd, AF_INET6);
    if (code < 0)
        tell_failure(sweep->ends, code);
    if (diag_fd >= 0)
        end_found(sweep, diag_fd);
}

static bool is_wanted_in(const struct sweep *sweep, uint64_t netns_cookie)
{
    for (size_t i = 0; i < sweep->len; i++)
        if (sweep->wanted[i].ending.netns_cookie == netns_cookie)
            return true;
    return false;
}

/* Ends what is held back. How many there are that nobody has open. */
static size_t sweep_all(struct ends *ends, enum left left, uint64_t pod)
{
    CLEANUP(sweep_fini) struct sweep sweep = {.ends = ends, .left = left, .pod = pod};
    struct keeper_net *net = NULL;

    read_map(&sweep);
    while (sweep.len && (net = keeper_net_next(ends->keeper, net)))
        if (is_wanted_in(&sweep, keeper_net_cookie(net)))
            sweep_net(&sweep, net);
    return sweep.count;
}

/* ---- when ---- */

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    sweep_all(arg, LEFT_ALONE, 0);
}

void ends_on_socket(struct ends *ends, const struct abi_socket *record)
{
    static const struct timeval soon = {.tv_usec = SOON_US};

    if (record->kind == ABI_SOCKET_HELD && !evtimer_pending(ends->due, NULL))
        event_add(ends->due, &soon);
}

void ends_on_pod_gone(struct ends *ends, uint64_t pod)
{
    sweep_all(ends, LEFT_ENDED, pod);
}

void ends_finish(struct ends *ends)
{
    for (int i = 0; i < LINGER_TURNS && sweep_all(ends, LEFT_COUNTED, 0); i++)
        poll(NULL, 0, LINGER_MS);
    sweep_all(ends, LEFT_ENDED, 0);
}

int ends_new(struct ends **out, struct event_base *base, struct keeper *keeper, struct err *err)
{
    CLEANUP(ends_free) struct ends *ends = calloc(1, sizeof(*ends));
    static const struct timeval now = {0};

    if (!ends)
        return err_set(err, -ENOMEM, "what ends connections");
    ends->keeper = keeper;
    ends->map = bpf_map__fd(keeper_bpf(keeper)->maps.endings);
    ends->due = evtimer_new(base, on_due, ends);
    if (!ends->due || event_add(ends->due, &now) < 0)
        return err_set(err, -ENOMEM, "what ends connections");
    *out = TAKE(ends);
    return 0;
}

void ends_free(struct ends **ends)
{
    struct ends *gone = TAKE(*ends);

    if (!gone)
        return;
    if (gone->due)
        event_free(gone->due);
    free(gone);
}
