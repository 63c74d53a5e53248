/* filter: which events somebody wants to see, as tetra's getevents has it. Pure.
 *
 * Conditions of one kind are alternatives, different kinds must all hold; an empty filter matches
 * everything. What tells of lost events always matches: nobody should take a gap for silence.
 * Called by:  proxy/telemetry/followers.c, to make one from a request; events/feed.c, to ask it. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "events/flow_event.h"

enum filter_key {
    FILTER_TYPES,      /* "process_exec", "http": separated by commas */
    FILTER_NAMESPACES, /* Kubernetes namespaces, exact: separated by commas */
    FILTER_POD,        /* a regular expression for the pod's name */
    FILTER_PROCESS,    /* a regular expression for the path of the program */
};

enum {
    FILTER_MAX = 32,       /* conditions of one kind */
    FILTER_TEXT_MAX = 255, /* bytes of one */
};

struct filter;

int filter_new(struct filter **out, struct err *err);
void filter_free(struct filter **filter);

/* One more condition. Regular expressions are POSIX extended ones, found anywhere in the name, as
 * tetra's are; without back-references and counts ("{2}"), which can take for ever. */
int filter_add(struct filter *filter, enum filter_key key, const char *text, struct err *err);

bool filter_match(const struct filter *filter, const struct flow_event *event);
