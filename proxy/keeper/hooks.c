#include "proxy/keeper/hooks.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/keeper/pins.h"
#include "proxy/keeper/voice.h"
#include "sallyport.skel.h"

enum { LINKS_MAX = 32 };

struct hooks {
    struct sallyport_bpf *bpf;
    struct bpf_link *links[LINKS_MAX];
    size_t links_len;
    int options;       /* the program that pods are given one by one; -1: it is not loaded */
    char *options_pin; /* where that is pinned by itself; NULL */
    char *pin_dir; /* of a set that outlives us; NULL: links are pinned, if at all, by themselves */
    char name[PINS_NAME_MAX];
    bool leaving;
    struct pins_older older[PINS_OLDER_MAX];
    size_t older_len;
};

/* Whether an LSM program can stand at this cgroup: by trying, as it takes more than one thing that
 * kernels may be built without. */
static bool takes_lsm(const struct btf *kernel, int cgroup_fd)
{
    static const struct bpf_insn allow[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_LSM_CGROUP);
    int id = btf__find_by_name_kind(kernel, "bpf_lsm_socket_create", BTF_KIND_FUNC);
    CLEANUP(fd_close) int program = -1, link = -1;

    if (id < 0)
        return false;
    options.attach_btf_id = (uint32_t)id;
    program = bpf_prog_load(BPF_PROG_TYPE_LSM, NULL, "GPL", allow, ARRAY_SIZE(allow), &options);
    if (program >= 0)
        link = bpf_link_create(program, cgroup_fd, BPF_LSM_CGROUP, NULL);
    return link >= 0;
}

static void choose(struct hooks *hooks, int cgroup_fd)
{
    struct btf *kernel = btf__load_vmlinux_btf();

    bpf_program__set_autoload(hooks->bpf->progs.refuse_family,
                              kernel && takes_lsm(kernel, cgroup_fd));
    btf__free(kernel);
}

static int open_object(struct hooks *hooks, int cgroup_fd, struct err *err)
{
    libbpf_print_fn_t before;

    voice_forget();
    before = voice_listen();
    hooks->bpf = sallyport_bpf__open();
    if (hooks->bpf)
        choose(hooks, cgroup_fd);
    voice_leave(before);
    return hooks->bpf ? 0 : voice_refused(-errno, err);
}

static int load(struct hooks *hooks, struct err *err)
{
    libbpf_print_fn_t before = voice_listen();
    int code = sallyport_bpf__load(hooks->bpf);

    voice_leave(before);
    return code < 0 ? voice_refused(code, err) : 0;
}

static bool traces(const struct bpf_program *program)
{
    return bpf_program__type(program) == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

static int attach(struct hooks *hooks, struct bpf_program *program, int cgroup_fd, struct err *err)
{
    struct bpf_link *link;

    if (!pins_has_link(program)) {
        hooks->options = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0);
        return hooks->options < 0 ? err_sys(err, -errno, "BPF programs") : 0;
    }
    if (hooks->links_len == LINKS_MAX)
        return err_set(err, -E2BIG, "more than %d BPF programs", LINKS_MAX);
    link = traces(program) ? bpf_program__attach(program)
                           : bpf_program__attach_cgroup(program, cgroup_fd);
    if (!link)
        return err_sys(err, -errno, "attaching BPF program %s (%s)", bpf_program__name(program),
                       bpf_program__section_name(program));
    hooks->links[hooks->links_len++] = link;
    return 0;
}

static int pin(struct bpf_link *link, const char *dir, const char *name, struct err *err)
{
    CLEANUP(text_free) char *path = NULL;
    int code;

    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return err_set(err, -ENOMEM, "pinning %s", name);
    }
    code = bpf_link__pin(link, path);
    if (code < 0)
        return err_sys(err, code, "pinning a BPF link at %s (a directory of a bpffs?)", path);
    return 0;
}

