/* attempts: what becomes of a SYN that is held back, and that nothing is left of it. The network,
 * the keeper and the clock are ours here; that programs see what they should is seen in
 * tests/netns/failing_connects.sh. */
#include "tests/unit/doors/attempts_bed.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_scenario),
        cmocka_unit_test(by_tcp),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
