/* attempts: what becomes of a SYN that is held back, and that nothing is left of it. The network,
 * the keeper and the clock are ours here; that programs see what they should is seen in
 * tests/netns/failing_connects.sh. */
#include "proxy/doors/attempts.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "proxy/limits.h"
#include "tests/unit/doors/attempting.h"

static const struct {
    const char *family;
    struct span held;
    size_t label, tcp; /* places: what repetitions may have another of; the TCP header */
} packets[] = {
    {"IPv4",
     BYTES("\x45\x10\x00\x30\x00\x07\x40\x00\x40\x06\x21\xa4\xc0\x00\x02\x02\xc0\x00\x02\x02"
           "\x9c\x40\xaf\xc8\x00\x01\xff\xff\x00\x00\x00\x00\x70\x02\xfa\xf0\xbe\xef\x00\x00"
           "\x02\x04\x05\xb4\x04\x02\x01\x01"),
     5, 20},
    {"IPv6",
     BYTES("\x60\x01\x23\x45\x00\x1c\x06\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00"
           "\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
           "\x9c\x40\xaf\xc8\x00\x01\xff\xff\x00\x00\x00\x00\x70\x02\xfa\xf0\xbe\xef\x00\x00"
           "\x02\x04\x05\xb4\x04\x02\x01\x01"),
     3, 40},
};

static struct event_base *base;
static struct limits limits;
static struct attempts *attempts;
static uint64_t whose; /* pod the SYNs are of */

/* ---- helpers ------------------------------------------------------------------------------------
 */

static unsigned open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct origin as_filed(uint64_t cookie)
{
    return (struct origin){.cookie = cookie, .src = held.src};
}

static void all_is_told(void)
{
    attempts_on_record(attempts, NULL);
}

static void tell_held(size_t family, uint64_t cookie, size_t changed_at)
{
    struct abi_syn record = {
        .kind = ABI_SYN_HELD,
        .len = (uint32_t)packets[family].held.len,
        .origin = {.cookie = cookie, .netns_cookie = NETNS, .port = 443, .pod = whose}};

    memcpy(record.packet, packets[family].held.data, record.len);
    if (changed_at)
        record.packet[changed_at] ^= 1;
    assert_true(syn_parse(span_of(record.packet, record.len), &held));
    attempts_on_record(attempts, &record);
}

static void hold(size_t family, uint64_t cookie, size_t changed_at)
{
    tell_held(family, cookie, changed_at);
    all_is_told();
}

static void say_gone(void)
{
    const struct abi_syn record = {.kind = ABI_SYN_GONE, .origin = {.cookie = COOKIE}};

    attempts_on_record(attempts, &record);
}

static void say_nonsense(size_t family)
{
    struct abi_syn record = {.kind = ABI_SYN_HELD, .len = ABI_SYN_MAX + 1};

    memcpy(record.packet, packets[family].held.data, packets[family].held.len);
    attempts_on_record(attempts, &record);
    record.len = 39;
    attempts_on_record(attempts, &record);
}

