/* exec_run: what one `exec` owns, and the steps that differ by who steers the command. */
#pragma once

#include <sys/resource.h>

#include "proxy/command/attend.h"
#include "proxy/command/exec_measured.h"
#include "proxy/command/exec_options.h"
#include "proxy/command/output.h"
#include "proxy/instance.h"
#include "proxy/overlay.h"

struct agent;
struct credentials;
struct event_base;
struct exec_join;
struct exec_measured;

/* In the order it is made. */
struct exec_run {
    const struct exec_options *options;
    char node_name[256];
    struct rlimit old_files;
    struct attend attend;
    struct output output;
    struct instance *instance;
    struct overlay overlay;
    struct credentials *credentials; /* of the agent of its own */
    char *root_pem, *cert_file_pem;
    struct agent *agent;            /* this or ... */
    struct exec_join *join;         /* ... that */
    struct event_base *bare;        /* ... or, of a command that runs without us, neither */
    struct exec_measured *measured; /* NULL: nobody asks */
    struct exec_cpu ready;          /* what our own process had taken when the command began */
};

/* The command's programs are to let the kernel encrypt: before exec_show(). */
void exec_prefer_ktls(struct exec_run *run);
/* Shows these roots to the command: in copies of what it reads, and by variables. */
int exec_show(struct exec_run *run, const struct anchors_shown *shown, struct err *err);

/* Each prepares what the command trusts, and steers it from its first connect on. */
int exec_own_start(struct exec_run *run, struct err *err);
int exec_join_start(struct exec_run *run, struct err *err);
/* Prepares nothing, and steers nothing. */
int exec_bare_start(struct exec_run *run, struct err *err);

/* In this order, and only if somebody asks: the command runs; it has ended, and nothing of it was
 * killed yet; all is told. */
void exec_measure_ready(struct exec_run *run);
void exec_measure_program(struct exec_run *run);
void exec_measure_agent(struct exec_run *run);

/* Nothing of the command runs any more: waits until all is told, and the pod is gone; shortly where
 * nobody reads the events and a signal comes. */
void exec_join_settle(struct exec_join *join, int signal_fd);
void exec_join_free(struct exec_join **join);
