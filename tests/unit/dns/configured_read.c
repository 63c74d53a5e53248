/* What a process has in its root, which a child of ours makes: files, links that lead out of it,
 * and what is no file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "proxy/dns/configured.h"

static char dir[] = "/tmp/sallyport-configured.XXXXXX";

static void put(const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void put_link(const char *to)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/etc/resolv.conf", dir);
    assert_int_equal(symlink(to, path), 0);
}

static void forget_files(void)
{
    static const char *const names[] = {"etc/resolv.conf", "etc/hosts", "run/stub.conf"};
    char path[128];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
}

/* A process whose root is the directory; *pid must be reaped. */
static pid_t start(void)
{
    int pipe_fds[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (chroot(dir) < 0 || write(pipe_fds[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    close(pipe_fds[0]);
    return pid;
}

static char *servers_of_a_process(void)
{
    CLEANUP(configured_free) struct configured *configured = NULL;
    pid_t pid = start();
    int result = configured_read(&configured, pid, NULL);

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    forget_files();
    assert_int_equal(result, 0);
    return configured_resolv_conf(configured);
}

static void reads_files_of_a_process(void **state)
{
    CLEANUP(text_free) char *servers = NULL;

    (void)state;
    put("etc/resolv.conf", "nameserver 192.0.2.53\n");
    servers = servers_of_a_process();
    assert_string_equal(servers, "nameserver 192.0.2.53\n");
}

static void links_end_in_its_root(void **state)
{
    CLEANUP(text_free) char *inside = NULL, *outside = NULL;
    char path[64];

    (void)state;
    put("run/stub.conf", "nameserver 192.0.2.54\n");
    put_link("/run/stub.conf");
    inside = servers_of_a_process();
    assert_string_equal(inside, "nameserver 192.0.2.54\n");
    snprintf(path, sizeof(path), "%s.out", dir);
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fputs("nameserver 192.0.2.55\n", file);
    fclose(file);
    put_link(path);
    outside = servers_of_a_process();
    unlink(path);
    assert_string_equal(outside, "");
}

static void a_pipe_is_no_file(void **state)
{
    CLEANUP(text_free) char *servers = NULL;
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/etc/resolv.conf", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    servers = servers_of_a_process();
    assert_string_equal(servers, "");
}

static void a_line_cut_short_is_none(void **state)
{
    static char text[CONFIGURED_FILE_MAX + 16];
    CLEANUP(text_free) char *servers = NULL;

    (void)state;
    memset(text, '#', CONFIGURED_FILE_MAX - 21);
    strcpy(text + CONFIGURED_FILE_MAX - 22, "\nnameserver 192.0.2.53\n");
    put("etc/resolv.conf", text);
    servers = servers_of_a_process();
    assert_string_equal(servers, "");
}

static void nobody_has_none(void **state)
{
    CLEANUP(configured_free) struct configured *configured = NULL;
    struct err err;
    pid_t pid = start();

    (void)state;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(configured_read(&configured, pid, &err) < 0);
    assert_null(configured);
}

static int set_up(void **state)
{
    char path[128];

    (void)state;
    if (geteuid() != 0)
        return -1;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/etc", dir);
    if (mkdir(path, 0755) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/run", dir);
    return mkdir(path, 0755);
}

static int tear_down(void **state)
{
    char path[128];

    (void)state;
    forget_files();
    snprintf(path, sizeof(path), "%s/etc", dir);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/run", dir);
    rmdir(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_files_of_a_process), cmocka_unit_test(links_end_in_its_root),
        cmocka_unit_test(a_pipe_is_no_file),        cmocka_unit_test(a_line_cut_short_is_none),
        cmocka_unit_test(nobody_has_none),
    };

    if (geteuid() != 0)
        return 77; /* chroot(2) */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
