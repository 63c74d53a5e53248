/* The programs of the route are adopted as those of hooks.c are: what an agent before us pinned is
 * used as it is if it is the same, so that connections which live on are heard without a gap. They
 * lie within the main programs' set, whose maps they share, and go with it. */
#include "proxy/kernel/backend.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "proxy/keeper/keeper.h"
#include "proxy/keeper/pins.h"
#include "proxy/keeper/voice.h"
#include "proxy/kernel/tracers.h"
#include "proxy/probe/means.h"
#include "route.skel.h"
#include "sallyport.skel.h"

enum { LINKS_MAX = 16 };

struct backend {
    struct sallyport_bpf *main; /* borrowed */
    struct route_bpf *bpf;      /* NULL: none */
    struct kernel_means means;
    uint32_t can; /* enum abi_route_flags */
    struct bpf_link *links[LINKS_MAX];
    size_t links_len;
    int sk_msg;             /* the program that is attached to `enrolled`; -1: none */
    char set_dir[PATH_MAX]; /* "": nothing is kept */
    char name[PINS_NAME_MAX];
    bool leaving;
    struct err why;
};

static void say_what_there_is(const struct backend *backend, uint32_t flags)
{
    const uint32_t zero = 0;

    bpf_map_update_elem(bpf_map__fd(backend->main->maps.route), &zero, &flags, BPF_ANY);
}

/* ---- loading ---- */

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

/* Connections that programs of another version hear say it there (sk_msg's stay with the socket),
 * and what has come of a head may be told by those, and its rest by ours: in order, in one ring.
 * They ask which sends are of another type than data, and ours note it. */
static void share_with(struct backend *backend, const char *set)
{
    struct bpf_map *const shared[] = {backend->bpf->maps.said, backend->bpf->maps.typed};

    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        CLEANUP(fd_close) int fd = pins_open_map(backend->set_dir, set, shared[i]);

        if (fd >= 0 && bpf_map__reuse_fd(shared[i], fd) < 0)
            log_warn("the BPF map %s of %s is not that of the programs before",
                     bpf_map__name(shared[i]), backend->name);
    }
}

static int open_object(struct backend *backend, struct err *err)
{
    libbpf_print_fn_t before = voice_listen();
    int code;

    voice_forget();
    backend->bpf = route_bpf__open();
    code = backend->bpf ? share_maps(backend, err) : voice_refused(-errno, err);
    if (code == 0)
        tracers_choose(backend->bpf, &backend->means);
    voice_leave(before);
    return code;
}

static int load(struct backend *backend, struct err *err)
{
    libbpf_print_fn_t before = voice_listen();
    int code = route_bpf__load(backend->bpf);

    voice_leave(before);
    return code < 0 ? voice_refused(code, err) : 0;
}

/* ---- attaching ---- */

static int attach_sk_msg(struct backend *backend, struct err *err)
{
    int code = bpf_prog_attach(backend->sk_msg, bpf_map__fd(backend->main->maps.enrolled),
                               BPF_SK_MSG_VERDICT, 0);

    return code < 0 ? err_sys(err, code, "attaching the BPF program for what is sent") : 0;
}

static int attach_link(const struct bpf_program *program, int cgroup_fd, struct bpf_link **out,
                       struct err *err)
{
    bool skb = bpf_program__type(program) == BPF_PROG_TYPE_CGROUP_SKB;

    *out = skb ? bpf_program__attach_cgroup(program, cgroup_fd) : bpf_program__attach(program);
    if (!*out)
        return err_sys(err, -errno, "attaching BPF program %s (%s)", bpf_program__name(program),
                       bpf_program__section_name(program));
    return 0;
}

/* Of LSM programs on one hook the one that came last is run first, and none behind one that
 * refuses: what judges must find what rules say now. Their links lie as the programs do in the
 * object. */
