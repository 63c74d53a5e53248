/* pod: which registered pod the current process belongs to, or another's cgroup. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

#include "bpf/kernel.h"
#include "bpf/maps.h"

/* The deepest registered cgroup above the current process's own; 0: nobody registered any. Cgroups
 * nested beyond ABI_DEPTH_MAX cannot hide a pod above. For the verifier a function of its own,
 * which it looks at once, and not for each of the levels. */
__weak __noinline __u64 pod_above_current(void)
{
    __u64 found = 0;

    for (int level = 1; level <= ABI_DEPTH_MAX; level++) {
        __u64 ancestor = bpf_get_current_ancestor_cgroup_id(level);

        if (!ancestor)
            break;
        if (bpf_map_lookup_elem(&pods, &ancestor))
            found = ancestor;
    }
    return found;
}

/* The registered cgroup the current process is in, or the deepest registered one above it, so that
 * a container with settings of its own inside a pod is taken for what it is. *id is its cgroup
 * id. NULL: nobody registered it. */
static __always_inline const struct abi_pod *pod_of_current(__u64 *id)
{
    const struct abi_pod *found;

    *id = bpf_get_current_cgroup_id();
    found = bpf_map_lookup_elem(&pods, id);
    if (found)
        return found;
    *id = pod_above_current();
    return *id ? bpf_map_lookup_elem(&pods, id) : NULL;
}

/* The id of the deepest registered one that this cgroup is, or is in; 0: none. From the root down,
 * so that cgroups nested beyond ABI_DEPTH_MAX cannot hide a pod above them. */
static __always_inline __u64 pod_of_cgroup(struct cgroup *own)
{
    int depth = BPF_CORE_READ(own, level);
    __u64 pod = 0;

    for (int level = 1; level <= ABI_DEPTH_MAX && level <= depth; level++) {
        struct cgroup *ancestor = NULL;
        __u64 id;

        bpf_core_read(&ancestor, sizeof(ancestor),
                      (const char *)&own->ancestors + level * sizeof(ancestor));
        id = BPF_CORE_READ(ancestor, kn, id);
        if (bpf_map_lookup_elem(&pods, &id))
            pod = id;
    }
    return pod;
}

/* What the pod's settings say of a TCP port. */
static __always_inline bool port_is_looked_into(const struct abi_pod *pod, __u64 id, __u16 port)
{
    struct abi_port key = {.pod = id, .port = port};

    return pod->flags & ABI_POD_ALL_PORTS || bpf_map_lookup_elem(&ports, &key);
}
