#include "proxy/enforce/act.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/identity/snapshot.h"

/* ---- kill ---- */

/* A child that waits to be killed. */
static struct process *start(void)
{
    struct process *process;
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    process = snapshot_take((uint32_t)pid, 0);
    assert_non_null(process);
    return process;
}

static int signal_of_end(const struct process *process)
{
    int status;

    assert_int_equal(waitpid((pid_t)process->pid, &status, 0), process->pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void a_process_is_killed(void **state)
{
    CLEANUP(process_unref) struct process *process = start();

    (void)state;
    assert_int_equal(act_kill(process, NULL), 0);
    assert_int_equal(signal_of_end(process), SIGKILL);
}

static void one_that_got_its_pid_is_not(void **state)
{
    CLEANUP(process_unref) struct process *process = start();
    struct process before = *process;
    struct err err;

    (void)state;
    before.start_ns -= 1000000000;
    assert_int_equal(act_kill(&before, &err), -ESRCH);
    assert_int_equal(waitpid((pid_t)process->pid, NULL, WNOHANG), 0);
    assert_int_equal(act_kill(process, NULL), 0);
    assert_int_equal(signal_of_end(process), SIGKILL);
    assert_int_equal(act_kill(process, &err), -ESRCH); /* it is gone */
    assert_int_equal(act_kill(NULL, &err), -ESRCH);
}

/* ---- freeze: a directory with such a file stands for a cgroup ---- */

struct site {
    char dir[64], file[96];
    int fd;
    struct act *act;
    struct pod *pod;
};

static void write_file(const struct site *site, const char *text)
{
    FILE *file = fopen(site->file, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static char read_file(const struct site *site)
{
    FILE *file = fopen(site->file, "r");
    int first = file ? fgetc(file) : EOF;

    if (file)
        fclose(file);
    return (char)first;
}

static void begin(struct site *site, const char *text)
{
    strcpy(site->dir, "/tmp/sallyport-act-XXXXXX");
    assert_non_null(mkdtemp(site->dir));
    snprintf(site->file, sizeof(site->file), "%s/cgroup.freeze", site->dir);
    write_file(site, text);
    site->fd = open(site->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    site->pod = pod_new(7, "shop", "cart", NULL, 0);
    assert_int_equal(act_new(&site->act, NULL), 0);
    assert_int_equal(act_add_pod(site->act, site->pod, site->fd, NULL), 0);
}

static void end(struct site *site)
{
    act_free(&site->act);
    pod_unref(&site->pod);
    fd_close(&site->fd);
    unlink(site->file);
    rmdir(site->dir);
}

static void a_pod_is_frozen_and_thawed(void **state)
{
    CLEANUP(end) struct site site;

    (void)state;
    begin(&site, "0\n");
    assert_false(act_is_frozen(site.act, 7));
    assert_int_equal(act_freeze(site.act, 7, NULL), 0);
    assert_int_equal(read_file(&site), '1');
    assert_true(act_is_frozen(site.act, 7));
    assert_true(act_holds(site.act, site.pod));
    assert_int_equal(act_count(site.act), 1);
    assert_int_equal(act_thaw(site.act, 7, NULL), 0);
    assert_int_equal(read_file(&site), '0');
    assert_false(act_holds(site.act, site.pod));
    assert_int_equal(act_count(site.act), 0);
}

static void who_thaws_by_hand_is_noticed(void **state)
{
    CLEANUP(end) struct site site;

    (void)state;
    begin(&site, "0\n");
    assert_int_equal(act_freeze(site.act, 7, NULL), 0);
    write_file(&site, "0\n");
    assert_int_equal(act_count(site.act), 0);
    assert_false(act_holds(site.act, site.pod));
    write_file(&site, "1\n"); /* and who freezes by hand is somebody else */
    assert_true(act_is_frozen(site.act, 7));
    assert_false(act_holds(site.act, site.pod));
}

static void one_that_is_frozen_when_it_comes_is_held(void **state)
{
    CLEANUP(end) struct site site;

    (void)state;
    begin(&site, "1\n");
    assert_true(act_holds(site.act, site.pod));
}

static void what_is_no_pod_is_left_alone(void **state)
{
    CLEANUP(end) struct site site;
    struct err err;

    (void)state;
    begin(&site, "0\n");
    assert_int_equal(act_freeze(site.act, 8, &err), -ENOENT);
    act_remove_pod(site.act, 7);
    assert_int_equal(act_freeze(site.act, 7, &err), -ENOENT);
    assert_int_equal(read_file(&site), '0');
}

static void a_cgroup_that_is_gone_is_told(void **state)
{
    CLEANUP(end) struct site site;
    struct err err;

    (void)state;
    begin(&site, "0\n");
    unlink(site.file);
    assert_int_equal(act_freeze(site.act, 7, &err), -ENOENT);
    assert_string_equal(err.text, "freezing pod shop/cart: No such file or directory");
    assert_false(act_is_frozen(site.act, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_killed),
        cmocka_unit_test(one_that_got_its_pid_is_not),
        cmocka_unit_test(a_pod_is_frozen_and_thawed),
        cmocka_unit_test(who_thaws_by_hand_is_noticed),
        cmocka_unit_test(one_that_is_frozen_when_it_comes_is_held),
        cmocka_unit_test(what_is_no_pod_is_left_alone),
        cmocka_unit_test(a_cgroup_that_is_gone_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
