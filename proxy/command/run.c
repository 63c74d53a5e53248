/* run: the agent, in the foreground: serves the pods that are registered with it, until SIGTERM. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <linux/magic.h>

#include "base/log.h"
#include "proxy/agent.h"
#include "proxy/command/command.h"
#include "proxy/command/output.h"
#include "proxy/command/run_options.h"
#include "proxy/command/signing.h"
#include "proxy/command/succession.h"
#include "proxy/control/control.h"
#include "proxy/host.h"
#include "proxy/notify.h"
#include "proxy/predecessor.h"
#include "proxy/runtime.h"

enum { FAILED = 1 };

/* Everything an agent's life owns, in the order it is made. */
struct run {
    char *const *argv;
    struct config *config;
    char node_name[256];
    unsigned drain_ms;
    int signal_fd, cgroup_fd;
    struct runtime runtime;
    struct output output;
    struct signing signing;
    struct agent *agent;
    struct control *control;
    struct succession *succession;
    struct event *on_signal;
};

/* ---- signals ---- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            succession_drain(run->succession);
        else if (info.ssi_signo == SIGUSR2)
            succession_renew(run->succession);
        else if (info.ssi_signo == SIGCHLD)
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
    }
}

/* Blocked before any thread is made, so in every one. */
static int catch_signals(struct run *run, struct err *err)
{
    sigset_t caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGTERM);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGHUP);
    sigaddset(&caught, SIGUSR2);
    sigaddset(&caught, SIGCHLD);
    sigprocmask(SIG_BLOCK, &caught, NULL);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    run->signal_fd = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
    return run->signal_fd < 0 ? err_sys(err, -errno, "signalfd") : 0;
}

