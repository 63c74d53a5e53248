#include "proxy/probe/means.h"

#include "proxy/probe/tries.h"

/* In the order of probe.c's table; what each met is nobody's concern. */
struct kernel_means means_find(void)
{
    struct kernel_means means = {0};
    struct bed bed = {.cgroup_fd = -1, .map_fd = -1, .net = true, .means = &means};
    struct err err;

    try_sk_msg(&bed, NULL, &err);
    if (try_ktls(&bed, NULL, &err) < 0)
        return means;
    try_ktls_in_hash(&bed, NULL, &err);
    if (try_bpf(&bed, NULL, &err) == 0 && try_btf(&bed, NULL, &err) == 0) {
        if (!means.ktls_in_hash)
            try_lsm(&bed, NULL, &err);
        try_fentry(&bed, NULL, &err);
    }
    btf__free(bed.btf);
    fd_close(&bed.map_fd);
    return means;
}
