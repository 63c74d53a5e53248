/* run: the agent, in the foreground: serves the pods that are registered with it, until SIGTERM. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/log.h"
#include "events/file.h"
#include "proxy/agent.h"
#include "proxy/command/command.h"
#include "proxy/command/output.h"
#include "proxy/command/place.h"
#include "proxy/command/reload.h"
#include "proxy/command/run_options.h"
#include "proxy/command/succession.h"
#include "proxy/control/control.h"
#include "proxy/enforce/sources.h"
#include "proxy/host.h"
#include "proxy/notify.h"
#include "proxy/succession/predecessor.h"
#include "proxy/pods/registry.h"
#include "proxy/runtime.h"
#include "proxy/telemetry/status.h"
#include "proxy/telemetry/telemetry.h"

enum { FAILED = 1 };

/* Everything an agent's life owns, in the order it is made. */
struct run {
    char *const *argv;
    struct config_source source;
    struct config *config; /* in force */
    char node_name[256];
    int signal_fd, cgroup_fd;
    struct runtime runtime;
    struct output output;
    struct events_file *events_file; /* or NULL: stdout */
    struct telemetry *telemetry;
    struct credentials *credentials; /* until the agent has them */
    time_t look_again;               /* reload.h */
    struct agent *agent;
    struct sources *sources;
    struct registry *registry;
    struct control *control;
    struct succession *succession;
    struct reload *reload;
    struct status *status;
    struct event *on_signal;
};

/* ---- signals ---- */

/* By this custom all is read anew; and files that we write may have been moved away. */
static void hang_up(struct run *run)
{
    if (run->events_file)
        events_file_reopen(run->events_file);
    if (run->reload) /* another agent's business by now, if not */
        reload_now(run->reload);
    if (run->sources)
        sources_reload(run->sources);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            succession_drain(run->succession);
        else if (info.ssi_signo == SIGHUP)
            hang_up(run);
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

/* ---- the parts ---- */

/* As the config in force has it. */
static struct pods_settings defaults_of_pods(void *arg)
{
    const struct run *run = arg;
    const struct config *config = run->config;
    bool said = config->ports.all || config->ports.len;

    return (struct pods_settings){
        .all_ports = config->ports.all,
        .loopback = config->loopback,
        .open_when_down = config->open_when_down,
        .route = (enum policy_route)config->route,
        .ports = said ? config->ports.list : pods_default_ports,
        .ports_len = said ? config->ports.len : pods_default_ports_len,
    };
}

static int take_up_pods(struct run *run, struct err *err)
{
    const struct registry_parts parts = {
        .agent = run->agent,
        .runtime_dir = run->runtime.dir,
        .cgroup_root = run->cgroup_fd,
        .defaults = defaults_of_pods,
        .arg = run,
    };
    int result = registry_new(&run->registry, &parts, err);

    if (result == 0)
        agent_restored(run->agent);
    return result;
}

/* ---- one agent after the other ---- */

static unsigned drain_ms(void *arg)
{
    const struct run *run = arg;

    return run->config->drain_timeout_ms;
}

static void make_way(void *arg)
{
    struct run *run = arg;

    telemetry_stop(run->telemetry);
    telemetry_dismiss(run->telemetry);
    reload_free(&run->reload);
    registry_free(&run->registry);
    sources_retire(run->sources);
    agent_dismiss(run->agent);
    control_free(&run->control);
}

static void leave(void *arg)
{
    struct run *run = arg;

    runtime_leave(&run->runtime);
}

/* Serves from here on: the pods of the agent before us, if there was one, and what waits for it. */
static int succeed(struct run *run, bool replaces, struct err *err)
{
    CLEANUP(predecessor_free) struct predecessor *predecessor = NULL;
    int result = 0;

    if (replaces)
        result = predecessor_ask(&predecessor, run->runtime.dir, true, err);
    if (predecessor) {
        agent_await(run->agent);
        sources_catch_up(run->sources);
    }
    if (result == 0 && !run->config->listen.len)
        result = take_up_pods(run, err);
    if (result == 0 && predecessor && agent_adopt(run->agent, &predecessor, err) < 0)
        log_warn("%s; what it knew is lost", err->text);
    replaces = false;
    return result == 0 && run->runtime.lock_fd < 0
               ? place_find(&run->runtime, true, false, &replaces, err)
               : result;
}

static void refuse_pods(void *arg, struct control_call *call)
{
    struct err err;

    (void)arg;
    err_set(&err, -EOPNOTSUPP, "this agent takes what is sent to --listen, and has no pods");
    control_refuse(call, &err);
}

static int serve_pods(struct run *run, struct err *err)
{
    static const char *const verbs[] = {"pods.add", "pods.remove", "pods.thaw", "pods.list"};
    int result = 0;

    if (run->registry)
        return registry_serve(run->registry, run->control, err);
    for (size_t i = 0; result == 0 && i < ARRAY_SIZE(verbs); i++)
        result = control_on(run->control, verbs[i], refuse_pods, NULL, err);
    return result;
}

static int serve_clients(struct run *run, struct err *err)
{
    const struct succession_parts succession = {
        .agent = run->agent,
        .argv = run->argv,
        .drain_ms = drain_ms,
        .make_way = make_way,
        .leave = leave,
        .arg = run,
        .alone = run->config->listen.len > 0,
    };
    char path[sizeof(run->runtime.dir) + sizeof(CONTROL_SOCKET)];
    int result;

    snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, run->runtime.dir);
    result = control_new(&run->control, agent_base(run->agent), path, err);
    if (result == 0)
        result = status_new(&run->status, run->control, err);
    if (result == 0)
        result = status_on(run->status, telemetry_tell, run->telemetry, err);
    if (result == 0)
        result = status_on(run->status, output_tell, &run->output, err);
    if (result == 0)
        result = agent_serve(run->agent, run->control, run->status, err);
    if (result == 0)
        result = serve_pods(run, err);
    if (result == 0)
        result = sources_serve(run->sources, run->control, err);
    if (result == 0)
        result = status_on(run->status, sources_tell, run->sources, err);
    if (result == 0)
        result = succession_new(&run->succession, &succession, run->control, err);
    return result;
}

