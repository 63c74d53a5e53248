#include "proxy/command/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"

/* Where the command finds roots of ours. The directory is a tmpfs of its own mount namespace, which
 * also hides the agent's state from it. */
static const char state_dir[] = "/run/sallyport";
#define ROOT_PATH      "/run/sallyport/ca.pem"
#define CERT_FILE_PATH "/run/sallyport/cert-file.pem"
#define CONF_PATH      "/run/sallyport/openssl.cnf"
/* For programs that have no OpenSSL configuration, to let the kernel encrypt. */
static const char ktls_conf[] = "openssl_conf = init\n[init]\nssl_conf = ssl\n"
                                "[ssl]\nsystem_default = system\n[system]\nOptions = KTLS\n";

enum { GROUPS_MAX = 256, LOOK_MS = 20 };

struct identity_wanted {
    bool wanted;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    int groups_len;
    char user[256], logname[256], home[PATH_MAX]; /* "NAME=value"; user may be empty */
};

/* What is made ready before the fork. */
struct preparation {
    struct identity_wanted user;
    char **environment;
    pid_t agent;
};

enum stage { STAGE_EXEC, STAGE_MOUNTS, STAGE_USER };

struct failure {
    enum stage stage;
    int error;
    char what[PATH_MAX]; /* the path that failed */
};

/* ---- before the fork ---- */

static int use_entry(struct identity_wanted *wanted, const struct passwd *entry, struct err *err)
{
    wanted->uid = entry->pw_uid;
    wanted->gid = entry->pw_gid;
    snprintf(wanted->user, sizeof(wanted->user), "USER=%s", entry->pw_name);
    snprintf(wanted->logname, sizeof(wanted->logname), "LOGNAME=%s", entry->pw_name);
    snprintf(wanted->home, sizeof(wanted->home), "HOME=%s", entry->pw_dir);
    wanted->groups_len = GROUPS_MAX;
    if (getgrouplist(entry->pw_name, entry->pw_gid, wanted->groups, &wanted->groups_len) < 0)
        return err_set(err, -E2BIG, "--user %s: in more than %d groups", entry->pw_name,
                       GROUPS_MAX);
    return 0;
}

static void use_group(struct identity_wanted *wanted, gid_t gid)
{
    wanted->gid = wanted->groups[0] = gid;
    wanted->groups_len = 1;
}

/* A name, or uid[:gid] by number; a uid that nobody has is fine, too. */
static int look_up_user(struct identity_wanted *wanted, const char *user, struct err *err)
{
    const struct passwd *entry = getpwnam(user);
    unsigned long number;
    int result = 0;
    char *end;

    wanted->wanted = true;
    if (entry)
        return use_entry(wanted, entry, err);
    errno = 0;
    number = strtoul(user, &end, 10);
    if (user[0] < '0' || user[0] > '9' || errno || number >= UINT32_MAX || (*end && *end != ':'))
        return err_set(err, -ENOENT, "--user %s: no such user", user);
    entry = getpwuid((uid_t)number);
    if (entry) {
        result = use_entry(wanted, entry, err);
    } else {
        wanted->uid = (uid_t)number;
        use_group(wanted, (gid_t)number);
        strcpy(wanted->home, "HOME=/");
    }
    if (*end == ':') {
        const char *group = end + 1;

        errno = 0;
        number = strtoul(group, &end, 10);
        if (group[0] < '0' || group[0] > '9' || errno || number >= UINT32_MAX || *end)
            return err_set(err, -ENOENT, "--user %s: the group must be a number", user);
        use_group(wanted, (gid_t)number);
        return 0;
    }
    return result;
}

static void preparation_fini(struct preparation *ready)
{
    free(ready->environment);
}

