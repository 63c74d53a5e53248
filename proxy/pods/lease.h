/* lease: the connection by which `exec` holds its pod: the pod goes when that ends, whatever ended
 * it.
 *
 * Control thread only.
 * Called by:  registry.c, registry_verbs.c. The other end: command/exec_join.c. */
#pragma once

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lease;

struct lease_parts {
    struct event_base *base;                   /* borrowed */
    uint64_t pod;                              /* its cgroup's id */
    bool (*is_quiet)(void *arg, uint64_t pod); /* is all told that it did? */
    void (*ended)(void *arg, uint64_t pod);    /* frees the lease */
    void *arg;
};

int lease_new(struct lease **out, const struct lease_parts *parts, struct err *err);
/* Takes fd and answer, which is sent as a line. Once the other end has said its last, the pod has
 * a moment until all is told; then it has ended. */
void lease_begin(struct lease *lease, int fd, json_t *answer);
/* Closes the connection, which tells the other end. */
void lease_free(struct lease **lease);
