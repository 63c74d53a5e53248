/* reload: takes up what has changed in configuration, CA and trust while the agent runs, all of it
 * or nothing.
 *
 * By SIGHUP (reload_now()), when a file was replaced (watch.h), and when the CA directory says that
 * another authority signs from now on. Flows under way keep what they began with.
 * Called by:  command/run.c. Control thread only.
 * Leads to:   config.h, signing.h, agent_use_credentials(). */
#pragma once

#include <jansson.h>

#include "proxy/agent.h"
#include "proxy/config.h"

struct reload;

struct reload_parts { /* all borrowed, all outlive it */
    struct agent *agent;
    const struct config_source *source;
    struct config **config; /* in force; replaced by a reload that succeeds */
    const char *node_name;
    void (*taken)(void *arg); /* another config is in force */
    void *arg;
};

struct reload_status {
    uint64_t done, failed;
    uint64_t at_ns;  /* since 1970: the last one; 0: there was none */
    char error[512]; /* why the last one failed; "": it did not */
};

/* What the agent begins with; then it runs, and reload_new() follows what changes. */
int reload_credentials(struct credentials **out, time_t *look_again, const struct config *config,
                       const char *node_name, struct err *err);
int reload_new(struct reload **out, const struct reload_parts *parts, time_t look_again,
               struct err *err);
void reload_free(struct reload **reload);

/* Reads all anew, whether it has changed or not. What is wrong is in the log and the status. */
void reload_now(struct reload *reload);
const struct reload_status *reload_status(const struct reload *reload); /* borrowed */
/* Its part of the status (status.h). */
void reload_tell(void *reload, json_t *answer);
