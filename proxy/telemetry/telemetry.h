/* telemetry: what an agent tells beside its own lines: to who follows its events, and to who
 * watches over it.
 *
 * Made before the agent, which has its taps; serves once agent and control socket are there; stops
 * before they are taken down, and goes after them.
 * Called by:  command/run.c. Leads to: followers.h, events/metrics.h, admin.h. */
#pragma once

#include "events/bus.h"
#include "proxy/agent.h"
#include "proxy/control/control.h"

struct telemetry;
struct reload_status;

enum { TELEMETRY_TAPS = 2 };

int telemetry_new(struct telemetry **out, const char *node_name, struct err *err);
void telemetry_free(struct telemetry **telemetry);

void telemetry_taps(struct telemetry *telemetry, struct bus_tap taps[TELEMETRY_TAPS]);

/* Borrows all until telemetry_stop(). address: of admin HTTP; "": none. */
int telemetry_serve(struct telemetry *telemetry, struct agent *agent, struct control *control,
                    const char *address, struct err *err);
/* Tells of these, too; borrowed likewise. */
void telemetry_tell_reloads(struct telemetry *telemetry, const struct reload_status *status);
/* For status_on(): whether it is ready, and what has become of its events. */
void telemetry_tell(void *telemetry, json_t *answer);
void telemetry_stop(struct telemetry *telemetry);
/* Another agent takes over: who follows the events is to follow that one. */
void telemetry_dismiss(struct telemetry *telemetry);
