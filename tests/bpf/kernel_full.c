/* kernel_full: what there is no room for is counted or goes to the proxy; nothing hangs, and
 * nothing that must be heard goes unheard. */
#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"
#include "ktls_keys.h"
#include "sallyport.skel.h"

static const char get[] = "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
static const char post[] =
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 500000\r\n\r\n";

/* ---- the ring ---- */

enum { HEADS = 12, SMALL = 400 }; /* which fill what no large piece fits into: 16 kB and more */

static uint8_t large[1 << 20];
static size_t large_len;
static int full_pipe[2], read_pipe[2];
static struct spoken first; /* what there was room for; without bytes */

static void write_head(void)
{
    large_len = (size_t)snprintf((char *)large, sizeof(large), "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 100; i++) {
        large_len += (size_t)snprintf((char *)large + large_len, 32, "x-field-%d: ", i);
        memset(large + large_len, 'a', 8000);
        memcpy(large + large_len + 8000, "\r\n", 2);
        large_len += 8002;
    }
    memcpy(large + large_len, "\r\n", 2);
    large_len += 2;
}

/* More than the ring takes; and once it was read, another one. With a body: of which the head finds
 * not even the room that is left by what is larger. */
static int fill_ring(int fd, const void *body)
{
    const char *then = body ? body : get;
    int code = 0;
    char byte = 'x';

    for (int i = 0; i < HEADS && code == 0; i++)
        code = send_all(fd, large, large_len, large_len);
    for (int i = 0; i < SMALL && body && code == 0; i++)
        code =
            send_all(fd, i < SMALL - 1 ? get : post, strlen(i < SMALL - 1 ? get : post), SIZE_MAX);
    if (write(full_pipe[1], &byte, 1) != 1 || read(read_pipe[0], &byte, 1) != 1)
        return -EPIPE;
    return code == 0 ? send_all(fd, then, strlen(then), SIZE_MAX) : code;
}

static void *read_ring(void *arg)
{
    char byte;

    (void)arg;
    if (read(full_pipe[0], &byte, 1) != 1)
        return NULL;
    spoken_read(0);
    first.len = spoken[ABI_TX].len;
    first.lost = spoken[ABI_TX].lost;
    return write(read_pipe[1], &byte, 1) == 1 ? arg : NULL;
}

static void fills_ring(const char *body)
{
    struct report report;
    pthread_t thread;

    write_head();
    assert_int_equal(pipe(full_pipe), 0);
    assert_int_equal(pipe(read_pipe), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_ring, NULL), 0);
    report = speak(fill_ring, body, (struct span){0});
    pthread_join(thread, NULL);
    assert_int_equal(report.code, 0);
    for (int i = 0; i < 2; i++) {
        close(full_pipe[i]);
        close(read_pipe[i]);
    }
}

static void what_finds_the_ring_full_is_counted(void **state)
{
    (void)state;
    fills_ring(NULL);
    assert_int_equal(arrived.len, HEADS * large_len + strlen(get));
    assert_in_range(first.len, 4 << 20, 8 << 20);
    assert_true(first.lost + spoken[ABI_TX].lost > 0); /* a small piece may have told it */
    assert_int_equal(spoken[ABI_TX].len, strlen(get));
    assert_memory_equal(spoken[ABI_TX].bytes, get, strlen(get));
    assert_int_equal(first.len + first.lost + spoken[ABI_TX].len + spoken[ABI_TX].lost,
                     arrived.len);
}

static void nor_is_its_body_of_interest(void **state)
{
    (void)state;
    fills_ring("hello");
    assert_int_equal(spoken[ABI_TX].len, 0);
    assert_int_equal(spoken[ABI_TX].skipped, strlen("hello"));
    assert_in_range(spoken[ABI_TX].lost, strlen(post), 8 << 20);
    assert_int_equal(first.len + first.lost + spoken[ABI_TX].lost + strlen("hello"), arrived.len);
}

static int fill_ring_alone(int fd, const void *unused)
{
    int code = 0;

    (void)unused;
    for (int i = 0; i < HEADS && code == 0; i++)
        code = send_all(fd, large, large_len, large_len);
    for (int i = 0; i < SMALL && code == 0; i++)
        code = send_all(fd, get, strlen(get), SIZE_MAX);
    return code;
}

/* Nothing comes behind it by which it could be told: so its end tells it. */
static void so_is_what_a_connection_ends_with(void **state)
{
    const struct abi_socket *closed;
    struct report report;

    (void)state;
    write_head();
    report = speak(fill_ring_alone, NULL, (struct span){0});
    assert_int_equal(report.code, 0);
    closed = heard_one(ABI_SOCKET_CLOSE, report.cookie);
    assert_true(closed->lost[ABI_TX] >= strlen(get));
    assert_int_equal(closed->lost[ABI_RX], 0);
    assert_int_equal(spoken[ABI_TX].len + spoken[ABI_TX].lost + closed->lost[ABI_TX], arrived.len);
}

