#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"
#include "judged.h"
#include "sallyport.skel.h"

enum { DATA_RECORD = 23 }; /* RFC 8446, 5.1 */

struct spoken spoken[ABI_DIRECTIONS];
struct spoken_arrived arrived;
int (*spoken_prepare)(int fd);
int spoken_room;
struct backend *backend;
static struct ring_buffer *ring;
static uint64_t wanted;

static int on_said(void *arg, void *data, size_t size)
{
    const struct abi_said *said = data;
    struct spoken *to = &spoken[said->direction];

    (void)arg;
    assert_true(size >= offsetof(struct abi_said, bytes) + said->len);
    if (wanted && said->cookie != wanted)
        return 0;
    assert_true(to->len + said->len <= SPOKEN_MAX);
    memcpy(to->bytes + to->len, said->bytes, said->len);
    to->len += said->len;
    to->skipped += said->skipped;
    to->lost += said->lost;
    to->begins += said->flags & ABI_SAID_BEGINS ? 1 : 0;
    to->denied = said->kind == ABI_SAID_DENIED;
    to->before = said->before;
    to->flags |= said->flags;
    to->pid = said->pid;
    return 0;
}

void spoken_route(uint32_t flags)
{
    const uint32_t zero = 0;
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.route);

    assert_int_equal(bpf_map_update_elem(fd, &zero, &flags, BPF_ANY), 0);
}

void spoken_read(uint64_t cookie)
{
    wanted = cookie;
    for (int i = 0; i < ABI_DIRECTIONS; i++)
        memset((uint8_t *)&spoken[i] + sizeof(spoken[i].bytes), 0,
               sizeof(spoken[i]) - sizeof(spoken[i].bytes));
    assert_true(ring_buffer__consume(ring) >= 0);
}

/* ---- one who speaks, one who listens ---- */

/* Who listens answers at once and then reads to the end. */
struct listening {
    pthread_barrier_t begun;
    int server, fd;
    struct span answer;
    size_t len;
};

/* As recv(), but of what the kernel decrypts the data alone: who does not ask for the record's type
 * gets no other. */
