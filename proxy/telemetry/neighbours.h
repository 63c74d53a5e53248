/* neighbours: programs of others on our hooks, for `status`: at the cgroup where ours stand, above
 * it, and below it on the way to each pod.
 *
 * Control thread only.
 * Called by:  agent.c.
 * Leads to:   probe/foreign.c. */
#pragma once

#include <jansson.h>

struct lifecycle;

struct neighbours { /* all borrowed */
    int cgroup_fd;  /* where our programs are attached */
    const char *pin_dir;
    const struct lifecycle *lifecycle; /* knows the pods' cgroups */
};

/* For status_on(): adds "foreign_programs", and why if some could not be seen. */
void neighbours_tell(void *neighbours, json_t *answer);