static bool is_variable(const char *entry, const char *name)
{
    size_t len = strlen(name);

    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/* Our environment with what the command must see otherwise. The array is the caller's, the texts
 * are borrowed; NULL without memory. */
static char **make_environment(struct identity_wanted *wanted, const struct overlay *overlay)
{
    static char node[] = "NODE_EXTRA_CA_CERTS=" ROOT_PATH, file[] = "SSL_CERT_FILE=" CERT_FILE_PATH;
    static char conf[] = "OPENSSL_CONF=" CONF_PATH;
    bool no_conf = overlay && overlay->no_conf;
    bool has_node = !overlay;
    char **made;
    size_t len = 0;

    while (environ[len])
        len++;
    made = calloc(len + 6, sizeof(*made)); /* at most five more, and the NULL */
    if (!made)
        return NULL;
    len = 0;
    for (char **entry = environ; *entry; entry++) {
        has_node |= is_variable(*entry, "NODE_EXTRA_CA_CERTS");
        if (overlay && overlay->no_cert_file && is_variable(*entry, "SSL_CERT_FILE"))
            made[len++] = file;
        else if (no_conf && is_variable(*entry, "OPENSSL_CONF"))
            continue;
        else if (!wanted->wanted ||
                 (!is_variable(*entry, "USER") && !is_variable(*entry, "LOGNAME") &&
                  !is_variable(*entry, "HOME")))
            made[len++] = *entry;
    }
    if (!has_node) /* Node reads no bundle of the system; this adds to its own, replaces nothing */
        made[len++] = node;
    if (no_conf)
        made[len++] = conf;
    if (wanted->user[0]) {
        made[len++] = wanted->user;
        made[len++] = wanted->logname;
    }
    if (wanted->wanted)
        made[len++] = wanted->home;
    return made;
}

/* ---- in the child ----
 *
 * Other threads may have held any lock at the moment of the fork, so from here on nothing is
 * allocated, formatted or put into the environment: there are system calls only. (What glibc locks
 * to change the credentials of all threads, its fork() sets free.) */

static void give_up(int report, enum stage stage, const char *what)
{
    struct failure failure = {.stage = stage, .error = errno};

    memcpy(failure.what, what, strnlen(what, sizeof(failure.what) - 1));
    if (write(report, &failure, sizeof(failure)) < 0)
        _exit(125);
    _exit(125);
}

static bool write_file(const char *path, const char *text)
{
    CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    return fd >= 0 && fchmod(fd, 0644) == 0 &&
           write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static void make_mounts(const struct child_plan *plan, int report)
{
    const struct overlay *overlay = plan->overlay;

    if (unshare(CLONE_NEWNS) < 0)
        give_up(report, STAGE_MOUNTS, "a private mount namespace");
    /* the host's later mounts still arrive, ours never leave */
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        give_up(report, STAGE_MOUNTS, "/");
    for (size_t i = 0; i < overlay->len; i++)
        if (overlay->files[i].with[0] &&
            mount(overlay->files[i].with, overlay->files[i].path, NULL, MS_BIND, NULL) < 0)
            give_up(report, STAGE_MOUNTS, overlay->files[i].path);
    /* room for the bundles of another `exec` inside; only what is written takes memory */
    if (mount("sallyport", state_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=0755,size=16m") < 0)
        give_up(report, STAGE_MOUNTS, state_dir);
    if (!write_file(ROOT_PATH, plan->root_pem) ||
        !write_file(CERT_FILE_PATH, plan->cert_file_pem) ||
        (overlay->no_conf && !write_file(CONF_PATH, ktls_conf)))
        give_up(report, STAGE_MOUNTS, ROOT_PATH);
}

static void become(const struct identity_wanted *wanted, int report)
{
    if (!wanted->wanted)
        return;
    if (setgroups((size_t)wanted->groups_len, wanted->groups) < 0 ||
        setresgid(wanted->gid, wanted->gid, wanted->gid) < 0 ||
        setresuid(wanted->uid, wanted->uid, wanted->uid) < 0)
        give_up(report, STAGE_USER, "--user");
}

static void note_began(struct child_began *began)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    began->user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec;
    began->system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec;
    began->ns = clock_ns();
}

static void run(const struct child_plan *plan, const struct preparation *ready, int go, int report)
{
    char begin;

    if (read(go, &begin, 1) != 1)
        _exit(125); /* our parent gave up, and has said why */
    if (plan->overlay)
        make_mounts(plan, report);
    become(&ready->user, report);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after become(): changing credentials clears it */
    if (getppid() != ready->agent)
        _exit(125); /* it ended in between, and will send nothing */
    setrlimit(RLIMIT_NOFILE, &plan->files);
    sigaction(SIGPIPE, &plan->pipe, NULL);
    sigaction(SIGCHLD, &plan->chld, NULL);
    sigprocmask(SIG_SETMASK, &plan->signals, NULL);
    if (plan->began)
        note_began(plan->began);
    execvpe(plan->argv[0], plan->argv, ready->environment);
    give_up(report, STAGE_EXEC, plan->argv[0]);
}

/* ---- the parent's side ---- */

static int explain(const struct failure *failure, int *status, struct err *err)
{
    *status = 125;
    if (failure->stage == STAGE_MOUNTS)
        return err_sys(err, -failure->error, "preparing the command's mounts: %.300s",
                       failure->what);
    if (failure->stage == STAGE_USER)
        return err_sys(err, -failure->error, "becoming the user asked for by --user");
    *status = failure->error == ENOENT ? 127 : 126;
    return err_sys(err, -failure->error, "%.300s", failure->what);
}

/* What the terminal sent before there was a child to get it. From here on both get it; and what it
 * has got already it does not get twice, for its signals are blocked until it calls execve. */
static void pass_on_early(pid_t child)
{
    static const int from_terminal[] = {SIGHUP, SIGINT, SIGQUIT, SIGTSTP};
    sigset_t early;

    sigpending(&early);
    for (size_t i = 0; i < ARRAY_SIZE(from_terminal); i++)
        if (sigismember(&early, from_terminal[i]))
            kill(child, from_terminal[i]);
}

/* A child that the terminal stops before it could execve closes nothing: so we look at it, too. */
static void wait_for_report(const struct child_plan *plan, pid_t pid, int report)
{
    struct pollfd wait = {.fd = report, .events = POLLIN};
    int status;

    while (poll(&wait, 1, LOOK_MS) <= 0)
        if (waitpid(pid, &status, WNOHANG | WUNTRACED) == pid && WIFSTOPPED(status))
            plan->on_stop(pid, WSTOPSIG(status));
}

static int wait_for_start(const struct child_plan *plan, pid_t pid, int report, int *status,
                          struct err *err)
{
    struct failure failure;
    ssize_t n;

    wait_for_report(plan, pid, report);
    do
        n = read(report, &failure, sizeof(failure));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0; /* closed by execve */
    waitpid(pid, NULL, 0);
    if (n != sizeof(failure))
        return err_set(err, -EIO, "the command's start was cut short");
    return explain(&failure, status, err);
}

int child_start(pid_t *pid, const struct child_plan *plan, int *status, struct err *err)
{
    CLEANUP(preparation_fini) struct preparation ready = {.agent = getpid()};
    int go[2], report[2], result;
    pid_t child;

    *status = 125;
    if (plan->user && (result = look_up_user(&ready.user, plan->user, err)) < 0)
        return result;
    ready.environment = make_environment(&ready.user, plan->overlay);
    if (!ready.environment)
        return err_set(err, -ENOMEM, "the command's environment");
    if (pipe2(go, O_CLOEXEC) < 0)
        return err_sys(err, -errno, "pipe");
    CLEANUP(fd_close) int go_read = go[0], go_write = go[1];

    if (pipe2(report, O_CLOEXEC) < 0)
        return err_sys(err, -errno, "pipe");
    CLEANUP(fd_close) int report_read = report[0], report_write = report[1];

    child = fork();
    if (child < 0)
        return err_sys(err, -errno, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(go_write); /* so that read() ends when the parent does */
        run(plan, &ready, go_read, report_write);
    }
    pass_on_early(child);
    fd_close(&report_write);
    result = instance_enter(plan->instance, child, err);
    if (result < 0 || write(go_write, "", 1) != 1) {
        fd_close(&go_write);
        waitpid(child, NULL, 0);
        return result < 0 ? result : err_sys(err, -errno, "starting the command");
    }
    result = wait_for_start(plan, child, report_read, status, err);
    if (result == 0)
        *pid = child;
    return result;
}
