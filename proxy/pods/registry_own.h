/* registry_own: what registry.c and registry_verbs.c share; nobody else's. */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/pods/pod_spec.h"
#include "proxy/pods/registry.h"

struct lease;
struct pod_place;

struct entry {
    struct entry *next;
    uint64_t id; /* of its cgroup */
    struct pod_spec spec;
    char *cgroup, *netns; /* as paths, or what else the kernel calls it; netns: NULL: none */
    uint64_t netns_inode;
    struct lease *lease; /* it goes with this; NULL: it is kept in a file */
};

struct registry {
    struct registry_parts parts;
    char dir[PATH_MAX];
    struct entry *first, **last; /* in the order in which they came */
};

enum { TITLE_MAX = POD_SPEC_SPACE_MAX + POD_SPEC_NAME_MAX + 2 };

/* As messages call it. */
const char *registry_title(const struct pod_spec *spec, char out[TITLE_MAX]);

/* NULL: there is none. */
struct entry *registry_find(const struct registry *registry, uint64_t id);
struct entry *registry_find_name(const struct registry *registry, const char *space,
                                 const char *name);

/* Tells the agent, too. Takes spec. make_file: else it is in one already, or has none. */
int registry_add(struct registry *registry, const struct pod_place *place, struct pod_spec *spec,
                 bool make_file, struct err *err);
/* With its file; the agent knows. */
void registry_drop(struct registry *registry, struct entry *entry);

/* As files and clients have it; NULL: no memory, or bytes that are no text. */
json_t *registry_write(const struct entry *entry);
