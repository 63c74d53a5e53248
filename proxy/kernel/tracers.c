#include "proxy/kernel/tracers.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>

#include "route.skel.h"

/* Kernels before 6.5 have a way of their own for sendfile and splice. */
static bool has_sendpage(void)
{
    struct btf *kernel = btf__load_vmlinux_btf();
    struct btf *tls = kernel ? btf__load_module_btf("tls", kernel) : NULL;
    bool found = tls && btf__find_by_name_kind(tls, "tls_sw_sendpage", BTF_KIND_FUNC) > 0;

    btf__free(tls);
    btf__free(kernel);
    return found;
}

void tracers_choose(struct route_bpf *bpf, const struct kernel_means *means)
{
    enum kernel_route route = kernel_route_choose(means);
    bool received = means->ktls && means->fentry && route != KERNEL_ROUTE_NONE;
    bool sent = route == KERNEL_ROUTE_LSM;
    bool pages = sent && has_sendpage();
    bool typed = received && route == KERNEL_ROUTE_SOCKMAP;

    bpf_program__set_autoload(bpf->progs.begin_receive, received);
    bpf_program__set_autoload(bpf->progs.end_receive, received);
    bpf_program__set_autoload(bpf->progs.end_splice, received);
    bpf_program__set_autoload(bpf->progs.note_type, typed);
    bpf_program__set_autoload(bpf->progs.forget_type, typed);
    bpf_program__set_autoload(bpf->progs.begin_send, sent);
    bpf_program__set_autoload(bpf->progs.end_send, sent);
    bpf_program__set_autoload(bpf->progs.judge_send, sent);
    bpf_program__set_autoload(bpf->progs.ask_rules, sent);
    bpf_program__set_autoload(bpf->progs.end_send_page, pages);
    bpf_program__set_autoload(bpf->progs.guard_pages, pages);
}
