/* pod: which registered pod the current process belongs to. */
#pragma once

#include "bpf/maps.h"

/* The registered cgroup the current process is in, or the deepest registered one above it, so that
 * a container with settings of its own inside a pod is taken for what it is. *id is its cgroup
 * id. NULL: nobody registered it. Cgroups nested beyond ABI_DEPTH_MAX cannot hide a pod above. */
static __always_inline const struct abi_pod *pod_of_current(__u64 *id)
{
    const struct abi_pod *found;

    *id = bpf_get_current_cgroup_id();
    found = bpf_map_lookup_elem(&pods, id);
    if (found)
        return found;
    for (int level = 1; level <= ABI_DEPTH_MAX; level++) {
        __u64 ancestor = bpf_get_current_ancestor_cgroup_id(level);
        const struct abi_pod *pod;

        if (!ancestor)
            break;
        pod = bpf_map_lookup_elem(&pods, &ancestor);
        if (pod) {
            found = pod;
            *id = ancestor;
        }
    }
    return found;
}