static int attach(struct backend *backend, int cgroup_fd, struct err *err)
{
    const struct bpf_program *last = backend->bpf->progs.ask_rules;
    struct bpf_link **link, **link_of_last = NULL;
    struct bpf_program *program;
    int code;

    backend->sk_msg = fcntl(bpf_program__fd(backend->bpf->progs.hear_sent), F_DUPFD_CLOEXEC, 0);
    code = backend->sk_msg < 0 ? -errno : attach_sk_msg(backend, err);
    bpf_object__for_each_program(program, backend->bpf->obj)
    {
        if (code < 0 || !bpf_program__autoload(program) || program == backend->bpf->progs.hear_sent)
            continue;
        if (backend->links_len == LINKS_MAX)
            return err_set(err, -E2BIG, "more than %d BPF programs", LINKS_MAX);
        link = &backend->links[backend->links_len++];
        *link = NULL;
        if (program == last)
            link_of_last = link;
        else
            code = attach_link(program, cgroup_fd, link, err);
    }
    return code == 0 && link_of_last ? attach_link(last, cgroup_fd, link_of_last, err) : code;
}

static void close_links(struct backend *backend)
{
    while (backend->links_len)
        bpf_link__destroy(backend->links[--backend->links_len]);
}

static void detach(struct backend *backend)
{
    close_links(backend);
    if (backend->sk_msg >= 0 && !backend->leaving)
        bpf_prog_detach2(backend->sk_msg, bpf_map__fd(backend->main->maps.enrolled),
                         BPF_SK_MSG_VERDICT);
    fd_close(&backend->sk_msg);
    route_bpf__destroy(TAKE(backend->bpf));
}

/* ---- kept for the next agent ---- */

static struct pins pins_of(struct backend *backend)
{
    return (struct pins){.object = backend->bpf->obj,
                         .base = backend->main->obj,
                         .links = backend->links,
                         .links_len = backend->links_len,
                         .links_max = LINKS_MAX,
                         .unlinked = backend->sk_msg};
}

static int adopt(struct backend *backend, uint64_t cgroup_id, struct err *err)
{
    struct pins pins = pins_of(backend);
    libbpf_print_fn_t before = voice_listen(); /* err tells the same */
    int code = pins_adopt(&pins, backend->set_dir, backend->name, cgroup_id, err);

    voice_leave(before);
    backend->links_len = pins.links_len;
    backend->sk_msg = pins.unlinked;
    return code < 0 ? code : attach_sk_msg(backend, err);
}

