/* exec: run a command as a pod of its own, with everything set up for it, and tell what it does.
 *
 * The command shares our session, process group and terminal, as with `env` or `nice`: what the
 * terminal sends, both get, and we leave it to the command. What others send to us alone is passed
 * on. When it stops, we stop, so that the shell's job control works as without us. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/log.h"
#include "certs/own.h"
#include "proxy/agent.h"
#include "proxy/command/child.h"
#include "proxy/command/command.h"
#include "proxy/command/exec_options.h"
#include "proxy/command/output.h"
#include "proxy/command/signing.h"
#include "proxy/host.h"
#include "proxy/instance.h"

enum { FAILED = 125, SETTLE_MS = 1000 };

/* Everything one run owns, in the order it is made. */
struct run {
    const struct exec_options *options;
    char node_name[256];
    sigset_t old_mask;
    struct sigaction old_pipe, old_chld;
    struct rlimit old_files;
    int signal_fd;
    struct output output;
    struct instance *instance;
    struct overlay overlay;
    struct credentials *credentials;
    char *root_pem, *cert_file_pem;
    struct agent *agent;
    struct event *on_signal;
    pid_t child;
    int status; /* -1 until the command ended */
};

/* ---- signals and the terminal ---- */

/* The terminal's foreground group is ours to give only while it is ours or our command's. */
static void give_terminal(pid_t group)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (tty < 0)
        return;
    if (tcgetpgrp(tty) != group)
        tcsetpgrp(tty, group); /* SIGTTOU is blocked: we may do so from the background */
    close(tty);
}

static bool own_terminal(void)
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
static void stop_too(pid_t child, int signal)
{
    pid_t group = getpgid(child);

    if (signal == SIGSTOP && !own_terminal())
        return;

    kill(getpid(), SIGSTOP);
    if (group > 0 && group != getpgrp() && own_terminal())
        give_terminal(group);
    kill(child, SIGCONT);
}

static void child_changed(struct run *run)
{
    int status;

    while (waitpid(run->child, &status, WNOHANG | WUNTRACED) == run->child) {
        if (WIFSTOPPED(status)) {
            stop_too(run->child, WSTOPSIG(status));
            continue;
        }
        run->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        event_base_loopbreak(agent_base(run->agent));
        return;
    }
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            child_changed(run);
        else if (info.ssi_code <= 0 && run->status < 0)
            /* from a process, to us; what comes from the terminal the command has got itself */
            kill(run->child, (int)info.ssi_signo);
    }
}

static int catch_signals(struct run *run, struct err *err)
{
    static const int passed_on[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
                                    SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};
    sigset_t mask, caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGCHLD);
    for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
        sigaddset(&caught, passed_on[i]);
    mask = caught;
    sigaddset(&mask, SIGTSTP); /* the command's business: see stop_too() */
    sigaddset(&mask, SIGTTIN);
    sigaddset(&mask, SIGTTOU);
    sigprocmask(SIG_BLOCK, &mask, &run->old_mask); /* and so in every thread made later */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &run->old_pipe);
    /* where our caller ignores it, the kernel would reap the command behind our back */
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &run->old_chld);
    run->signal_fd = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
    return run->signal_fd < 0 ? err_sys(err, -errno, "signalfd") : 0;
}

/* ---- the parts of a run ---- */

static char *roots_of(const struct anchors *anchors, size_t file)
{
    STACK_OF(X509) *roots = anchors_roots(anchors, file);
    CLEANUP(own_bio) BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && roots;
    char *pem = NULL;
    long len;

    for (int i = 0; ok && i < sk_X509_num(roots); i++)
        ok = PEM_write_bio_X509(bio, sk_X509_value(roots, i));
    sk_X509_free(roots);
    len = ok ? BIO_get_mem_data(bio, &pem) : 0;
    return ok ? strndup(pem, (size_t)len) : NULL;
}

static int prepare_trust(struct run *run, struct err *err)
{
    const struct exec_options *options = run->options;
    const struct anchors *anchors;
    char dir[128];
    const struct signing_from from = {
        .ca_dir = options->ca_dir,
        .upstream_ca = options->upstream_ca,
        .client_certs = options->client_certs,
        .node_name = run->node_name,
    };
    int result = signing_load(&run->credentials, &run->overlay, &from, NULL, err);

    if (result < 0)
        return result;
    anchors = &run->credentials->anchors;
    snprintf(dir, sizeof(dir), "%s/trust", run->instance->dir);
    result = overlay_write(&run->overlay, dir, anchors, err);
    if (result < 0)
        return result;
    run->root_pem = roots_of(anchors, ANCHORS_ANY);
    run->cert_file_pem = roots_of(anchors, run->overlay.cert_file_trust);
    return run->root_pem && run->cert_file_pem ? 0 : err_set(err, -ENOMEM, "the CA's certificate");
}