static void answer(void)
{
    char read_away[4096];

    while (read(far_end, read_away, sizeof(read_away)) > 0)
        ;
    assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

/* Its share of the limits comes with it. */
static void take(uint16_t port_change)
{
    struct origin origin = as_filed(COOKIE);
    uint64_t admitted = atomic_load(&limits.connections);
    int fd;

    origin.src.port ^= port_change;
    fd = attempts_take(attempts, &origin, NULL);
    append(fd < 0 ? "none" : "taken");
    assert_int_equal(atomic_load(&limits.connections), admitted);
    if (fd < 0)
        return;
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
    limits_leave(&limits, NULL);
}

static void make_attempts(unsigned room)
{
    /* half of so few files is put aside */
    const struct limits_machine machine = {
        .files = room ? 2ull * room * LIMITS_FLOW_FILES : UINT64_MAX, .memory = UINT64_MAX};
    const struct attempts_parts parts = {.base = base, .limits = &limits};
    struct err err = {0};

    seen[0] = 0;
    sockets_made = 0;
    limits_init(&limits, &machine);
    assert_int_equal(attempts_new(&attempts, &parts, &err), 0);
}

static void expect_nothing_left(unsigned files)
{
    attempts_free(&attempts);
    fd_close(&far_end);
    for (size_t i = 0; i < LIMIT_MAX; i++)
        assert_int_equal(atomic_load(&limits.used[i]), 0);
    assert_int_equal(atomic_load(&limits.connections), 0);
    assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    assert_int_equal(open_files(), files);
}

static void happen(enum step step, size_t family)
{
    size_t label = packets[family].label, tcp = packets[family].tcp;

    switch (step) {
    case SYN:
        hold(family, COOKIE, 0);
        break;
    case AGAIN:
        hold(family, COOKIE, label);
        break;
    case OTHER:
        hold(family, COOKIE, tcp + 1);
        break;
    case RENEWED:
        hold(family, COOKIE, tcp + 7);
        break;
    case SECOND:
        hold(family, SECOND_COOKIE, tcp + 1);
        break;
    case NONSENSE:
        say_nonsense(family);
        break;
    case ANSWER:
        answer();
        break;
    case PASS:
        assert_true(event_base_dispatch(base) >= 0);
        break;
    case GONE:
        say_gone();
        break;
    case TAKE_IT:
    case TAKE_OTHER:
        take(step == TAKE_OTHER);
        break;
    case LEAVE:
        gone = true;
        break;
    case END:
        break;
    }
}

static void play(const struct scenario *scenario, size_t family)
{
    static const struct scenario none = {.name = "none"};
    unsigned files = open_files();

    print_message("  %s: %s\n", packets[family].family, scenario->name);
    gone = false;
    make_attempts(scenario->room);
    now = scenario;
    for (size_t i = 0; i < ARRAY_SIZE(now->steps) && now->steps[i]; i++) {
        hurry =
            now->steps[i] == PASS || (i + 1 < ARRAY_SIZE(now->steps) && now->steps[i + 1] == PASS);
        happen(now->steps[i], family);
    }
    hurry = false;
    assert_string_equal(seen, now->seen);
    assert_int_equal(now->denied && sockets_made, false);
    assert_int_equal(atomic_load(&limits.connections), now->admitted);
    fd_close(&far_end);
    assert_int_equal(open_files(), files + now->open);
    expect_nothing_left(files);
    now = &none;
}

/* ---- the tests ----------------------------------------------------------------------------------
 */

#define EIGHT(x) x " " x " " x " " x " " x " " x " " x " " x

static const struct scenario scenarios[] = {
    {"nothing answers yet", {SYN, AGAIN, AGAIN}, .seen = "", .admitted = 1, .open = 1},
    {"it never does", {SYN, PASS}, .seen = ""},
    {"connected", {SYN, ANSWER}, .seen = "syn", .admitted = 1, .open = 1},
    {"... and accepted", {SYN, ANSWER, TAKE_IT, TAKE_IT}, .seen = "syn taken none"},
    {"... the kernel's word that it is gone comes late",
     {SYN, ANSWER, TAKE_IT, GONE},
     .seen = "syn taken"},
    {"... the SYN was lost once more, and is sent on as it is now",
     {SYN, ANSWER, AGAIN, AGAIN, TAKE_IT},
     .seen = "syn syn syn taken"},
    {"... but what is accepted comes from another port",
     {SYN, ANSWER, TAKE_OTHER},
     .seen = "syn none",
     .admitted = 1,
     .open = 1},
    {"... and never accepted", {SYN, ANSWER, PASS, TAKE_IT}, .seen = "syn none"},
    {"... and the namespace has left", {SYN, LEAVE, ANSWER}, .seen = "", .admitted = 1, .open = 1},
    {"accepted before it is known", {SYN, TAKE_IT}, .seen = "taken"},
    {"refused", {SYN, ANSWER}, .later = ECONNREFUSED, .seen = "told rst"},
    {"refused, told again until the socket is gone",
     {SYN, ANSWER, PASS},
     .later = ECONNREFUSED,
     .seen = "told " EIGHT("rst")},
    {"refused, and the socket is gone",
     {SYN, ANSWER, GONE, PASS},
     .later = ECONNREFUSED,
     .seen = "told rst"},
    {"refused, the SYN is repeated meanwhile",
     {SYN, ANSWER, AGAIN},
     .later = ECONNREFUSED,
     .seen = "told rst"},
    {"refused, but accepted",
     {SYN, ANSWER, TAKE_IT},
     .later = ECONNREFUSED,
     .seen = "told rst none"},
    {"refused at once", {SYN, GONE}, .at_once = -ECONNREFUSED, .seen = "told rst"},
    {"refused, and tried again by the same socket",
     {SYN, OTHER, GONE},
     .at_once = -ECONNREFUSED,
     .seen = "told rst told rst"},
    {"unreachable", {SYN, ANSWER, GONE}, .later = EHOSTUNREACH, .seen = "told icmp"},
    {"unreachable at once, told again",
     {SYN, PASS},
     .at_once = -ENETUNREACH,
     .seen = "told " EIGHT("icmp")},
    {"timed out", {SYN, ANSWER, TAKE_IT}, .later = ETIMEDOUT, .seen = "none"},
    {"out of ports: the next SYN may fare better",
     {SYN, AGAIN},
     .at_once = -EADDRNOTAVAIL,
     .seen = ""},
    {"gone while connecting", {SYN, GONE, TAKE_IT}, .seen = "none"},
    {"gone when connected", {SYN, ANSWER, GONE, TAKE_IT}, .seen = "syn none"},
    {"gone, unheard of", {GONE}, .seen = ""},
    {"the same socket from another port", {SYN, OTHER}, .seen = "", .admitted = 1, .open = 1},
    {"... when the first was connected",
     {SYN, ANSWER, OTHER, ANSWER, TAKE_IT},
     .seen = "syn syn taken"},
    {"the same port, another connection",
     {SYN, ANSWER, RENEWED},
     .seen = "syn",
     .admitted = 1,
     .open = 1},
    {"two sockets", {SYN, SECOND, GONE}, .seen = "", .admitted = 1, .open = 1},
    {"no SYN at all", {NONSENSE}, .seen = ""},
    {"the limit is used up: let in",
     {SYN, SECOND, SECOND},
     .room = 1,
     .seen = "syn syn",
     .admitted = 1,
     .open = 1},
    {"... and there is room again",
     {SYN, SECOND, GONE, SECOND},
     .room = 1,
     .seen = "syn",
     .admitted = 1,
     .open = 1},
    {"policies do not let it go there: let in, and nothing leaves",
     {SYN, AGAIN, TAKE_IT},
     .denied = true,
     .seen = "syn syn none"},
    {"no descriptor: let in", {SYN, AGAIN, TAKE_IT}, .no_socket = -EMFILE, .seen = "syn syn none"},
    {"no memory: let in", {SYN, AGAIN}, .no_memory = true, .seen = "syn syn"},
    {"nobody to wait for it", {SYN, AGAIN}, .no_timer = true, .seen = ""},
    {"nobody to tell it again",
     {SYN},
     .no_timer = true,
     .at_once = -ECONNREFUSED,
     .seen = "told rst"},
};

static void each_scenario(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
        for (size_t family = 0; family < ARRAY_SIZE(packets); family++)
            play(&scenarios[i], family);
}

/* Nothing is dialled for a program that has given up before it was heard of; for others once. */
static void who_has_given_up_already_is_not_dialled_for(void **state)
{
    static const struct scenario busy = {.name = "a busy machine"};
    unsigned files = open_files();

    (void)state;
    gone = false;
    now = &busy;
    over = true;
    make_attempts(0);
    tell_held(0, COOKIE - 1, 0);
    for (int i = 0; i < 3; i++) {
        tell_held(0, COOKIE, 0);
        say_gone();
    }
    tell_held(0, COOKIE, 0);
    tell_held(0, COOKIE, packets[0].label);
    assert_int_equal(sockets_made, 0);
    assert_int_equal(attempts_open(attempts), 2);
    all_is_told();
    assert_int_equal(sockets_made, 2);
    assert_int_equal(attempts_open(attempts), 2);
    all_is_told();
    assert_int_equal(sockets_made, 2);
    tell_held(0, COOKIE + 1, 0); /* nor is it at the end */
    assert_string_equal(seen, "");
    expect_nothing_left(files);
    over = false;
}

/* More than the table holds go to the listener, and there is room again when one has gone. */
static void a_full_table_lets_in(void **state)
{
    static const struct scenario full = {.name = "a full table"};
    unsigned files = open_files();

    (void)state;
    gone = false;
    now = &full;
    over = true;
    make_attempts(0);
    for (uint64_t i = 0; i < ATTEMPTS_MAX; i++)
        hold(0, COOKIE + i, 0);
    assert_string_equal(seen, "");
    hold(0, COOKIE - 1, 0);
    assert_string_equal(seen, "syn");
    assert_int_equal(atomic_load(&limits.connections), ATTEMPTS_MAX);
    say_gone();
    hold(0, COOKIE - 1, 0);
    assert_string_equal(seen, "syn");
    assert_int_equal(sockets_made, ATTEMPTS_MAX + 1);
    expect_nothing_left(files);
    over = false;
}

/* For the next agent, which accepts, would dial once more. */
static void who_retires_lets_in(void **state)
{
    static const struct scenario retired = {.name = "retired"};
    unsigned files = open_files();

    (void)state;
    gone = false;
    now = &retired;
    make_attempts(0);
    attempts_retire(attempts);
    hold(0, COOKIE, 0);
    assert_string_equal(seen, "syn");
    assert_int_equal(sockets_made, 0);
    expect_nothing_left(files);
}

/* Of two pods one leaves the other a fifth of the table. */
static void a_pod_leaves_room_to_others(void **state)
{
    static const struct scenario full = {.name = "two pods"};
    unsigned files = open_files();
    uint64_t cookie = COOKIE;

    (void)state;
    gone = false;
    now = &full;
    over = true;
    pods_registered = 2;
    make_attempts(0);
    for (whose = 1; !seen[0]; cookie++)
        hold(0, cookie, 0);
    assert_int_equal(atomic_load(&pod_of[1].attempts), ATTEMPTS_MAX * 4 / 5 + 1);
    seen[0] = 0;
    for (whose = 2; !seen[0]; cookie++)
        hold(0, cookie, 0);
    assert_in_range(atomic_load(&pod_of[2].attempts), 2600, 2700);
    assert_true(attempts_are_in(attempts, NETNS));
    assert_false(attempts_are_in(attempts, NETNS + 1));
    whose = 0;
    pods_registered = 0;
    expect_nothing_left(files);
    assert_int_equal(atomic_load(&pod_of[1].attempts) + atomic_load(&pod_of[2].attempts), 0);
    assert_int_equal(atomic_load(&pod_of[1].refs), 1);
    over = false;
}

/* A socket of the kernel's own: what its errors and its TCP_INFO say. */
static void by_tcp(void **state)
{
    static const struct {
        const char *name;
        bool listens, resets;
        const char *seen;
    } servers[] = {
        {"listens", true, false, "syn taken"},
        {"does not", false, false, "told rst none"},
        {"answers, and resets at once: the flow finds that", true, true, "syn taken"},
    };
    static const struct scenario refused = {.name = "by TCP", .later = ECONNREFUSED};
    static const struct linger reset = {.l_onoff = 1};

    (void)state;
    gone = false;
    now = &refused;
    for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t at_len = sizeof(at);
        unsigned files = open_files();
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer = -1;

        print_message("  %s\n", servers[i].name);
        assert_int_equal(bind(listener, (struct sockaddr *)&at, at_len), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &at_len), 0);
        if (servers[i].listens)
            assert_int_equal(listen(listener, 1), 0);
        server = &at;
        make_attempts(0);
        hold(0, COOKIE, 0);
        if (servers[i].listens)
            peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (servers[i].resets) {
            setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            fd_close(&peer);
        }
        if (!seen[0])
            assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
        take(0);
        assert_string_equal(seen, servers[i].seen);
        fd_close(&peer);
        close(listener);
        server = NULL;
        expect_nothing_left(files);
    }
}