static int serve_signals(struct run *run, struct err *err)
{
    run->on_signal =
        event_new(agent_base(run->agent), run->signal_fd, EV_READ | EV_PERSIST, on_signal, run);
    if (!run->on_signal || event_add(run->on_signal, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

/* ---- one agent after the other ---- */

/* What the next agent needs. */
static void let_go(void *arg)
{
    struct run *run = arg;

    control_free(&run->control);
    runtime_leave(&run->runtime);
}

/* Serves from here on: the pods of the agent before us, if there is one, and its place. */
static int succeed(struct run *run, bool replaces, struct err *err)
{
    CLEANUP(predecessor_free) struct predecessor *predecessor = NULL;
    int result = 0;

    if (replaces)
        result = predecessor_ask(&predecessor, run->runtime.dir, true, err);
    if (result == 0 && predecessor)
        result = agent_adopt(run->agent, &predecessor, err);
    return result == 0 && replaces ? runtime_lock(&run->runtime, err) : result;
}

/* ---- the parts ---- */

static int serve_clients(struct run *run, struct err *err)
{
    const struct succession_parts succession = {
        .agent = run->agent,
        .argv = run->argv,
        .drain_ms = &run->drain_ms,
        .let_go = let_go,
        .arg = run,
    };
    char path[sizeof(run->runtime.dir) + sizeof(CONTROL_SOCKET)];
    int result;

    snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, run->runtime.dir);
    result = control_new(&run->control, agent_base(run->agent), path, err);
    return result < 0 ? result : succession_new(&run->succession, &succession, run->control, err);
}

static int open_cgroup_root(struct run *run, struct err *err)
{
    char root[PATH_MAX];
    const char *path = run->config->cgroup_root;
    struct statfs fs;

    if (!path) {
        int result = host_cgroup_root(root, err);

        if (result < 0)
            return result;
        path = root;
    }
    run->cgroup_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->cgroup_fd < 0 || fstatfs(run->cgroup_fd, &fs) < 0)
        return err_sys(err, -errno, "--cgroup-root %s", path);
    if (fs.f_type != CGROUP2_SUPER_MAGIC)
        return err_set(err, -EINVAL, "--cgroup-root %s is no directory of cgroup v2", path);
    return 0;
}

static int start_agent(struct run *run, struct err *err)
{
    const struct agent_settings settings = {
        .cgroup_fd = run->cgroup_fd,
        .pin_dir = run->runtime.pin_dir,
        .runtime_dir = run->runtime.dir,
        .anchors = &run->signing.anchors,
        .roots = run->signing.roots,
        .sinks = &run->output.sink,
        .sinks_len = 1,
        .node_name = run->node_name,
        .workers = run->config->workers ? run->config->workers : host_cpus(),
    };
    int result = agent_new(&run->agent, &settings, err);

    return result < 0 ? result : serve_signals(run, err);
}

static int start(struct run *run, bool replace, struct err *err)
{
    const struct config *config = run->config;
    bool replaces = false;
    int result = host_check(err);

    if (result == 0)
        result = catch_signals(run, err);
    if (result == 0)
        result = runtime_init(&run->runtime, runtime_choose(config->runtime_dir), err);
    if (result == 0)
        result = predecessor_would(run->runtime.dir, replace, &replaces, err);
    if (result == 0 && !replaces)
        result = runtime_lock(&run->runtime, err);
    if (result == 0)
        result = output_init(&run->output, config->events_file, 0, STDOUT_FILENO,
                             config->output == CONFIG_JSON, run->node_name, err);
    if (result == 0)
        result = open_cgroup_root(run, err);
    if (result == 0)
        result = signing_init(&run->signing, config->ca, config->upstream_ca, run->node_name, err);
    if (result == 0)
        result = start_agent(run, err);
    if (result == 0)
        result = succeed(run, replaces, err);
    if (result == 0)
        result = serve_clients(run, err);
    return result;
}

static void finish(struct run *run)
{
    if (run->on_signal)
        event_free(run->on_signal);
    control_free(&run->control);
    if (run->agent && run->runtime.lock_fd < 0)
        agent_leave(run->agent); /* we have no say here yet, or no longer */
    if (run->agent)
        output_hurry_by_signals(&run->output);
    agent_free(&run->agent);
    succession_free(&run->succession);
    output_tell_lost(&run->output);
    output_fini(&run->output);
    signing_fini(&run->signing);
    runtime_fini(&run->runtime);
    fd_close(&run->cgroup_fd);
    fd_close(&run->signal_fd);
    config_free(&run->config);
}

static int read_config(struct run *run, const struct run_options *options)
{
    const struct config_source source = {.file = options->config_file, .args = &options->args};
    CLEANUP(text_free) char *story = NULL;
    struct err err;
    int result = config_load(&run->config, &source, NULL, &story, &err);

    if (story)
        fputs(story, stderr);
    else if (result < 0)
        log_error("%s", err.text);
    return result;
}

int command_run(int argc, char **argv)
{
    struct run_options options = {0};
    struct run run = {
        .argv = argv, .output.fd = -1, .runtime.lock_fd = -1, .signal_fd = -1, .cgroup_fd = -1};
    struct rlimit old_files;
    struct err err = {0};
    int status = run_options_parse(&options, argc, argv);

    if (status)
        return status - 1;
    if (read_config(&run, &options) < 0)
        return FAILED;
    run.drain_ms = run.config->drain_timeout_ms;
    if (run.config->node_name)
        snprintf(run.node_name, sizeof(run.node_name), "%s", run.config->node_name);
    else
        gethostname(run.node_name, sizeof(run.node_name) - 1);
    prctl(PR_SET_DUMPABLE, 0); /* the CA's key must not end in a core dump */
    host_raise_file_limit(&old_files);
    status = 0;
    if (start(&run, options.replace, &err) < 0) {
        log_error("%s", err.text);
        status = FAILED;
    } else {
        notify_say("READY=1\nSTATUS=Ready");
        event_base_dispatch(agent_base(run.agent));
        notify_say("STOPPING=1\nSTATUS=Ending");
    }
    finish(&run);
    return status;
}
