#include "proxy/probe/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

enum { LOG_SIZE = 16384, ALLOW = 1 };

#define INSN(c, d, s, o, i)                                                                        \
    {                                                                                              \
        .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                        \
    }
#define SET(reg, value)      INSN(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value)
#define COPY(reg, from)      INSN(BPF_ALU64 | BPF_MOV | BPF_X, reg, from, 0, 0)
#define ADD(reg, value)      INSN(BPF_ALU64 | BPF_ADD | BPF_K, reg, 0, 0, value)
#define STORE(reg, at, word) INSN(BPF_ST | BPF_MEM | BPF_W, reg, 0, at, word)
#define IF_ZERO(reg, skip)   INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, skip, 0)
#define CALL(helper)         INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT                 INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static const char licence[] = "Dual BSD/GPL";
static const char name_of_ours[] = "sallyport_try";

static int types_of(const char *section, enum bpf_prog_type *type, enum bpf_attach_type *attach,
                    struct err *err)
{
    int code = libbpf_prog_type_by_name(section, type, attach);

    return code < 0 ? err_sys(err, code, "libbpf does not know the hook") : 0;
}

int program_load(const char *section, struct err *err)
{
    /* to a raw tracepoint it means nothing */
    static const struct bpf_insn pass[] = {SET(BPF_REG_0, ALLOW), EXIT};
    LIBBPF_OPTS(bpf_prog_load_opts, options);
    enum bpf_prog_type type;
    int fd = types_of(section, &type, &options.expected_attach_type, err);

    if (fd < 0)
        return fd;
    fd = bpf_prog_load(type, name_of_ours, licence, pass, ARRAY_SIZE(pass), &options);
    return fd < 0 ? err_sys(err, -errno, "loading a program") : fd;
}

int program_attach(const char *section, int program_fd, int cgroup_fd, struct err *err)
{
    enum bpf_prog_type type;
    enum bpf_attach_type attach;
    int fd = types_of(section, &type, &attach, err);

    if (fd < 0)
        return fd;
    fd = type == BPF_PROG_TYPE_RAW_TRACEPOINT
             ? bpf_raw_tracepoint_open(strchr(section, '/') + 1, program_fd)
             : bpf_link_create(program_fd, cgroup_fd, attach, NULL);
    return fd < 0 ? err_sys(err, -errno, "attaching a program") : fd;
}

/* The call has no arguments in order, so loading fails either way; what for, the verifier says: of
 * a helper that this hook may not use it says so before it looks at arguments. */
int program_may_call(const char *section, uint32_t helper, const char *name, struct err *err)
{
    static const char *const refusals[] = {"unknown func", "cannot use helper", "invalid func"};
    const struct bpf_insn call[] = {CALL((int)helper), SET(BPF_REG_0, ALLOW), EXIT};
    char log[LOG_SIZE] = "";
    LIBBPF_OPTS(bpf_prog_load_opts, options, .log_level = 1, .log_buf = log,
                .log_size = sizeof(log));
    enum bpf_prog_type type;
    int fd = types_of(section, &type, &options.expected_attach_type, err), code;

    if (fd < 0)
        return fd;
    fd = bpf_prog_load(type, name_of_ours, licence, call, ARRAY_SIZE(call), &options);
    code = fd < 0 ? -errno : 0;
    fd_close(&fd);
    if (code && (!log[0] || (code != -EINVAL && code != -EACCES)))
        return err_sys(err, code, "loading a program");
    for (size_t i = 0; code && i < ARRAY_SIZE(refusals); i++)
        if (strstr(log, refusals[i]))
            return err_set(err, -ENOTSUP, "the verifier knows no %s there", name);
    return 0;
}

int program_load_tracer(const struct program_target *target, int map_fd, struct err *err)
{
    const struct bpf_insn note[] = {
        STORE(BPF_REG_10, -4, 0),
        COPY(BPF_REG_2, BPF_REG_10),
        ADD(BPF_REG_2, -4),
        INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map_fd),
        INSN(0, 0, 0, 0, 0), /* its upper half */
        CALL(BPF_FUNC_map_lookup_elem),
        IF_ZERO(BPF_REG_0, 1),
        STORE(BPF_REG_0, 0, 1),
        SET(BPF_REG_0, 0), /* here 0 lets pass */
        EXIT,
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = target->attach,
                .attach_btf_id = target->btf_id, .attach_btf_obj_fd = target->btf_fd,
                .prog_flags = target->prog_flags);
    int fd = bpf_prog_load(target->type, name_of_ours, licence, note, ARRAY_SIZE(note), &options);

    return fd < 0 ? err_sys(err, -errno, "loading a program") : fd;
}
