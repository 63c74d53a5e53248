/* sources: where policies come from: the files and directories that were named, policies.d, and
 * what clients applied. All of them are one set, which is swapped whole: where anything is wrong,
 * every fault is told, and what was in force stays.
 *
 * Files are read again when they change (watch.h) and by SIGHUP. Policies are compiled by a thread
 * of their own: a thousand take as long as the control thread must not be away.
 * Control thread only.
 * Called by:  command/run.c; control/ (verbs policy.apply, policy.list, policy.remove).
 * Leads to:   policy_files.h, applied.h, agent_use_policies(). */
#pragma once

#include <jansson.h>

#include "base/err.h"

struct agent;
struct control;
struct sources;

struct sources_parts { /* all borrowed, all outlive it */
    struct agent *agent;
    const char *config_file; /* policies.d stands beside it; neither need be there */
    const char *runtime_dir; /* what clients applied is kept as runtime_state() has it */
};

/* Puts in force what there is now, and follows what changes; paths: what --policy names, of which
 * copies are taken. -EINVAL: there are faults, which were told. */
int sources_new(struct sources **out, const struct sources_parts *parts, char *const *paths,
                size_t len, struct err *err);
void sources_free(struct sources **sources);
/* Another agent had the place until now: clients may have applied policies there meanwhile. */
void sources_catch_up(struct sources *sources);
/* Another agent has the place from now on: what it is told, by files or clients, is for the flows
 * that are left here, too; it is the one to speak of it. */
void sources_retire(struct sources *sources);
int sources_serve(struct sources *sources, struct control *control, struct err *err);

/* Reads all files again. What is wrong is in the log and the status. */
void sources_reload(struct sources *sources);
/* --policy names others. */
void sources_use_paths(struct sources *sources, char *const *paths, size_t len);
/* Its part of the status (status.h). */
void sources_tell(void *sources, json_t *answer);