/* By which it is known as one of ours. */
static int pin_options(struct hooks *hooks, const char *dir, const char *name, struct err *err)
{
    CLEANUP(text_free) char *path = NULL;

    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return err_set(err, -ENOMEM, "pinning %s", name);
    }
    if (bpf_obj_pin(hooks->options, path) < 0)
        return err_sys(err, -errno, "pinning a BPF program at %s (a directory of a bpffs?)", path);
    hooks->options_pin = TAKE(path);
    return 0;
}

int hooks_new(struct hooks **out, int cgroup_fd, const char *pin_dir, struct err *err)
{
    CLEANUP(hooks_free) struct hooks *hooks = calloc(1, sizeof(*hooks));
    struct bpf_program *program;
    int code;

    if (!hooks)
        return err_set(err, -ENOMEM, "BPF programs");
    hooks->options = -1;
    code = open_object(hooks, cgroup_fd, err);
    if (code == 0)
        code = load(hooks, err);
    if (code < 0)
        return code;
    bpf_object__for_each_program(program, hooks->bpf->obj)
    {
        if (!bpf_program__autoload(program))
            continue;
        code = attach(hooks, program, cgroup_fd, err);
        if (code == 0 && !pins_has_link(program))
            code = pin_options(hooks, pin_dir, pins_link_name(program), err);
        else if (code == 0 && !traces(program))
            code = pin(hooks->links[hooks->links_len - 1], pin_dir, pins_link_name(program), err);
        if (code < 0)
            return code;
    }
    *out = TAKE(hooks);
    return 0;
}

/* ---- kept for the next agent ---- */

static struct pins pins_of(struct hooks *hooks)
{
    return (struct pins){.object = hooks->bpf->obj,
                         .links = hooks->links,
                         .links_len = hooks->links_len,
                         .links_max = LINKS_MAX,
                         .unlinked = hooks->options};
}

static int adopt(struct hooks *hooks, uint64_t cgroup_id, struct err *err)
{
    struct pins pins = pins_of(hooks);
    libbpf_print_fn_t before = voice_listen(); /* err tells the same */
    int code = pins_adopt(&pins, hooks->pin_dir, hooks->name, cgroup_id, err);

    voice_leave(before);
    hooks->links_len = pins.links_len;
    hooks->options = pins.unlinked;
    return code;
}

/* Beside what else may be attached: nobody is steered by these programs before their maps say so.
 */
static int begin_anew(struct hooks *hooks, int cgroup_fd, struct err *err)
{
    struct bpf_program *program;
    struct pins pins;
    int code;

    sallyport_bpf__destroy(TAKE(hooks->bpf)); /* some of its maps may be another set's */
    code = open_object(hooks, cgroup_fd, err);
    if (code == 0)
        code = load(hooks, err);
    if (code < 0)
        return code;
    bpf_object__for_each_program(program, hooks->bpf->obj)
    {
        if (!bpf_program__autoload(program))
            continue;
        code = attach(hooks, program, cgroup_fd, err);
        if (code < 0)
            return code;
    }
    pins = pins_of(hooks);
    return pins_keep(&pins, hooks->pin_dir, hooks->name, err);
}

static int name_set(struct hooks *hooks, int cgroup_fd, const char *pin_dir, uint64_t *cgroup_id,
                    struct err *err)
{
    struct stat cgroup;
    size_t size;
    const void *file = sallyport_bpf__elf_bytes(&size);

    hooks->pin_dir = strdup(pin_dir);
    if (!hooks->pin_dir)
        return err_set(err, -ENOMEM, "BPF programs");
    if (fstat(cgroup_fd, &cgroup) < 0)
        return err_sys(err, -errno, "the cgroup");
    *cgroup_id = cgroup.st_ino;
    pins_name(hooks->name, file, size, *cgroup_id);
    return 0;
}