static void each_other(struct backend *backend, void (*visit)(struct backend *, const char *set))
{
    DIR *dir = opendir(backend->set_dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (strncmp(entry->d_name, "abi", 3) == 0 && strcmp(entry->d_name, backend->name) != 0)
            visit(backend, entry->d_name);
    if (dir)
        closedir(dir);
}

static void remove_set(struct backend *backend, const char *set)
{
    pins_remove(backend->set_dir, set);
}

static int keep(struct backend *backend, struct err *err)
{
    struct pins pins = pins_of(backend);

    each_other(backend, remove_set); /* two would hear the same */
    return pins_keep(&pins, backend->set_dir, backend->name, err);
}

static int begin_anew(struct backend *backend, int cgroup_fd, struct err *err)
{
    int code;

    if (*backend->set_dir)
        each_other(backend, share_with);
    code = load(backend, err);
    if (code == 0)
        code = attach(backend, cgroup_fd, err);
    if (code == 0 && *backend->set_dir)
        code = keep(backend, err);
    return code;
}

static int name_set(struct backend *backend, int cgroup_fd, uint64_t *cgroup_id, struct err *err)
{
    struct stat cgroup;
    size_t size;
    const void *file = route_bpf__elf_bytes(&size);

    if (fstat(cgroup_fd, &cgroup) < 0)
        return err_sys(err, -errno, "the cgroup");
    *cgroup_id = cgroup.st_ino;
    pins_name(backend->name, file, size, *cgroup_id);
    return 0;
}

static int begin(struct backend *backend, int cgroup_fd, struct err *err)
{
    uint64_t cgroup_id = 0;
    int code = name_set(backend, cgroup_fd, &cgroup_id, err);

    if (code == 0)
        code = open_object(backend, err);
    if (code < 0)
        return code;
    if (*backend->set_dir) {
        struct err missing = {0};

        code = adopt(backend, cgroup_id, &missing);
        if (code == 0)
            return 0;
        if (code != -ENOENT)
            log_warn("what is pinned in %s/%s is replaced: %s", backend->set_dir, backend->name,
                     missing.text);
        pins_remove(backend->set_dir, backend->name);
        detach(backend); /* some of its maps may be another set's */
        code = open_object(backend, err);
    }
    return code == 0 ? begin_anew(backend, cgroup_fd, err) : code;
}

/* ---- the whole ---- */

/* What connections can rely on. */
static uint32_t flags_of(const struct kernel_means *means)
{
    switch (kernel_route_choose(means)) {
    case KERNEL_ROUTE_SOCKMAP:
        return ABI_ROUTE_PLAIN | (means->ktls ? ABI_ROUTE_KTLS : 0) |
               (means->ktls && means->fentry ? ABI_ROUTE_SURE : 0);
    case KERNEL_ROUTE_LSM:
        return ABI_ROUTE_PLAIN | ABI_ROUTE_KTLS | ABI_ROUTE_LEAVE;
    case KERNEL_ROUTE_NONE:
        break;
    }
    return ABI_ROUTE_PLAIN | (means->ktls ? ABI_ROUTE_LEAVE : 0);
}

int backend_new(struct backend **out, struct keeper *keeper, int cgroup_fd, bool named,
                struct err *err)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    uint32_t older;
    int code;

    if (!backend)
        return err_set(err, -ENOMEM, "the kernel route");
    backend->main = keeper_bpf(keeper);
    backend->sk_msg = -1;
    if (!keeper_set_dir(keeper, backend->set_dir))
        backend->set_dir[0] = 0;
    backend->means = means_find();
    if (!named && !backend->means.ktls) {
        err_set(&backend->why, -ENOENT, "nobody asks for it, and this kernel has no kTLS");
        say_what_there_is(backend, 0);
        *out = backend;
        return 0;
    }
    code = begin(backend, cgroup_fd, &backend->why);
    if (code < 0 && backend->means.fentry) { /* perhaps for what reads kTLS alone */
        detach(backend);
        backend->means.lsm = backend->means.fentry = false;
        code = begin(backend, cgroup_fd, &(struct err){0});
    }
    if (code < 0)
        detach(backend);
    backend->can = code < 0 ? 0 : flags_of(&backend->means);
    older = backend->can && keeper_older(keeper, 0) ? ABI_ROUTE_OLDER : 0;
    say_what_there_is(backend, backend->can | older);
    *out = backend;
    return 0;
}

void backend_is_alone(struct backend *backend)
{
    say_what_there_is(backend, backend->can);
}

void backend_leave(struct backend *backend)
{
    backend->leaving = *backend->set_dir && backend->bpf;
    if (backend->leaving)
        close_links(backend); /* or two sets would hear each message of what the kernel encrypts */
}

void backend_free(struct backend **backend)
{
    struct backend *gone = TAKE(*backend);

    if (!gone)
        return;
    if (!gone->leaving)
        say_what_there_is(gone, 0);
    if (!gone->leaving && *gone->set_dir)
        pins_remove(gone->set_dir, gone->name);
    detach(gone);
    free(gone);
}

const char *backend_name(const struct backend *backend)
{
    return kernel_route_name(backend->bpf ? kernel_route_choose(&backend->means)
                                          : KERNEL_ROUTE_NONE);
}

const char *backend_words(const struct backend *backend)
{
    return backend->bpf ? kernel_route_words(&backend->means)
                        : "nothing is read in the kernel: all stays on the proxy";
}

const char *backend_why(const struct backend *backend)
{
    return backend->why.text;
}

int backend_said(const struct backend *backend)
{
    return backend->bpf ? bpf_map__fd(backend->bpf->maps.said) : -1;
}

static uint64_t count_of(const struct backend *backend, enum abi_route_count what)
{
    const uint32_t which = what;
    uint64_t count = 0;

    bpf_map_lookup_elem(bpf_map__fd(backend->main->maps.route_counts), &which, &count);
    return count;
}

uint64_t backend_unheard(const struct backend *backend)
{
    return count_of(backend, ABI_ROUTE_UNHEARD);
}

uint64_t backend_untold(const struct backend *backend)
{
    return count_of(backend, ABI_ROUTE_UNTOLD);
}
