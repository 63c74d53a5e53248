/* pod_spec: what is said of a pod that is registered, and what is wrong with it.
 *
 * Pure: JSON in, checked values out, and back. The JSON comes from a client, or from a file that we
 * wrote; neither is trusted.
 * Called by:  registry.c, registry_verbs.c. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "policy/facts.h"
#include "proxy/pods/pods.h"

enum {
    POD_SPEC_SPACE_MAX = 63, /* Kubernetes' bounds */
    POD_SPEC_NAME_MAX = 253,
    POD_SPEC_LABELS_MAX = 64,
    POD_SPEC_PORTS_MAX = 64,
};

struct pod_spec {
    char space[POD_SPEC_SPACE_MAX + 1]; /* "" when none */
    char name[POD_SPEC_NAME_MAX + 1];
    struct pod_label *labels; /* owned */
    size_t labels_len;
    bool all_ports, loopback, open_when_down;
    enum policy_route route;
    uint16_t ports[POD_SPEC_PORTS_MAX];
    size_t ports_len;
};

/* object has "name", may have "namespace", "labels" (an object of texts), "ports" (a list, or
 * "all"), "loopback", "onAgentDown", "route"; what is not there is as `otherwise` has it. *out is
 * filled on success, the caller's to end. */
int pod_spec_read(struct pod_spec *out, const json_t *object, const struct pods_settings *otherwise,
                  struct err *err);
void pod_spec_fini(struct pod_spec *spec);
/* All of it as pod_spec_read() takes it; NULL when out of memory. */
json_t *pod_spec_write(const struct pod_spec *spec);
/* Borrows from spec. */
struct pods_settings pod_spec_settings(const struct pod_spec *spec);
