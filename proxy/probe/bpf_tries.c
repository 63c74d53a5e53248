#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "proxy/keeper/hooks.h"
#include "proxy/probe/program.h"
#include "proxy/probe/tries.h"
#include "sallyport.skel.h"

int try_bpf(struct bed *bed, const struct trial *trial, struct err *err)
{
    (void)trial;
    bed->map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sallyport_try", 4, 4, 1, NULL);
    if (bed->map_fd < 0)
        return err_sys(err, -errno, "making a map");
    return err_set(err, 0, "made a map");
}

/* Where libbpf looks first, and every other reader only. */
int try_btf(struct bed *bed, const struct trial *trial, struct err *err)
{
    static const char path[] = "/sys/kernel/btf/vmlinux";

    (void)trial;
    bed->btf = btf__parse(path, NULL);
    return bed->btf ? err_set(err, 0, "read %s", path) : err_sys(err, -errno, "%s", path);
}

int try_jit(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(fd_close) int program = program_load("sockops", err);
    struct bpf_prog_info info = {0};
    uint32_t len = sizeof(info);

    (void)bed;
    (void)trial;
    if (program < 0)
        return program;
    if (bpf_obj_get_info_by_fd(program, &info, &len) < 0)
        return err_sys(err, -errno, "asking about a program");
    if (!info.jited_prog_len)
        return err_set(err, -ENOTSUP, "see net.core.bpf_jit_enable");
    return err_set(err, 0, "a program was compiled");
}

int try_hook(struct bed *bed, const struct trial *trial, struct err *err)
{
    bool traces = strncmp(trial->name, "raw_tp/", 7) == 0;
    CLEANUP(fd_close) int program = program_load(trial->name, err);
    CLEANUP(fd_close) int link = -1;

    if (program < 0)
        return program;
    if (bed->cgroup_fd < 0 && !traces)
        return err_set(err, 0, "loaded; not attached, for want of a cgroup");
    link = program_attach(trial->name, program, bed->cgroup_fd, err);
    return link < 0 ? link : err_set(err, 0, "loaded and attached");
}

int try_helper(struct bed *bed, const struct trial *trial, struct err *err)
{
    int code = program_may_call(trial->section, trial->helper, trial->name, err);

    (void)bed;
    return code < 0 ? code : err_set(err, 0, "the verifier knows it there");
}

bool exec_has_program(const struct bed *bed, const char *section)
{
    enum bpf_prog_type type;
    enum bpf_attach_type attach;
    struct bpf_program *program;

    if (!bed->skeleton || libbpf_prog_type_by_name(section, &type, &attach) < 0)
        return false;
    bpf_object__for_each_program(program, bed->skeleton->obj)
    {
        if (bpf_program__type(program) != type)
            continue;
        if (type == BPF_PROG_TYPE_RAW_TRACEPOINT
                ? strcmp(bpf_program__section_name(program), section) == 0
                : bpf_program__expected_attach_type(program) == attach)
            return true;
    }
    return false;
}

/* The very thing: all of them on a cgroup with nobody in it, knowing no pod. */
int try_exec_programs(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(hooks_free) struct hooks *hooks = NULL;
    int code;

    (void)trial;
    if (bed->cgroup_fd < 0 || !bed->pins)
        return err_set(err, -ENOENT, "not tried without cgroup v2 and bpffs");
    code = hooks_new(&hooks, bed->cgroup_fd, probe_pin_dir, err);
    return code < 0 ? code : err_set(err, 0, "loaded, attached and pinned");
}
