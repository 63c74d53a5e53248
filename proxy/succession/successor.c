#include "proxy/succession/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/identity/identity.h"
#include "proxy/dns/names.h"
#include "proxy/kernel/ring_handover.h"
#include "proxy/sockets_handover.h"

/* It takes up its pods before it listens. */
enum { PATIENCE_MS = 30000, BATCH = 65536, PENDING_MAX = 64 << 20 };

struct successor {
    int fd;
    char *pending; /* lines to come */
    size_t len, size;
    int code; /* of the first failure: nothing is sent after it */
};

int successor_new(struct successor **out, int stream, struct err *err)
{
    struct successor *successor = calloc(1, sizeof(*successor));

    if (!successor) {
        close(stream);
        return err_set(err, -ENOMEM, "handing over");
    }
    successor->fd = stream;
    *out = successor;
    return 0;
}

void successor_free(struct successor **successor)
{
    if (!*successor)
        return;
    fd_close(&(*successor)->fd);
    free((*successor)->pending);
    free(TAKE(*successor));
}

/* All that is pending; one that takes nothing for PATIENCE_MS is given up. */
static void flush(struct successor *successor)
{
    size_t at = 0;

    while (!successor->code && at < successor->len) {
        struct pollfd room = {.fd = successor->fd, .events = POLLOUT};
        ssize_t n = send(successor->fd, successor->pending + at, successor->len - at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        else if (errno == EAGAIN && poll(&room, 1, PATIENCE_MS) == 0)
            successor->code = -ETIMEDOUT;
        else if (errno != EAGAIN && errno != EINTR)
            successor->code = -errno;
    }
    successor->len = 0;
}

/* Takes object. */
static void add_line(struct successor *successor, json_t *object)
{
    CLEANUP(text_free) char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    size_t len = text ? strlen(text) + 1 : 0;

    json_decref(object);
    if (!text || successor->len + len > PENDING_MAX)
        return; /* no memory for it: the other side does without */
    if (successor->len + len > successor->size) {
        size_t size = 2 * (successor->len + len) + BATCH;
        char *grown = realloc(successor->pending, size);

        if (!grown)
            return;
        successor->pending = grown;
        successor->size = size;
    }
    text[len - 1] = '\n'; /* in place of the closing NUL */
    memcpy(successor->pending + successor->len, text, len);
    successor->len += len;
}

static void flush_much(struct successor *successor)
{
    if (successor->len >= BATCH)
        flush(successor);
}

/* Under a lock that flows want, too: so nothing waits here. */
static void tell_name(void *arg, uint64_t pod, const char *name, const struct addr *address,
                      uint64_t until_ns, uint64_t trusted_until_ns)
{
    char text[ADDR_TEXT_MAX];

    add_line(arg,
             json_pack("{s:{s:I, s:s, s:s, s:I, s:I}}", "name", "pod", (json_int_t)pod, "name",
                       name, "address", addr_format_ip(address, text), "until_ns",
                       (json_int_t)until_ns, "trusted_until_ns", (json_int_t)trusted_until_ns));
}

static void tell_process(void *arg, const struct process *process, bool told)
{
    if (told)
        add_line(arg, json_pack("{s:{s:I, s:I, s:I}}", "process", "pid", (json_int_t)process->pid,
                                "start_ns", (json_int_t)process->start_ns, "pod",
                                (json_int_t)(process->pod ? process->pod->cgroup_id : 0)));
}

static void tell_socket(void *arg, json_t *row)
{
    add_line(arg, json_pack("{s:o}", "socket", row));
    flush_much(arg);
}

static void tell_stream(void *arg, json_t *row)
{
    add_line(arg, json_pack("{s:o}", "stream", row));
    flush_much(arg);
}

void successor_tell_flows(struct successor *successor, const struct sockets_flow *flows)
{
    for (; flows; flows = flows->next)
        add_line(successor, json_pack("{s:o}", "flow", sockets_flow_row(flows)));
    flush(successor);
}

static int outcome(const struct successor *successor, struct err *err)
{
    return successor->code < 0 ? err_sys(err, successor->code, "handing over to the next agent")
                               : 0;
}

int successor_welcome(struct successor *successor, struct err *err)
{
    add_line(successor, json_pack("{s:b, s:i}", "ok", 1, "pid", (int)getpid()));
    flush(successor);
    return outcome(successor, err);
}

int successor_tell(struct successor *successor, struct identity *identity, struct names *names,
                   struct sockets *sockets, struct ring *ring, struct err *err)
{
    identity_each(identity, tell_process, successor);
    names_each(names, clock_ns(), tell_name, successor);
    flush(successor);
    sockets_each(sockets, tell_socket, successor);
    if (ring)
        ring_each_handed(ring, tell_stream, successor);
    flush(successor);
    return outcome(successor, err);
}

int successor_begin(struct successor *successor, struct err *err)
{
    add_line(successor, json_pack("{s:b}", "yours", 1));
    flush(successor);
    return outcome(successor, err);
}

int successor_fd(const struct successor *successor)
{
    return successor->fd;
}
