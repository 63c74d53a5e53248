/* options: a pod's setsockopt() is followed from when it comes until it goes, also by the next
 * agent; nobody else's is. Where it is, the kernel copies what it is given first: a NULL with a
 * length is EFAULT there, and elsewhere what the option says. */
#include "proxy/kernel/options.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kept.h"
#include "proxy/kernel/backend.h"

enum { NO_OPTION = 9999 };
static struct backend *backend;
static struct options *options;

static void do_option(const void *arg, struct report *report)
{
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)arg;
    report->code = setsockopt(fd, IPPROTO_IPV6, NO_OPTION, NULL, 16) < 0 ? -errno : 0;
}

static void assert_followed(const char *cgroup, bool followed)
{
    struct report report;

    bed_run(&fx.bed, cgroup, fx.bed.pod, do_option, NULL, &report);
    assert_int_equal(report.code, followed ? -EFAULT : -ENOPROTOOPT);
}

/* The kernel takes a link away a moment after its last pin is gone. */
static void await_let_go(const char *cgroup)
{
    struct report report = {.code = -EFAULT};

    for (int i = 0; i < SOON_MS && report.code == -EFAULT; i++) {
        usleep(1000);
        bed_run(&fx.bed, cgroup, fx.bed.pod, do_option, NULL, &report);
    }
    assert_int_equal(report.code, -ENOPROTOOPT);
}

static int follow(const char *cgroup)
{
    CLEANUP(fd_close)
    int fd = openat(fx.bed.cgroup_fd, cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return options_follow(options, bed_cgroup_id(&fx.bed, cgroup), fd, &fx.err);
}

static void begin(void)
{
    assert_ok(backend_new(&backend, fx.keeper, fx.bed.cgroup_fd, true, &fx.err));
    assert_ok(options_new(&options, fx.keeper, backend, &fx.err));
}

static void end(bool leaves)
{
    if (leaves)
        backend_leave(backend);
    options_free(&options);
    backend_free(&backend);
    keeper_free(&fx.keeper);
}

static void pods_are_followed_while_they_are_there(void **state)
{
    (void)state;
    assert_ok(keeper_new(&fx.keeper, fx.bed.cgroup_fd, fx.bed.pins, &fx.err));
    begin();
    assert_followed("pod", false);
    assert_ok(follow("pod"));
    assert_followed("pod", true);
    assert_followed("pod/ctr/deep", true);
    assert_followed("stranger", false);
    assert_ok(follow("stranger"));
    options_forget(options, bed_cgroup_id(&fx.bed, "pod"));
    await_let_go("pod");
    assert_followed("stranger", true);
    end(false);
    await_let_go("stranger");
}

static void nobody_is_where_nothing_hears(void **state)
{
    (void)state;
    assert_ok(keeper_new(&fx.keeper, fx.bed.cgroup_fd, fx.bed.pins, &fx.err));
    assert_ok(backend_new(&backend, fx.keeper, fx.bed.cgroup_fd, false, &fx.err));
    assert_ok(options_new(&options, fx.keeper, backend, &fx.err));
    assert_ok(follow("pod"));
    assert_followed("pod", backend_said(backend) >= 0); /* this kernel may have kTLS */
    end(false);
}

static bool is_there(void *arg, uint64_t pod)
{
    return pod == *(const uint64_t *)arg;
}

static void begin_kept(void)
{
    assert_ok(
        keeper_new_kept(&fx.keeper, fx.bed.cgroup_fd, fx.bed.pins, kept_runtime_dir, &fx.err));
    begin();
}

static void the_next_agent_goes_on(void **state)
{
    uint64_t pod = bed_cgroup_id(&fx.bed, "pod");

    (void)state;
    begin_kept();
    assert_ok(follow("pod"));
    assert_ok(follow("stranger"));
    assert_true(keeper_leave(fx.keeper, true));
    end(true);
    assert_followed("pod", true);
    begin_kept();
    assert_ok(follow("pod"));
    options_sweep(options, is_there, &pod);
    assert_followed("pod", true);
    await_let_go("stranger");
    options_forget(options, pod);
    await_let_go("pod");
    assert_ok(follow("pod")); /* by the program that the agent before loaded */
    assert_followed("pod", true);
    end(false);
    await_let_go("pod");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_are_followed_while_they_are_there),
        cmocka_unit_test(nobody_is_where_nothing_hears),
        cmocka_unit_test(the_next_agent_goes_on),
    };
    int status;

    if (kept_was_keeper(argc, argv, &status))
        return status;
    return cmocka_run_group_tests(tests, kept_set_up, kept_take_down);
}
