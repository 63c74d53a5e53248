/* resolving: by what each pod resolves names (dns/configured.h): found when it is registered, told
 * to dns/names.h, and kept over a restart of the agent, for by then the pod may have written other
 * files.
 *
 *   DIR/resolving/ID   ID: the cgroup's id, in digits; lines of both files
 *
 * Where no process is in the pod yet, it is the first that comes whose files are read: those that
 * the container was given, unless that very program is quicker than we are.
 * Control thread only.
 * Called by:  lifecycle.c; identity/, of each process that begins. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct names;
struct resolving;

/* runtime_dir: NULL: pods do not outlive the agent. names is borrowed. */
int resolving_new(struct resolving **out, struct names *names, const char *runtime_dir,
                  struct err *err);
void resolving_free(struct resolving **resolving);

/* Whether it is known for this pod; else it is asked of an agent before us. */
bool resolving_recall(struct resolving *resolving, uint64_t pod);
/* As recall, else by the files of this process, which began then (0: it is alive for sure). */
bool resolving_learn(struct resolving *resolving, uint64_t pod, pid_t pid, uint64_t start_ns);
/* The pod is no more. */
void resolving_forget(struct resolving *resolving, uint64_t pod);
/* Forgets what an agent before us kept of all those for which not is_there(arg, pod). */
void resolving_sweep(struct resolving *resolving, bool (*is_there)(void *arg, uint64_t pod),
                     void *arg);
