/* The command shares our session, process group and terminal, as with `env` or `nice`: what the
 * terminal sends, both get, and we leave it to the command. What others send to us alone is passed
 * on. When it stops, we stop, so that the shell's job control works as without us. */
#include "proxy/command/attend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* The terminal's foreground group is ours to give only while it is ours or our command's. */
void attend_give_terminal(pid_t group)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (tty < 0)
        return;
    if (tcgetpgrp(tty) != group)
        tcsetpgrp(tty, group); /* SIGTTOU is blocked: we may do so from the background */
    close(tty);
}

bool attend_own_terminal(void)
{
    int tty = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool own = tty >= 0 && tcgetpgrp(tty) == getpgrp();

    fd_close(&tty);
    return own;
}

/* The command has stopped by the terminal: so do we, for the shell that waits for us; and when it
 * wakes us, the command wakes, and has the terminal again if it is a shell of its own. A stop that
 * has nothing to do with our terminal is the command's own affair: who woke the command would not
 * wake us, and nobody would serve it. */
void attend_stop_too(pid_t child, int signal)
{
    pid_t group = getpgid(child);

    if (signal == SIGSTOP && !attend_own_terminal())
        return;

    kill(getpid(), SIGSTOP);
    if (group > 0 && group != getpgrp() && attend_own_terminal())
        attend_give_terminal(group);
    kill(child, SIGCONT);
}

static void child_changed(struct attend *attend)
{
    int status;

    while (waitpid(attend->child, &status, WNOHANG | WUNTRACED) == attend->child) {
        if (WIFSTOPPED(status)) {
            attend_stop_too(attend->child, WSTOPSIG(status));
            continue;
        }
        attend->ended_ns = clock_ns();
        attend->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        event_base_loopbreak(attend->base);
        return;
    }
}

/* ---- frozen ---- */

static bool is_in(int cgroup_fd, const char *name, const char *wanted)
{
    CLEANUP(fd_close) int fd = openat(cgroup_fd, name, O_RDONLY | O_CLOEXEC);
    char text[128];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = 0;
    return strstr(text, wanted);
}

static void tell_frozen(struct attend *attend)
{
    const struct instance *instance = attend->instance;
    bool frozen = is_in(instance->cgroup_fd, "cgroup.events", "frozen 1");

    if (frozen && !attend->frozen)
        log_warn("the command is frozen; %s%s%s'echo 0 >%s/cgroup.freeze' has it go on, SIGTERM "
                 "or Ctrl-C ends it",
                 attend->agent ? "'sallyport pods thaw exec/" : "",
                 attend->agent ? strrchr(instance->dir, '/') + 1 : "", attend->agent ? "' or " : "",
                 instance->cgroup);
    attend->frozen = frozen;
}

static void on_frozen(evutil_socket_t fd, short what, void *arg)
{
    char notices[1024];

    (void)what;
    while (read(fd, notices, sizeof(notices)) > 0)
        ;
    tell_frozen(arg);
}

int attend_watch_frozen(struct attend *attend, const struct instance *instance, bool agent,
                        struct err *err)
{
    char path[64];

    attend->instance = instance;
    attend->agent = agent;
    attend->frozen_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d/cgroup.events", instance->cgroup_fd);
    if (attend->frozen_fd < 0 || inotify_add_watch(attend->frozen_fd, path, IN_MODIFY) < 0)
        return err_sys(err, -errno, "watching %s/cgroup.events", instance->cgroup);
    attend->on_frozen =
        event_new(attend->base, attend->frozen_fd, EV_READ | EV_PERSIST, on_frozen, attend);
    if (!attend->on_frozen || event_add(attend->on_frozen, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

/* A frozen command hears no signal but one. */
static bool ends_frozen(const struct attend *attend, int signal)
{
    return (signal == SIGTERM || signal == SIGINT || signal == SIGHUP || signal == SIGQUIT) &&
           attend->instance && is_in(attend->instance->cgroup_fd, "cgroup.freeze", "1");
}

/* ---- signals ---- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct attend *attend = arg;
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            child_changed(attend);
        else if (attend->status < 0 && ends_frozen(attend, (int)info.ssi_signo))
            kill(attend->child, SIGKILL);
        else if (info.ssi_code <= 0 && attend->status < 0)
            /* from a process, to us; what comes from the terminal the command has got itself */
            kill(attend->child, (int)info.ssi_signo);
    }
}

int attend_catch_signals(struct attend *attend, struct err *err)
{
    static const int passed_on[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
                                    SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};
    sigset_t mask, caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGCHLD);
    for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
        sigaddset(&caught, passed_on[i]);
    mask = caught;
    sigaddset(&mask, SIGTSTP); /* the command's business: see attend_stop_too() */
    sigaddset(&mask, SIGTTIN);
    sigaddset(&mask, SIGTTOU);
    sigprocmask(SIG_BLOCK, &mask, &attend->old_mask); /* and so in every thread made later */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &attend->old_pipe);
    /* where our caller ignores it, the kernel would reap the command behind our back */
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &attend->old_chld);
    attend->signal_fd = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
    return attend->signal_fd < 0 ? err_sys(err, -errno, "signalfd") : 0;
}

int attend_serve(struct attend *attend, struct event_base *base, struct err *err)
{
    attend->base = base;
    attend->on_signal = event_new(base, attend->signal_fd, EV_READ | EV_PERSIST, on_signal, attend);
    if (!attend->on_signal || event_add(attend->on_signal, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

void attend_stop(struct attend *attend)
{
    if (attend->on_signal)
        event_free(TAKE(attend->on_signal));
    if (attend->on_frozen)
        event_free(TAKE(attend->on_frozen));
}

void attend_fini(struct attend *attend)
{
    attend_stop(attend);
    fd_close(&attend->frozen_fd);
    fd_close(&attend->signal_fd);
}