static ssize_t receive_data(int fd, void *to, size_t room)
{
    char control[CMSG_SPACE(1)];
    struct iovec part = {to, room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    const struct cmsghdr *type;
    ssize_t n;

    do {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        n = recvmsg(fd, &message, 0);
        type = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    } while (type && *CMSG_DATA(type) != DATA_RECORD);
    return n;
}

static void *listen_to_it(void *arg)
{
    struct listening *listening = arg;
    int fd = accept_within(listening->server, SOON_MS);
    ssize_t n;

    listening->fd = fd;
    if (fd < 0 || (spoken_prepare && spoken_prepare(fd) < 0))
        return NULL;
    if (listening->answer.len)
        send_all(fd, listening->answer.data, listening->answer.len, listening->answer.len);
    while ((n = receive_data(fd, arrived.bytes + listening->len,
                             sizeof(arrived.bytes) - listening->len)) > 0)
        listening->len += (size_t)n;
    close(fd);
    return NULL;
}

static void *begin_to_listen(void *arg)
{
    struct listening *listening = arg;

    pthread_barrier_wait(&listening->begun);
    return listen_to_it(listening);
}

/* It has begun by then: while a thread begins it has locks of the heap, and a process that is
 * forked meanwhile would have them for ever. */
static void start_listening(pthread_t *thread, struct listening *listening)
{
    assert_int_equal(pthread_barrier_init(&listening->begun, NULL, 2), 0);
    assert_int_equal(pthread_create(thread, NULL, begin_to_listen, listening), 0);
    pthread_barrier_wait(&listening->begun);
    pthread_barrier_destroy(&listening->begun);
}

/* Whose other end has given up without a word. */
static void stop_listening(const struct listening *listening)
{
    shutdown(listening->fd, SHUT_RD);
}

struct speaking {
    int (*work)(int fd, const void *arg);
    const void *arg;
};

static void do_speak(const void *arg, struct report *report)
{
    const struct speaking *speaking = arg;
    socklen_t len = sizeof(report->cookie);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    report->code = connect_to(fd, AF_INET, "127.0.0.1", SPOKEN_PORT);
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
    if (report->code == 0)
        report->code = speaking->work(fd, speaking->arg);
    close(fd);
}

struct report speak(int (*work)(int fd, const void *arg), const void *arg, struct span answer)
{
    CLEANUP(fd_close)
    int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
    struct listening listening = {.server = server, .answer = answer};
    const struct speaking speaking = {.work = work, .arg = arg};
    struct report report;
    pthread_t thread;

    if (spoken_room)
        setsockopt(server, SOL_SOCKET, SO_RCVBUF, &spoken_room, sizeof(spoken_room));
    start_listening(&thread, &listening);
    bed_run(&fx.bed, "pod", fx.bed.pod, do_speak, &speaking, &report);
    if (report.code == -ETIMEDOUT)
        stop_listening(&listening);
    pthread_join(thread, NULL);
    arrived.len = listening.len;
    spoken_read(report.cookie);
    return report;
}

/* The same with the pod's program at the other end. */
struct serving {
    int ready; /* a pipe */
    struct span answer;
    bool defers; /* TCP_DEFER_ACCEPT */
};

static void do_serve(const void *arg, struct report *report)
{
    const struct serving *serving = arg;
    CLEANUP(fd_close)
    int server = serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
    struct listening listening = {.server = server, .answer = serving->answer};

    if (serving->defers)
        setsockopt(server, IPPROTO_TCP, TCP_DEFER_ACCEPT, &(int){5}, sizeof(int));
    report->code = write(serving->ready, "x", 1) == 1 ? 0 : -errno;
    listen_to_it(&listening);
}

static void *run_server(void *serving)
{
    struct report report;

    bed_run(&fx.bed, "pod", fx.bed.pod, do_serve, serving, &report);
    return NULL;
}

struct report speak_to_pod(int (*work)(int fd, const void *arg), const void *arg,
                           struct span answer, bool defers)
{
    const struct speaking speaking = {.work = work, .arg = arg};
    struct serving serving = {.answer = answer, .defers = defers};
    struct report report;
    int ready[2];
    pthread_t thread;
    char byte;

    assert_int_equal(pipe(ready), 0);
    serving.ready = ready[1];
    assert_int_equal(pthread_create(&thread, NULL, run_server, &serving), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    bed_run(&fx.bed, "stranger", fx.bed.pod, do_speak, &speaking, &report);
    pthread_join(thread, NULL);
    close(ready[0]);
    close(ready[1]);
    return report;
}

int send_all(int fd, const void *bytes, size_t len, size_t pieces)
{
    for (size_t at = 0; at < len;) {
        size_t n = len - at < pieces ? len - at : pieces;
        ssize_t sent = send(fd, (const char *)bytes + at, n, MSG_NOSIGNAL);

        if (sent < 0)
            return -errno;
        at += (size_t)sent;
    }
    return 0;
}

size_t write_large_head(void *into, size_t size, const char *begins, const char *ends)
{
    char *to = into;
    size_t len = (size_t)snprintf(to, size, "%s", begins);

    for (int i = 0; i < 100; i++) {
        len += (size_t)snprintf(to + len, size - len, "x-field-%d: ", i);
        memset(to + len, 'a' + i % 26, 8000);
        len += 8000;
        len += (size_t)snprintf(to + len, size - len, "\r\n");
    }
    return len + (size_t)snprintf(to + len, size - len, "%s\r\n", ends);
}

int wait_for_end(int fd)
{
    char byte;

    shutdown(fd, SHUT_WR);
    return recv(fd, &byte, 1, 0) < 0 ? -errno : 0;
}

/* ---- rules ---- */

void spoken_spell(const struct abi_spelling *spelling)
{
    struct abi_where where = {
        .bits = ABI_WHERE_BITS, .rules = RULES, .class = ELSEWHERE, .protocol = IPPROTO_TCP};

    put(policy_rules, &(uint32_t){RULES}, &(struct abi_rules){0});
    put_class(RULES, "::", 0, ELSEWHERE);
    put_verdict(RULES, ELSEWHERE, 0, IPPROTO_TCP, 0, 0);
    put(spells, &where, spelling);
    judge_pod_by(RULES);
}

/* ---- the group ---- */

void spoken_begin(void)
{
    assert_ok(backend_new(&backend, fx.keeper, fx.bed.cgroup_fd, true, &fx.err));
    if (backend_said(backend) < 0)
        fail_msg("%s", backend_why(backend));
    heard_init();
    ring = ring_buffer__new(backend_said(backend), on_said, NULL, NULL);
    assert_non_null(ring);
}

void spoken_end(void)
{
    heard_fini();
    ring_buffer__free(ring);
    backend_free(&backend);
}

int set_up_spoken(void **state)
{
    int code = set_up(state);

    spoken_begin();
    return code;
}

int take_down_spoken(void **state)
{
    spoken_end();
    return take_down(state);
}

int register_spoken(void **state)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    int code = register_loopback(state), fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods);
    struct abi_pod pod;

    assert_int_equal(bpf_map_lookup_elem(fd, &id, &pod), 0);
    pod.flags |= ABI_POD_KERNEL;
    assert_int_equal(bpf_map_update_elem(fd, &id, &pod, BPF_ANY), 0);
    heard_forget();
    return code;
}