/* ---- what is denied while it is full ---- */

#define ONLY_THESE                                                                                 \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec:\n"               \
    "  route: kernel\n  egress:\n  - toEntities: [all]\n"                                          \
    "    toPorts:\n    - rules: {http: [{path: /}, {path: /a}]}\n"

static int say_get(int fd, const void *arg)
{
    (void)arg;
    return send_all(fd, get, strlen(get), SIZE_MAX);
}

static int say_denied(int fd, const void *unused)
{
    const char denied[] = "GET /none HTTP/1.1\r\nHost: a.example.com\r\n\r\n";

    (void)unused;
    return send_all(fd, denied, strlen(denied), SIZE_MAX);
}

static int fill_ring_and_say_denied(int fd, const void *unused)
{
    int code = fill_ring_alone(fd, unused);

    return code == 0 ? say_denied(fd, unused) : code;
}

static uint64_t untold_before;

/* What is urgent does not leave, which its send does not show. Its end is what the other end waits
 * for. */
static int fill_ring_and_say_urgently(int fd, const void *unused)
{
    int code = fill_ring_alone(fd, unused);

    if (code == 0 && send(fd, get, strlen(get), MSG_OOB | MSG_NOSIGNAL) < 0)
        code = -errno;
    for (int i = 0; i < 10 * SOON_MS && code == 0 && backend_untold(backend) == untold_before; i++)
        poll(NULL, 0, 1);
    return code < 0 ? code : -ETIMEDOUT;
}

static void assert_denied(int (*work)(int fd, const void *arg), int code, uint64_t untold)
{
    const struct abi_socket *closed;
    struct report report;

    write_head();
    use_policy(ONLY_THESE);
    untold_before = backend_untold(backend);
    report = speak(work, NULL, (struct span){0});
    assert_int_equal(report.code, code);
    closed = heard_one(ABI_SOCKET_CLOSE, report.cookie);
    assert_int_equal(closed->untold, untold);
    assert_int_equal(backend_untold(backend) - untold_before, untold);
    assert_int_equal(spoken[ABI_TX].denied, !untold);
}

static void what_was_denied_is_counted_by_its_end(void **state)
{
    (void)state;
    assert_denied(fill_ring_and_say_denied, -EACCES, 1);
}

static void also_what_was_as_it_left(void **state)
{
    (void)state;
    assert_denied(fill_ring_and_say_urgently, -ETIMEDOUT, 1);
}

/* Where an LSM program refuses it, the connection goes on. */
static int fill_ring_by_ktls(int fd, const void *unused)
{
    bool by_lsm = strcmp(backend_name(backend), "lsm") == 0;
    int code = start_tls(fd);

    if (code == 0)
        code = fill_ring_alone(fd, unused);
    for (int i = 0; i < 2 && code == 0; i++)
        code = say_denied(fd, unused) == (by_lsm ? -EPERM : -EACCES) ? 0 : -EEXIST;
    return code == 0 && by_lsm ? say_get(fd, unused) : code;
}

static void what_was_denied_to_who_lets_the_kernel_encrypt(void **state)
{
    (void)state;
    if (!kernel_has_tls())
        skip();
    spoken_prepare = answer_tls;
    assert_denied(fill_ring_by_ktls, 0, strcmp(backend_name(backend), "lsm") == 0 ? 2 : 1);
    spoken_prepare = NULL;
}

static void where_there_is_room_it_is_told(void **state)
{
    (void)state;
    assert_denied(say_denied, -EACCES, 0);
}

/* ---- the sockhash ---- */

static void set_count(enum abi_route_count which, uint64_t count)
{
    uint32_t key = which;
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.route_counts);

    assert_int_equal(bpf_map_update_elem(fd, &key, &count, BPF_ANY), 0);
}

static uint64_t count_of(enum abi_route_count which)
{
    uint32_t key = which;
    uint64_t count;
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.route_counts);

    assert_int_equal(bpf_map_lookup_elem(fd, &key, &count), 0);
    return count;
}

static void who_was_heard_is_not_counted_any_more(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(speak(say_get, NULL, (struct span){0}).code, 0);
    assert_int_equal(count_of(ABI_ROUTE_ENROLLED), 0);
    assert_int_equal(count_of(ABI_ROUTE_UNHEARD), 0);
}