static int open_events(struct run *run, struct err *err)
{
    const struct config *config = run->config;
    const struct events_file_settings settings = {
        .path = config->events_file,
        .max_bytes = config->events_file_max_size,
        .backups = config->events_file_backups,
    };
    int result;

    if (!config->events_file)
        return output_init(&run->output, NULL, 0, STDOUT_FILENO, config->output == CONFIG_JSON,
                           run->node_name, err);
    run->output = (struct output){.file = strdup(config->events_file), .fd = -1};
    if (!run->output.file)
        return err_set(err, -ENOMEM, "--events-file");
    result = events_file_open(&run->events_file, &settings, &run->output.sink,
                              config->output == CONFIG_JSON ? json_render : text_render,
                              run->node_name, err);
    return result < 0 ? err_wrap(err, "--events-file") : 0;
}

static int start_agent(struct run *run, struct err *err)
{
    struct bus_tap taps[TELEMETRY_TAPS];
    const struct agent_settings settings = {
        .cgroup_fd = run->cgroup_fd,
        .pin_dir = run->runtime.pin_dir,
        .runtime_dir = run->runtime.dir,
        .credentials = run->credentials,
        .sinks = &run->output.sink,
        .sinks_len = 1,
        .taps = taps,
        .taps_len = TELEMETRY_TAPS,
        .node_name = run->node_name,
        .workers = run->config->workers ? run->config->workers : host_cpus(),
        .listen = run->config->listen.at,
        .listen_len = run->config->listen.len,
    };
    int result = telemetry_new(&run->telemetry, run->node_name, err);

    if (result < 0)
        return result;
    telemetry_taps(run->telemetry, taps);
    result = agent_new(&run->agent, &settings, err);
    credentials_unref(&run->credentials);
    if (result == 0)
        result = agent_pass_through(run->agent, run->config->passthrough.list,
                                    run->config->passthrough.len, err);
    return result;
}

static int load_policies(struct run *run, struct err *err)
{
    const struct config_names *paths = &run->config->policy;
    const struct sources_parts parts = {
        .agent = run->agent,
        .config_file = run->source.file ? run->source.file : config_default_file,
        .runtime_dir = run->runtime.dir,
    };

    return sources_new(&run->sources, &parts, paths->list, paths->len, err);
}

static void use_config(void *arg)
{
    const struct run *run = arg;

    sources_use_paths(run->sources, run->config->policy.list, run->config->policy.len);
}