static int start_agent(struct run *run, struct err *err)
{
    const struct exec_options *options = run->options;
    const struct pods_settings settings_of_pod = {
        .all_ports = options->all_ports,
        .loopback = options->loopback,
        .ports = options->ports_len ? options->ports : pods_default_ports,
        .ports_len = options->ports_len ? options->ports_len : pods_default_ports_len,
    };
    struct agent_pod pod = {
        .cgroup_id = run->instance->cgroup_id,
        .cgroup_fd = -1,
        .space = "",
        .name = "",
        .settings = &settings_of_pod,
    };
    struct agent_settings settings = {
        .cgroup_fd = run->instance->cgroup_fd,
        .credentials = run->credentials,
        .sinks = &run->output.sink,
        .sinks_len = 1,
        .node_name = run->node_name,
    };
    char pin_dir[128];
    int result;

    snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", run->instance->dir);
    settings.pin_dir = pin_dir;
    settings.workers = host_cpus();
    result = agent_new(&run->agent, &settings, err);
    if (result == 0)
        result =
            agent_pass_through(run->agent, options->passthrough, options->passthrough_len, err);
    if (result < 0)
        return result;
    run->on_signal =
        event_new(agent_base(run->agent), run->signal_fd, EV_READ | EV_PERSIST, on_signal, run);
    if (!run->on_signal || event_add(run->on_signal, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    CLEANUP(fd_close) int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (netns < 0)
        return err_sys(err, -errno, "/proc/self/ns/net");
    pod.netns_fd = netns;
    return agent_add_pod(run->agent, &pod, err);
}

/* Takes everything down; the order matters: nothing of the command may outlive its steering. */
static void finish(struct run *run)
{
    struct err err;

    if (run->agent && run->child) {
        agent_settle(run->agent, 0); /* what it did before it ended */
        if (instance_kill(run->instance, &err) < 0) {
            /* the pins stay, and with them what refuses the survivors' connections */
            log_error("%s; what survives cannot connect, the next start ends it", err.text);
            agent_flush(run->agent);
            _exit(run->status);
        }
        agent_settle(run->agent, SETTLE_MS);
    }
    if (run->on_signal)
        event_free(run->on_signal);
    if (run->agent)
        output_hurry_by_signals(&run->output);
    agent_free(&run->agent);
    output_tell_lost(&run->output);
    output_fini(&run->output);
    credentials_unref(&run->credentials);
    instance_free(&run->instance);
    free(run->root_pem);
    free(run->cert_file_pem);
    fd_close(&run->signal_fd);
}

static int start(struct run *run, int *status, struct err *err)
{
    struct child_plan plan = {.argv = run->options->argv, .user = run->options->user};
    int result = host_check(err);

    *status = FAILED;
    if (result == 0)
        result = catch_signals(run, err);
    if (result == 0)
        result = output_init(&run->output, run->options->events_file, O_TRUNC, STDERR_FILENO,
                             run->options->json, run->node_name, err);
    if (result == 0)
        result = instance_new(&run->instance, err);
    if (result == 0)
        result = prepare_trust(run, err);
    if (result == 0)
        result = start_agent(run, err);
    if (result < 0)
        return result;
    plan.instance = run->instance;
    plan.overlay = &run->overlay;
    plan.root_pem = run->root_pem;
    plan.cert_file_pem = run->cert_file_pem;
    plan.signals = run->old_mask;
    plan.pipe = run->old_pipe;
    plan.chld = run->old_chld;
    plan.files = run->old_files;
    plan.on_stop = stop_too;
    return child_start(&run->child, &plan, status, err);
}

/* What to do about a failure that can come from any of the places we make something in. */
static const char *advice(int code)
{
    return code == -EROFS
               ? "; make it writable (mount -o remount,rw; in a container, mount one that is)"
               : "";
}

int command_exec(int argc, char **argv)
{
    struct exec_options options = {0};
    struct run run = {.options = &options, .output.fd = -1, .signal_fd = -1, .status = -1};
    struct err err = {0};
    bool had_terminal;
    int status = exec_options_parse(&options, argc, argv);

    if (status)
        return status - 1;
    gethostname(run.node_name, sizeof(run.node_name) - 1);
    prctl(PR_SET_DUMPABLE, 0); /* the CA's key must not end in a core dump */
    host_raise_file_limit(&run.old_files);
    had_terminal = own_terminal();
    if (start(&run, &status, &err) < 0)
        log_error("%s%s", err.text, advice(err.code));
    while (run.child && run.status < 0)
        event_base_dispatch(agent_base(run.agent));
    finish(&run);
    if (had_terminal)
        give_terminal(getpgrp());
    return run.child ? run.status : status;
}
