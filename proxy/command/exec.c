/* exec: run a command as a pod of its own, with everything set up for it, and tell what it does: by
 * an agent of its own (exec_own.c), or as a pod of the one that runs (exec_join.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "certs/pem.h"
#include "proxy/agent.h"
#include "proxy/command/child.h"
#include "proxy/command/command.h"
#include "proxy/command/exec_run.h"
#include "proxy/host.h"

enum { FAILED = 125, SETTLE_MS = 1000 };

void exec_prefer_ktls(struct exec_run *run)
{
    if (!host_has_ktls())
        log_warn("this kernel has no TLS (no tls module), so programs encrypt by themselves, as "
                 "they would without --ktls or ktls: prefer");
    overlay_find_ktls(&run->overlay);
}

int exec_show(struct exec_run *run, const struct anchors_shown *shown, struct err *err)
{
    char dir[128];
    int result;

    snprintf(dir, sizeof(dir), "%s/trust", run->instance->dir);
    result = overlay_write(&run->overlay, dir, shown, err);
    if (result < 0)
        return result;
    run->root_pem = pem_write(shown->roots[ANCHORS_ANY]);
    run->cert_file_pem = pem_write(shown->roots[run->overlay.cert_file_trust]);
    return run->root_pem && run->cert_file_pem ? 0 : err_set(err, -ENOMEM, "the CA's certificate");
}

/* Takes everything down; the order matters: nothing of the command may outlive its steering. */
static void finish(struct exec_run *run)
{
    struct err err;

    if (run->attend.child) {
        exec_measure_program(run);
        if (run->agent)
            agent_settle(run->agent, 0); /* what it did before it ended */
        if (instance_kill(run->instance, &err) < 0) {
            /* of an agent of its own the pins stay, which refuse the survivors' connections */
            log_error("%s; %sthe next start ends it", err.text,
                      run->agent ? "what survives cannot connect, " : "");
            if (run->agent)
                agent_flush(run->agent);
            _exit(run->attend.status);
        }
        if (run->agent)
            agent_settle(run->agent, SETTLE_MS);
        else if (run->join)
            exec_join_settle(run->join, run->attend.signal_fd);
        exec_measure_agent(run);
    }
    attend_stop(&run->attend);
    exec_join_free(&run->join);
    if (run->bare)
        event_base_free(TAKE(run->bare));
    if (run->agent)
        output_hurry_by_signals(&run->output);
    agent_free(&run->agent);
    output_tell_lost(&run->output);
    output_fini(&run->output);
    credentials_unref(&run->credentials);
    instance_free(&run->instance);
    free(run->root_pem);
    free(run->cert_file_pem);
    attend_fini(&run->attend);
}

static int prepare(struct exec_run *run, struct err *err)
{
    if (run->options->bare)
        return exec_bare_start(run, err);
    return run->options->agent ? exec_join_start(run, err) : exec_own_start(run, err);
}

static int start(struct exec_run *run, int *status, struct err *err)
{
    struct child_plan plan = {.argv = run->options->argv, .user = run->options->user};
    int result = host_check(err);

    *status = FAILED;
    if (result == 0)
        result = attend_catch_signals(&run->attend, err);
    if (result == 0)
        result = output_init(&run->output, run->options->events_file, O_TRUNC, STDERR_FILENO,
                             run->options->json, run->node_name, err);
    if (result == 0)
        result = instance_new(&run->instance, err);
    if (result == 0)
        result = prepare(run, err);
    if (result == 0)
        result = attend_watch_frozen(&run->attend, run->instance, run->options->agent, err);
    if (result < 0)
        return result;
    plan.instance = run->instance;
    plan.overlay = run->options->bare ? NULL : &run->overlay;
    plan.began = run->measured ? &run->measured->began : NULL;
    plan.root_pem = run->root_pem;
    plan.cert_file_pem = run->cert_file_pem;
    plan.signals = run->attend.old_mask;
    plan.pipe = run->attend.old_pipe;
    plan.chld = run->attend.old_chld;
    plan.files = run->old_files;
    plan.on_stop = attend_stop_too;
    result = child_start(&run->attend.child, &plan, status, err);
    if (result == 0)
        exec_measure_ready(run);
    return result;
}

/* What to do about a failure that can come from any of the places we make something in. */
static const char *advice(int code)
{
    return code == -EROFS
               ? "; make it writable (mount -o remount,rw; in a container, mount one that is)"
               : "";
}

int exec_perform(const struct exec_options *options, struct exec_measured *measured)
{
    struct exec_run run = {.options = options,
                           .measured = measured,
                           .output.fd = -1,
                           .attend = {.signal_fd = -1, .frozen_fd = -1, .status = -1}};
    struct err err = {0};
    bool had_terminal;
    int status;

    gethostname(run.node_name, sizeof(run.node_name) - 1);
    prctl(PR_SET_DUMPABLE, 0); /* the CA's key must not end in a core dump */
    host_raise_file_limit(&run.old_files);
    had_terminal = attend_own_terminal();
    if (start(&run, &status, &err) < 0) {
        log_error("%s%s", err.text, advice(err.code));
        if (measured)
            measured->err = err;
    }
    while (run.attend.child && run.attend.status < 0)
        event_base_dispatch(run.attend.base);
    finish(&run);
    if (had_terminal)
        attend_give_terminal(getpgrp());
    return run.attend.child ? run.attend.status : status;
}

int command_exec(int argc, char **argv)
{
    struct exec_options options = {0};
    int status = exec_options_parse(&options, argc, argv);

    return status ? status - 1 : exec_perform(&options, NULL);
}
