/* fd_store: names that systemd keeps descriptors under, and which of what it passes is taken. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/keeper/fd_store.h"

static const struct {
    uint64_t cookie;
    unsigned int part;
    const char *name;
} names[] = {
    {1, 0, "1A"},
    {0x1f0a, 3, "1f0aD"},
    {0x10, FD_STORE_NETNS, "10O"},
    {UINT64_MAX, 13, "ffffffffffffffffN"},
};

static void names_whose_and_what(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char name[FD_STORE_NAME_MAX];
        uint64_t cookie = 0;
        unsigned int part = 99;

        fd_store_name(name, names[i].cookie, names[i].part);
        assert_string_equal(name, names[i].name);
        assert_true(fd_store_parse(span_of_text(name), &cookie, &part));
        assert_true(cookie == names[i].cookie);
        assert_int_equal(part, names[i].part);
    }
}

static const char *const foreign[] = {
    "",
    "A",
    "0A",
    "01A",
    "1",
    "1a",
    "1P",
    "1fA2",
    "FA",
    "-1A",
    " 1A",
    "1A ",
    "0x1A",
    "connection",
    "stored",
    "1@",
    "1fffffffffffffffffA",
};

static void knows_what_is_not_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
        uint64_t cookie;
        unsigned int part;

        if (fd_store_parse(span_of_text(foreign[i]), &cookie, &part))
            fail_msg("taken: %s", foreign[i]);
    }
}

/* ---- what is passed ---- */

struct place {
    struct listeners listeners;
    uint64_t cookie;
    int fds[FD_STORE_PARTS]; /* borrowed, but for the namespace */
};

static void place_fini(struct place *place)
{
    listeners_fini(&place->listeners);
    fd_close(&place->fds[FD_STORE_NETNS]);
}

/* As in a pod's namespace, in our own. */
static void place_open(struct place *out)
{
    int *places[KEEPER_WIRE_LISTENERS];
    socklen_t len = sizeof(out->cookie);

    listeners_init(&out->listeners);
    assert_int_equal(listeners_open(&out->listeners), 0);
    keeper_wire_listeners(&out->listeners, places);
    for (size_t i = 0; i < KEEPER_WIRE_LISTENERS; i++)
        out->fds[i] = *places[i];
    assert_int_equal(getsockopt(out->fds[0], SOL_SOCKET, SO_NETNS_COOKIE, &out->cookie, &len), 0);
    out->fds[FD_STORE_NETNS] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* Only who may do so can ask a socket for its namespace. */
static bool may_ask(void)
{
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CLEANUP(fd_close) int home = ioctl(fd, SIOCGSKNS);

    return home >= 0;
}

static const struct {
    const char *name;
    unsigned int part; /* is given what is at `instead`: FD_STORE_PARTS: nothing */
    unsigned int instead;
    bool whole;
} sets[] = {
    {"all of it", 0, 0, true},
    {"without IPv6", 1, FD_STORE_PARTS, true},
    {"without raw sockets", KEEPER_WIRE_LISTENERS - 2, FD_STORE_PARTS, true},
    {"without the namespace", FD_STORE_NETNS, FD_STORE_PARTS, false},
    {"a socket for a namespace", FD_STORE_NETNS, 0, false},
    {"without a listener", 0, FD_STORE_PARTS, false},
    {"without one of the datagrams'", 8, FD_STORE_PARTS, false},
    {"a listener for datagrams", 2, 0, false},
    {"datagrams for a listener", 0, 2, false},
    {"of the other family", 0, 1, false},
    {"of another port", 3, 5, false},
    {"the namespace for a listener", 0, FD_STORE_NETNS, false},
    {"a raw one of another protocol", KEEPER_WIRE_LISTENERS - 4, KEEPER_WIRE_LISTENERS - 2, false},
};

static void takes_what_is_whole(void **state)
{
    CLEANUP(place_fini) struct place place;

    (void)state;
    place_open(&place);
    if (!may_ask() || place.fds[1] < 0 || place.fds[KEEPER_WIRE_LISTENERS - 1] < 0)
        skip();
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        struct listeners got;
        int fds[FD_STORE_PARTS];

        memcpy(fds, place.fds, sizeof(fds));
        fds[sets[i].part] = sets[i].instead == FD_STORE_PARTS ? -1 : place.fds[sets[i].instead];
        if (fd_store_is_whole(place.cookie, fds, &got) != sets[i].whole)
            fail_msg("%s", sets[i].name);
        if (sets[i].whole) {
            assert_int_equal(got.stream.port, place.listeners.stream.port);
            assert_int_equal(got.datagram[3].port, place.listeners.datagram[3].port);
        }
        assert_false(fd_store_is_whole(place.cookie + 1, fds, &got));
    }
}

static int count_given(void *arg, uint64_t cookie, int netns_fd, const struct listeners *listeners)
{
    (void)cookie;
    if (netns_fd >= 3 && listeners->stream.v4 >= 3)
        ++*(int *)arg;
    return 0;
}

/* In a process of its own, whose descriptors from 3 on are those of the place, and one too many. */
static int take_passed(const struct place *place, const char *pid)
{
    CLEANUP(fd_store_free) struct fd_store_kept *kept = NULL;
    char list[1024] = "", count[16], name[FD_STORE_NAME_MAX];
    int high[FD_STORE_PARTS + 1], given = 0;

    for (unsigned int i = 0; i <= FD_STORE_PARTS; i++) {
        fd_store_name(name, place->cookie, i);
        high[i] = fcntl(i < FD_STORE_PARTS ? place->fds[i] : 0, F_DUPFD, 100);
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ":" : "",
                 i < FD_STORE_PARTS ? name : "rubbish");
    }
    for (int i = 0; i <= FD_STORE_PARTS; i++)
        dup2(high[i], 3 + i);
    snprintf(count, sizeof(count), "%d", FD_STORE_PARTS + 1);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", list, 1);
    kept = fd_store_take();
    if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
        return 100;
    if (kept && (fcntl(3, F_GETFD) != FD_CLOEXEC || fcntl(3 + FD_STORE_PARTS, F_GETFD) >= 0))
        return 101;
    fd_store_give(kept, count_given, &given);
    setenv("SYSTEMD_EXEC_PID", pid, 1);
    if (kept && (fd_store_lacks(kept, place->cookie) || !fd_store_lacks(kept, place->cookie + 1)))
        return 102;
    fd_store_free(&kept);
    return fcntl(3, F_GETFD) >= 0 ? 10 + given : given;
}

static void takes_what_is_passed_to_it(void **state)
{
    CLEANUP(place_fini) struct place place;

    (void)state;
    place_open(&place);
    if (!may_ask())
        skip();
    for (int ours = 0; ours < 2; ours++) {
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
            char pid[16];

            snprintf(pid, sizeof(pid), "%d", ours ? getpid() : getppid());
            _exit(take_passed(&place, pid));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), ours ? 1 : 10); /* another's are left alone */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_whose_and_what),
        cmocka_unit_test(knows_what_is_not_ours),
        cmocka_unit_test(takes_what_is_whole),
        cmocka_unit_test(takes_what_is_passed_to_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
