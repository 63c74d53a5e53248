#include "asking.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "heard.h"
#include "proxy/dns/datagram.h"

static struct datagrams *batch;

int asking_set_up(void **state)
{
    int code = set_up(state);

    heard_init();
    assert_ok(datagrams_new(&batch, &fx.err));
    return code;
}

int asking_take_down(void **state)
{
    datagrams_free(&batch);
    heard_fini();
    return take_down(state);
}

void asking_forget(void)
{
    for (size_t i = 0; i < 2 * ABI_PEERS; i++) {
        const struct listener *listener = &keeper_net_listeners(fx.net)->datagram[i / 2];
        struct datagram datagrams[DATAGRAM_BATCH];
        size_t len;

        while (datagrams_receive(batch, i % 2 ? listener->v6 : listener->v4, datagrams, &len) > 0)
            continue;
    }
}

/* ---- programs ---------------------------------------------------------------------------------
 */

static int ask_one(int fd, const struct ask *ask, const char *to)
{
    struct sockaddr_storage at;
    socklen_t len = place(ask->family, to, ask->port, &at);
    ssize_t n;

    if (ask->connects && connect(fd, (struct sockaddr *)&at, len) < 0)
        return -errno;
    n = ask->connects ? send(fd, to, strlen(to), 0)
                      : sendto(fd, to, strlen(to), 0, (struct sockaddr *)&at, len);
    return n < 0 ? -errno : 0;
}

static void do_ask(const void *arg, struct report *report)
{
    const struct ask *ask = arg;
    struct sockaddr_storage name;
    int fd = ask->fd ? ask->fd : socket(ask->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len;

    report->fd = ask->fd ? -1 : fd;
    report->code = fd < 0 ? -errno : 0;
    if (ask->bind_to) {
        len = place(ask->family, ask->bind_to, 0, &name);
        report->code = bind(fd, (struct sockaddr *)&name, len) < 0 ? -errno : 0;
    }
    for (size_t i = 0; report->code == 0 && ask->to[i]; i++)
        report->code = ask_one(fd, ask, ask->to[i]);
    len = sizeof(name);
    if (getpeername(fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->peer);
    len = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->self);
    len = sizeof(report->cookie);
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
}

struct report ask_from(const char *cgroup, int netns, struct ask ask)
{
    struct report report;

    bed_run(&fx.bed, cgroup, netns, do_ask, &ask, &report);
    return report;
}

struct report ask_from_pod(struct ask ask)
{
    struct report report = ask_from("pod", fx.bed.pod, ask);

    if (report.code < 0)
        fail_msg("asking: %s", strerror(-report.code));
    return report;
}

/* ---- our side ---------------------------------------------------------------------------------
 */

bool is_v4(const struct ask *ask, size_t i)
{
    return ask->family == AF_INET || strncmp(ask->to[i], "::ffff:", 7) == 0;
}

/* Which descriptors questions of one family may come to. */
static void listen_to(bool v4, struct pollfd out[ABI_PEERS])
{
    for (size_t i = 0; i < ABI_PEERS; i++) {
        const struct listener *listener = &keeper_net_listeners(fx.net)->datagram[i];

        out[i] = (struct pollfd){.fd = v4 ? listener->v4 : listener->v6, .events = POLLIN};
    }
}

static struct abi_tuple key_of(const struct question *question)
{
    const struct listeners *listeners = keeper_net_listeners(fx.net);
    struct abi_tuple key = {.netns_cookie = keeper_net_cookie(fx.net),
                            .port = question->from.port,
                            .local_port = listeners->datagram[question->peer].port};

    memcpy(key.ip, question->from.ip, sizeof(key.ip));
    memcpy(key.local, question->to.ip, sizeof(key.local));
    return key;
}

void hear(bool v4, struct question *out)
{
    struct pollfd fds[ABI_PEERS];
    struct datagram datagrams[DATAGRAM_BATCH];
    const struct datagram *last;
    struct abi_tuple key;
    size_t len;

    listen_to(v4, fds);
    assert_true(poll(fds, ABI_PEERS, SOON_MS) > 0);
    memset(out, 0, sizeof(*out));
    while (!fds[out->peer].revents)
        out->peer++;
    out->listener = fds[out->peer].fd;
    assert_true(datagrams_receive(batch, out->listener, datagrams, &len) > 0);
    assert_in_range(len, 1, DATAGRAM_BATCH);
    last = &datagrams[len - 1];
    out->from = last->from;
    out->to = last->to;
    assert_true(last->bytes.len < TEXT_MAX);
    memcpy(out->text, last->bytes.data, last->bytes.len);
    key = key_of(out);
    assert_ok(origin_of_asker(fx.keeper, &key, &out->origin, &fx.err));
}

void assert_nothing_heard(void)
{
    for (int v4 = 0; v4 < 2; v4++) {
        struct pollfd fds[ABI_PEERS];

        listen_to(v4, fds);
        assert_int_equal(poll(fds, ABI_PEERS, 0), 0);
    }
}

void answer(const struct question *question)
{
    struct span bytes = {(const uint8_t *)question->text, strlen(question->text)};

    assert_int_equal(datagram_send(question->listener, &question->to, &question->from, bytes), 0);
}

void assert_asker(const struct question *question, const struct report *report, uint16_t port)
{
    const char *mapped =
        strncmp(question->text, "::ffff:", 7) == 0 ? question->text + 7 : question->text;

    assert_ip(&question->origin.dst, mapped);
    assert_int_equal(question->origin.dst.port, port);
    assert_int_equal(question->origin.cookie, report->cookie);
    assert_int_equal(question->origin.pid, report->pid);
    assert_int_equal(question->origin.pod, bed_cgroup_id(&fx.bed, "pod"));
    assert_int_equal(question->origin.netns_cookie, keeper_net_cookie(fx.net));
    assert_int_equal(question->from.port, report->self.port);
}

void assert_answered(int fd, const struct ask *ask, enum way_to_read how)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char text[TEXT_MAX] = "";
    struct sockaddr_storage from = {0}, want;
    struct iovec data = {text, sizeof(text) - 1};
    struct msghdr message = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &data, .msg_iovlen = 1};
    socklen_t len = sizeof(from), want_len;

    assert_int_equal(poll(&wait, 1, SOON_MS), 1);
    if (how == RECVFROM) {
        assert_true(recvfrom(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&from, &len) > 0);
    } else if (how == RECVMSG) {
        assert_true(recvmsg(fd, &message, 0) > 0);
        len = message.msg_namelen;
    } else {
        assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
        return;
    }
    want_len = place(ask->family, text, ask->port, &want); /* as this family writes it */
    assert_int_equal(len, want_len);
    assert_memory_equal(&from, &want, len);
}