static void syns_are_held_while_we_are_there_to_send_them(void **state)
{
    static const struct scenario waking = {.name = "awake"};
    unsigned files = open_files();
    uint64_t first;

    (void)state;
    now = &waking;
    held_until = 1;
    make_attempts(0);
    assert_int_equal(held_until, 1); /* without CAP_NET_RAW */
    expect_nothing_left(files);
    assert_int_equal(held_until, 0);
    may_send = true;
    hurry = true;
    make_attempts(0);
    first = held_until;
    assert_true(first > clock_read_ns(CLOCK_BOOTTIME));
    assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_true(held_until > first);
    hurry = false;
    may_send = false;
    expect_nothing_left(files);
    assert_int_equal(held_until, 0);
}

static int begin(void **state)
{
    static const struct scenario none = {.name = "none"};

    (void)state;
    now = &none;
    base = event_base_new();
    return base ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    event_base_free(base);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_scenario),
        cmocka_unit_test(who_has_given_up_already_is_not_dialled_for),
        cmocka_unit_test(a_full_table_lets_in),
        cmocka_unit_test(who_retires_lets_in),
        cmocka_unit_test(a_pod_leaves_room_to_others),
        cmocka_unit_test(by_tcp),
        cmocka_unit_test(syns_are_held_while_we_are_there_to_send_them),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