static void who_finds_no_place_goes_to_the_proxy(void **state)
{
    struct dial dial = {.family = AF_INET, .to = "198.51.100.1", .port = 80};
    struct report report;
    struct origin origin;

    (void)state;
    set_count(ABI_ROUTE_ENROLLED, ABI_ENROLLED_MAX);
    report = dial_from_pod(dial);
    assert_steered(&dial, &report, &origin);
    set_count(ABI_ROUTE_ENROLLED, 0);
}

/* In many places the same socket: the program must not be there, which wants it only once. But not
 * in all: the kernel looks for each place by walking over a socket's. */
enum { SOCKETS = 256 };

static uint64_t place_of(uint64_t i)
{
    return 1ull << 63 | i;
}

/* How many there are. */
static uint64_t fill_places(int sockets[SOCKETS][2])
{
    int map = bpf_map__fd(keeper_bpf(fx.keeper)->maps.enrolled), code;
    uint64_t i = 0, value;

    do {
        value = (uint64_t)sockets[i % SOCKETS][0];
        code = bpf_map_update_elem(map, &(uint64_t){place_of(i)}, &value, BPF_NOEXIST);
        i += code == 0;
    } while (code == 0);
    assert_int_equal(code, -E2BIG);
    return i;
}

static void free_places(uint64_t places)
{
    int map = bpf_map__fd(keeper_bpf(fx.keeper)->maps.enrolled);

    while (places--)
        assert_int_equal(bpf_map_delete_elem(map, &(uint64_t){place_of(places)}), 0);
}

/* It is over soon. */
static int say_and_wait(int fd, const void *arg)
{
    int code = say_get(fd, arg);

    return code < 0 ? code : wait_for_end(fd);
}

static struct report speak_without_place(void)
{
    uint64_t before = count_of(ABI_ROUTE_UNHEARD), places;
    int sockets[SOCKETS][2];
    struct report report;

    for (int i = 0; i < SOCKETS; i++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets[i]), 0);
    backend_free(&backend);
    places = fill_places(sockets);
    assert_ok(backend_new(&backend, fx.keeper, fx.bed.cgroup_fd, true, &fx.err));
    report = speak(say_and_wait, NULL, (struct span){0});
    assert_int_equal(backend_unheard(backend), before + 1);
    free_places(places);
    for (int i = 0; i < SOCKETS; i++) {
        close(sockets[i][0]);
        close(sockets[i][1]);
    }
    return report;
}

static void assert_said_nothing(const struct report *report)
{
    const struct abi_socket *record;

    assert_int_equal(report->code, -ETIMEDOUT);
    assert_int_equal(arrived.len, 0);
    record = heard_one(ABI_SOCKET_DENIED, report->cookie);
    assert_int_equal(record->flags, ABI_SOCKET_UNSEEN);
}

static void who_cannot_be_heard_says_nothing(void **state)
{
    struct report report = speak_without_place();

    (void)state;
    assert_said_nothing(&report);
}

/* What may go while there is no agent. */
static void open_pod(void)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods);
    struct abi_pod pod;

    assert_int_equal(bpf_map_lookup_elem(fd, &id, &pod), 0);
    pod.flags |= ABI_POD_OPEN;
    assert_int_equal(bpf_map_update_elem(fd, &id, &pod, BPF_ANY), 0);
}

static void of_an_open_pod_it_speaks(void **state)
{
    struct report report;

    (void)state;
    open_pod();
    report = speak_without_place();
    assert_int_equal(arrived.len, strlen(get));
    assert_int_equal(heard_count(ABI_SOCKET_DENIED, report.cookie), 0);
}

/* For it is the pod that says what room there is on its sockets. */
static void but_not_where_rules_judge_it(void **state)
{
    const struct abi_spelling spelling = {.flags = ABI_SPELL_JUDGED};
    struct report report;

    (void)state;
    open_pod();
    spoken_spell(&spelling);
    report = speak_without_place();
    assert_said_nothing(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(what_finds_the_ring_full_is_counted),
        spoken_test(nor_is_its_body_of_interest),
        spoken_test(so_is_what_a_connection_ends_with),
        spoken_test(what_was_denied_is_counted_by_its_end),
        spoken_test(also_what_was_as_it_left),
        spoken_test(what_was_denied_to_who_lets_the_kernel_encrypt),
        spoken_test(where_there_is_room_it_is_told),
        spoken_test(who_was_heard_is_not_counted_any_more),
        spoken_test(who_finds_no_place_goes_to_the_proxy),
        spoken_test(who_cannot_be_heard_says_nothing),
        spoken_test(of_an_open_pod_it_speaks),
        spoken_test(but_not_where_rules_judge_it),
    };

    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