static int follow_changes(struct run *run, struct err *err)
{
    const struct reload_parts parts = {.agent = run->agent,
                                       .source = &run->source,
                                       .config = &run->config,
                                       .node_name = run->node_name,
                                       .taken = use_config,
                                       .arg = run};
    int result = reload_new(&run->reload, &parts, run->look_again, err);

    if (result == 0)
        result = status_on(run->status, reload_tell, run->reload, err);
    if (result < 0)
        return result;
    telemetry_tell_reloads(run->telemetry, reload_status(run->reload));
    return serve_signals(run, err);
}

/* Who has taken another agent's place is not stopped by a port: its pods have nobody else. */
static int serve_telemetry(struct run *run, bool replaces, struct err *err)
{
    const char *address = run->config->admin_address;
    int result = telemetry_serve(run->telemetry, run->agent, run->control, address, err);

    if (result == 0 || !replaces)
        return result;
    log_error("%s; nobody serves metrics until the agent is restarted", err->text);
    return 0;
}

static int start(struct run *run, bool replace, struct err *err)
{
    const struct config *config = run->config;
    bool replaces = false;
    bool steers = !config->listen.len;
    int result = steers ? host_check(err) : host_check_files(err);

    if (result == 0)
        result = catch_signals(run, err);
    if (result == 0)
        result = runtime_init(&run->runtime, runtime_choose(config->runtime_dir), err);
    if (result == 0)
        result = place_find(&run->runtime, !steers, replace, &replaces, err);
    if (result == 0 && steers)
        result = runtime_make_pins(&run->runtime, err);
    if (result == 0)
        result = open_events(run, err);
    if (result == 0 && steers)
        result = host_open_cgroup_root(config->cgroup_root, &run->cgroup_fd, err);
    if (result == 0)
        result =
            reload_credentials(&run->credentials, &run->look_again, config, run->node_name, err);
    if (result == 0)
        result = start_agent(run, err);
    if (result == 0)
        result = load_policies(run, err);
    if (result == 0)
        result = succeed(run, replaces, err);
    if (result == 0)
        result = serve_clients(run, err);
    if (result == 0)
        result = serve_telemetry(run, replaces, err);
    if (result == 0)
        result = follow_changes(run, err);
    return result;
}

static void finish(struct run *run)
{
    if (run->on_signal)
        event_free(run->on_signal);
    if (run->telemetry)
        telemetry_stop(run->telemetry);
    control_free(&run->control);
    reload_free(&run->reload);
    registry_free(&run->registry);
    sources_free(&run->sources);
    if (run->agent && run->runtime.lock_fd < 0)
        agent_leave(run->agent); /* we have no say here yet, or no longer */
    if (run->agent)
        output_hurry_by_signals(&run->output);
    if (run->succession)
        succession_stop(run->succession);
    agent_free(&run->agent);
    succession_free(&run->succession);
    status_free(&run->status);
    telemetry_free(&run->telemetry);
    output_tell_lost(&run->output);
    output_fini(&run->output);
    events_file_free(&run->events_file);
    credentials_unref(&run->credentials);
    runtime_fini(&run->runtime);
    fd_close(&run->cgroup_fd);
    fd_close(&run->signal_fd);
    config_free(&run->config);
}

static int read_config(struct run *run)
{
    CLEANUP(text_free) char *story = NULL;
    struct err err;
    int result = config_load(&run->config, &run->source, NULL, &story, &err);

    if (story)
        log_story(story);
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
    run.source = (struct config_source){.file = options.config_file, .args = &options.args};
    if (read_config(&run) < 0)
        return FAILED;
    log_set_json(run.config->log_json);
    if (run.config->listen.len && options.replace) {
        log_error("--replace does not go with --listen: an agent that listens by itself can be "
                  "followed only when it has ended");
        return FAILED;
    }
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
        log_info(run.registry ? "ready: pods may be registered (%s)"
                              : "ready: takes what is sent to --listen (%s)",
                 run.runtime.dir);
        notify_say("READY=1\nSTATUS=Ready");
        event_base_dispatch(agent_base(run.agent));
        notify_say("STOPPING=1\nSTATUS=Ending");
        log_info("ending");
    }
    finish(&run);
    return status;
}