int hooks_new_kept(struct hooks **out, int cgroup_fd, const char *pin_dir, struct err *err)
{
    CLEANUP(hooks_free) struct hooks *hooks = calloc(1, sizeof(*hooks));
    struct err why = {0};
    uint64_t cgroup_id = 0;
    int code;

    if (!hooks)
        return err_set(err, -ENOMEM, "BPF programs");
    hooks->options = -1;
    hooks->leaving = true; /* a start that fails takes nothing away */
    code = name_set(hooks, cgroup_fd, pin_dir, &cgroup_id, err);
    if (code == 0)
        code = open_object(hooks, cgroup_fd, err);
    if (code < 0)
        return code;
    code = adopt(hooks, cgroup_id, &why);
    if (code < 0 && code != -ENOENT) {
        log_warn("what is pinned in %s/%s is replaced: %s", pin_dir, hooks->name, why.text);
        pins_demote(pin_dir, hooks->name);
    }
    if (code < 0)
        code = begin_anew(hooks, cgroup_fd, err);
    if (code < 0)
        return code;
    hooks->older_len = pins_find_older(pin_dir, hooks->name, hooks->older);
    hooks->leaving = false;
    *out = TAKE(hooks);
    return 0;
}

static void empty(int map_fd, size_t key_size)
{
    uint8_t key[16];

    while (key_size <= sizeof(key) && bpf_map_get_next_key(map_fd, NULL, key) == 0)
        if (bpf_map_delete_elem(map_fd, key) < 0)
            return;
}

void hooks_disarm_older(struct hooks *hooks)
{
    const uint64_t never = 0;
    const uint32_t zero = 0;

    for (size_t i = 0; i < hooks->older_len; i++) {
        empty(hooks->older[i].pods_fd, sizeof(uint64_t));
        if (hooks->older[i].hold_until_fd >= 0)
            bpf_map_update_elem(hooks->older[i].hold_until_fd, &zero, &never, BPF_ANY);
    }
}

const struct pins_older *hooks_older(const struct hooks *hooks, size_t i)
{
    return i < hooks->older_len ? &hooks->older[i] : NULL;
}

void hooks_remove_older(struct hooks *hooks)
{
    while (hooks->older_len) {
        struct pins_older *older = &hooks->older[--hooks->older_len];

        pins_remove(hooks->pin_dir, older->name);
        pins_older_fini(older);
    }
}

bool hooks_have_pods(const struct hooks *hooks)
{
    uint64_t pod;
    bool have = bpf_map_get_next_key(bpf_map__fd(hooks->bpf->maps.pods), NULL, &pod) == 0;

    for (size_t i = 0; i < hooks->older_len; i++)
        have = have || bpf_map_get_next_key(hooks->older[i].pods_fd, NULL, &pod) == 0;
    return have;
}

void hooks_leave(struct hooks *hooks)
{
    hooks->leaving = hooks->pin_dir;
}

/* ---- the end ---- */

static void take_away(struct hooks *hooks)
{
    if (hooks->leaving)
        return;
    if (hooks->pin_dir) {
        hooks_remove_older(hooks);
        pins_remove(hooks->pin_dir, hooks->name);
        return;
    }
    for (size_t i = 0; i < hooks->links_len; i++)
        if (bpf_link__pin_path(hooks->links[i]))
            bpf_link__unpin(hooks->links[i]);
    if (hooks->options_pin)
        unlink(hooks->options_pin);
}

void hooks_free(struct hooks **hooks)
{
    struct hooks *gone = TAKE(*hooks);

    if (!gone)
        return;
    take_away(gone);
    for (size_t i = 0; i < gone->links_len; i++)
        bpf_link__destroy(gone->links[i]);
    fd_close(&gone->options);
    for (size_t i = 0; i < gone->older_len; i++)
        pins_older_fini(&gone->older[i]);
    sallyport_bpf__destroy(gone->bpf);
    free(gone->options_pin);
    free(gone->pin_dir);
    free(gone);
}

int hooks_hold_until(const struct hooks *hooks)
{
    return bpf_map__fd(hooks->bpf->maps.hold_until);
}

bool hooks_set_dir(const struct hooks *hooks, char out[PATH_MAX])
{
    return hooks->pin_dir &&
           snprintf(out, PATH_MAX, "%s/%s", hooks->pin_dir, hooks->name) < PATH_MAX;
}

int hooks_options_program(const struct hooks *hooks)
{
    return hooks->options;
}

struct sallyport_bpf *hooks_bpf(struct hooks *hooks)
{
    return hooks->bpf;
}
