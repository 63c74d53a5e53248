/* probe: each thing that we may need, found by trying it on this very machine.
 *
 * Disturbs nothing and leaves nothing behind: what is tried lives in a process, a cgroup and
 * namespaces of the probe's own; programs at hooks of the whole machine let everything pass, and
 * are there for a moment only. What stays: a module that the kernel loads by itself for kTLS; after
 * SIGKILL, an empty cgroup.
 *
 * Called by:  command/probe.c. */
#pragma once

#include "base/err.h"
#include "proxy/probe/report.h"

/* Fails where nothing can be tried (not root); what is missing is in the report. */
int probe_run(struct probe_report **out, struct err *err);
void probe_free(struct probe_report **report);
