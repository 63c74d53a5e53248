#include "proxy/doors/awake.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "sallyport.skel.h"

/* A loop that gets no turn for so long on a busy machine is still alive; one that hangs would serve
 * nobody who waits in the listener's queue either. */
static const uint64_t awake_ns = 10 * 1000000000ull;
static const struct timeval awake_again = {.tv_sec = 1};

struct awake {
    int hold_fd; /* a map, borrowed from the skeleton */
    bool left;
    struct event *again; /* or NULL: then every SYN goes to the listener at once */
};

static bool may_send_packets(void)
{
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

    return fd >= 0;
}

static void say_until(const struct awake *awake, uint64_t until)
{
    const uint32_t zero = 0;

    bpf_map_update_elem(awake->hold_fd, &zero, &until, BPF_ANY);
}

static void say_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    say_until(arg, clock_read_ns(CLOCK_BOOTTIME) + awake_ns);
}

int awake_new(struct awake **out, struct event_base *base, struct sallyport_bpf *bpf,
              struct err *err)
{
    CLEANUP(awake_free) struct awake *awake = calloc(1, sizeof(*awake));

    if (!awake)
        return err_set(err, -ENOMEM, "holding connections that begin");
    awake->hold_fd = bpf_map__fd(bpf->maps.hold_until);
    if (may_send_packets()) {
        awake->again = event_new(base, -1, EV_PERSIST, say_again, awake);
        if (!awake->again || event_add(awake->again, &awake_again) < 0)
            return err_set(err, -ENOMEM, "holding connections that begin");
        say_again(-1, 0, awake);
    }
    *out = TAKE(awake);
    return 0;
}

void awake_leave(struct awake *awake)
{
    if (awake->again)
        event_free(TAKE(awake->again));
    awake->left = true;
}

void awake_free(struct awake **awake)
{
    struct awake *gone = TAKE(*awake);

    if (!gone)
        return;
    if (!gone->left)
        say_until(gone, 0);
    if (gone->again)
        event_free(gone->again);
    free(gone);
}
