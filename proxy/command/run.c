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

#include <linux/magic.h>

#include "base/log.h"
#include "proxy/agent.h"
#include "proxy/command/command.h"
#include "proxy/command/output.h"
#include "proxy/command/run_options.h"
#include "proxy/command/signing.h"
#include "proxy/host.h"
#include "proxy/notify.h"
#include "proxy/runtime.h"

enum { FAILED = 1, MISUSED = 2 };

/* Everything an agent's life owns, in the order it is made. */
struct run {
    struct config *config;
    char node_name[256];
    int signal_fd, cgroup_fd;
    struct runtime runtime;
    struct output output;
    struct signing signing;
    struct agent *agent;
    struct event *on_signal;
};

/* ---- signals ---- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            event_base_loopbreak(agent_base(run->agent));
}

/* Blocked before any thread is made, so in every one. */
static int catch_signals(struct run *run, struct err *err)
{
    sigset_t caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGTERM);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGHUP);
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

/* ---- the parts ---- */

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
        .anchors = &run->signing.anchors,
        .roots = run->signing.roots,
        .sinks = &run->output.sink,
        .sinks_len = 1,
        .node_name = run->node_name,
        .workers = run->config->workers ? run->config->workers : host_cpus(),
        .listen = run->config->listen.at,
        .listen_len = run->config->listen.len,
    };
    int result = agent_new(&run->agent, &settings, err);

    return result < 0 ? result : serve_signals(run, err);
}

static int start(struct run *run, struct err *err)
{
    const struct config *config = run->config;
    bool steers = !config->listen.len;
    int result = steers ? host_check(err) : host_check_files(err);

    if (result == 0)
        result = catch_signals(run, err);
    if (result == 0)
        result = runtime_init(&run->runtime, runtime_choose(config->runtime_dir), steers, err);
    if (result == 0)
        result = output_init(&run->output, config->events_file, 0, STDOUT_FILENO,
                             config->output == CONFIG_JSON, run->node_name, err);
    if (result == 0 && steers)
        result = open_cgroup_root(run, err);
    if (result == 0)
        result = signing_init(&run->signing, config->ca, config->upstream_ca, run->node_name, err);
    if (result == 0)
        result = start_agent(run, err);
    return result;
}

static void finish(struct run *run)
{
    if (run->on_signal)
        event_free(run->on_signal);
    if (run->agent)
        output_hurry_by_signals(&run->output);
    agent_free(&run->agent);
    output_tell_lost(&run->output);
    output_fini(&run->output);
    signing_fini(&run->signing);
    runtime_fini(&run->runtime);
    fd_close(&run->cgroup_fd);
    fd_close(&run->signal_fd);
    config_free(&run->config);
}

int command_run(int argc, char **argv)
{
    struct run_options options = {0};
    struct run run = {.output.fd = -1, .runtime.lock_fd = -1, .signal_fd = -1, .cgroup_fd = -1};
    struct rlimit old_files;
    struct err err = {0};
    int status = run_options_parse(&options, argc, argv);

    if (status)
        return status - 1;
    if (config_load(&run.config, &options.args, &err) < 0) {
        log_error("%s", err.text);
        return MISUSED;
    }
    if (run.config->node_name)
        snprintf(run.node_name, sizeof(run.node_name), "%s", run.config->node_name);
    else
        gethostname(run.node_name, sizeof(run.node_name) - 1);
    prctl(PR_SET_DUMPABLE, 0); /* the CA's key must not end in a core dump */
    host_raise_file_limit(&old_files);
    status = 0;
    if (start(&run, &err) < 0) {
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
