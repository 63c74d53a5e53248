#include "proxy/kernel/backend.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "proxy/keeper/voice.h"
#include "route.skel.h"
#include "sallyport.skel.h"

struct backend {
    struct sallyport_bpf *main; /* borrowed */
    struct route_bpf *bpf;      /* NULL: none */
    bool attached;
    struct bpf_link *receiving;
    struct err why;
};

static void say_what_there_is(const struct backend *backend, uint32_t flags)
{
    const uint32_t zero = 0;

    bpf_map_update_elem(bpf_map__fd(backend->main->maps.route), &zero, &flags, BPF_ANY);
}

/* Every map that both objects have is one. */
static int share_maps(struct backend *backend, struct err *err)
{
    struct bpf_map *map;

    bpf_object__for_each_map(map, backend->bpf->obj)
    {
        const char *name = bpf_map__name(map);
        struct bpf_map *shared = bpf_map__is_internal(map)
                                     ? NULL
                                     : bpf_object__find_map_by_name(backend->main->obj, name);
        int code = shared ? bpf_map__reuse_fd(map, bpf_map__fd(shared)) : 0;

        if (code < 0)
            return err_sys(err, code, "sharing the BPF map %s", name);
    }
    return 0;
}

static int load(struct backend *backend, struct err *err)
{
    libbpf_print_fn_t before = voice_listen();
    int code;

    voice_forget();
    backend->bpf = route_bpf__open();
    code = backend->bpf ? share_maps(backend, err) : voice_refused(-errno, err);
    if (code == 0) {
        code = route_bpf__load(backend->bpf);
        if (code < 0)
            voice_refused(code, err);
    }
    voice_leave(before);
    return code;
}

static int attach(struct backend *backend, int cgroup_fd, struct err *err)
{
    int code = bpf_prog_attach(bpf_program__fd(backend->bpf->progs.hear_sent),
                               bpf_map__fd(backend->main->maps.enrolled), BPF_SK_MSG_VERDICT, 0);

    if (code < 0)
        return err_sys(err, code, "attaching BPF program hear_sent (sk_msg)");
    backend->attached = true;
    backend->receiving = bpf_program__attach_cgroup(backend->bpf->progs.hear_received, cgroup_fd);
    if (!backend->receiving)
        return err_sys(err, -errno, "attaching BPF program hear_received (cgroup_skb/ingress)");
    return 0;
}

static void detach(struct backend *backend)
{
    bpf_link__destroy(TAKE(backend->receiving));
    if (backend->attached)
        bpf_prog_detach2(bpf_program__fd(backend->bpf->progs.hear_sent),
                         bpf_map__fd(backend->main->maps.enrolled), BPF_SK_MSG_VERDICT);
    backend->attached = false;
    route_bpf__destroy(TAKE(backend->bpf));
}

int backend_new(struct backend **out, struct sallyport_bpf *bpf, int cgroup_fd, struct err *err)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    int code;

    if (!backend)
        return err_set(err, -ENOMEM, "the kernel route");
    backend->main = bpf;
    code = load(backend, &backend->why);
    if (code == 0)
        code = attach(backend, cgroup_fd, &backend->why);
    if (code < 0)
        detach(backend);
    say_what_there_is(backend, code < 0 ? 0 : ABI_ROUTE_PLAIN);
    *out = backend;
    return 0;
}

void backend_free(struct backend **backend)
{
    struct backend *gone = TAKE(*backend);

    if (!gone)
        return;
    say_what_there_is(gone, 0);
    detach(gone);
    free(gone);
}

const char *backend_name(const struct backend *backend)
{
    return backend->bpf ? "sockmap" : "none";
}

const char *backend_why(const struct backend *backend)
{
    return backend->why.text;
}

int backend_said(const struct backend *backend)
{
    return backend->bpf ? bpf_map__fd(backend->bpf->maps.said) : -1;
}
