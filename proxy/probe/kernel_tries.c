#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/probe/program.h"
#include "proxy/probe/tries.h"

/* A sockhash with an sk_msg program at it, and the socket in it. */
struct enrolment {
    int map, program;
    struct pair pair;
};

static void enrolment_close(struct enrolment *enrolment)
{
    pair_close(&enrolment->pair);
    fd_close(&enrolment->map); /* which detaches the program */
    fd_close(&enrolment->program);
}
#define NO_ENROLMENT                                                                               \
    {                                                                                              \
        -1, -1, NO_PAIR                                                                            \
    }

static int enrol(struct enrolment *out, const struct bed *bed, struct err *err)
{
    uint32_t key = 0;
    int code = pair_open(&out->pair, bed, AF_INET, err);

    if (code < 0)
        return code;
    out->map = bpf_map_create(BPF_MAP_TYPE_SOCKHASH, "sallyport_try", 4, 4, 1, NULL);
    if (out->map < 0)
        return err_sys(err, -errno, "making a sockhash");
    out->program = program_load("sk_msg", err);
    if (out->program < 0)
        return out->program;
    if (bpf_prog_attach(out->program, out->map, BPF_SK_MSG_VERDICT, 0) < 0)
        return err_sys(err, -errno, "attaching a program");
    if (bpf_map_update_elem(out->map, &key, &out->pair.client, BPF_ANY) < 0)
        return err_sys(err, -errno, "putting a socket into a sockhash");
    return 0;
}

int try_sk_msg(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(enrolment_close) struct enrolment enrolment = NO_ENROLMENT;
    int code = enrol(&enrolment, bed, err);

    (void)trial;
    if (code < 0)
        return code;
    bed->means->sk_msg = true;
    return err_set(err, 0, "a socket was put into a sockhash with a program");
}

/* Lets the kernel encrypt what is sent, with a key of zeroes. */
static int start_ktls(int fd, struct err *err)
{
    static const struct tls12_crypto_info_aes_gcm_128 zero = {
        .info = {TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128},
    };

    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
        return err_sys(err, -errno, errno == ENOENT ? "no TLS module" : "TCP_ULP");
    if (setsockopt(fd, SOL_TLS, TLS_TX, &zero, sizeof(zero)) < 0)
        return err_sys(err, -errno, "TLS_TX");
    return 0;
}

int try_ktls(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(pair_close) struct pair pair = NO_PAIR;
    int code = pair_open(&pair, bed, AF_INET, err);

    (void)trial;
    if (code == 0)
        code = start_ktls(pair.client, err);
    if (code < 0)
        return code;
    bed->means->ktls = true;
    return err_set(err, 0, "TLS_TX was taken");
}

int try_ktls_in_hash(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(enrolment_close) struct enrolment enrolment = NO_ENROLMENT;
    int code;

    (void)trial;
    if (!bed->means->ktls)
        return err_set(err, -ENOENT, "not tried without kTLS");
    code = enrol(&enrolment, bed, err);
    if (code == 0)
        code = start_ktls(enrolment.pair.client, err);
    if (code < 0)
        return code;
    bed->means->ktls_in_hash = true;
    return err_set(err, 0, "TLS_TX was taken");
}

/* ---- tracing ---- */

/* Loads, attaches. The link's descriptor. */
static int attach_tracer(const struct bed *bed, const struct program_target *target,
                         struct err *err)
{
    CLEANUP(fd_close) int program = program_load_tracer(target, bed->map_fd, err);
    int link;

    if (program < 0)
        return program;
    link = bpf_raw_tracepoint_open(NULL, program);
    return link < 0 ? err_sys(err, -errno, "attaching a program") : link;
}

/* A program can be attached where no LSM named "bpf" is active, and then never runs. So it notes
 * that it ran, and a byte is sent. */
int try_lsm(struct bed *bed, const struct trial *trial, struct err *err)
{
    struct program_target target = {
        .type = BPF_PROG_TYPE_LSM, .attach = BPF_LSM_MAC, .prog_flags = BPF_F_SLEEPABLE};
    CLEANUP(pair_close) struct pair pair = NO_PAIR;
    uint32_t key = 0, ran = 0;
    int id, code;

    (void)trial;
    if (!bed->btf)
        return err_set(err, -ENOENT, "not tried without BTF");
    id = btf__find_by_name_kind(bed->btf, "bpf_lsm_socket_sendmsg", BTF_KIND_FUNC);
    if (id < 0)
        return err_set(err, -ENOENT, "the kernel is built without it");
    code = pair_open(&pair, bed, AF_INET, err);
    if (code < 0)
        return code;
    target.btf_id = (uint32_t)id;
    CLEANUP(fd_close) int link = attach_tracer(bed, &target, err);

    if (link < 0)
        return link;
    if (send(pair.client, "", 1, MSG_NOSIGNAL) < 0 ||
        bpf_map_lookup_elem(bed->map_fd, &key, &ran) < 0)
        return err_sys(err, -errno, "sending a byte");
    if (!ran)
        return err_set(err, -ENOTSUP,
                       "attached, it never ran: \"bpf\" is not among the active "
                       "LSMs (kernel command line, lsm=)");
    bed->means->lsm = true;
    return err_set(err, 0, "lsm.s/socket_sendmsg was attached and ran");
}

/* The descriptor of a module's BTF, by its name; 0 where the kernel has none. */
static int module_btf(const char *name)
{
    uint32_t id = 0;

    while (bpf_btf_get_next_id(id, &id) == 0) {
        char found[64] = "";
        struct bpf_btf_info info = {.name = (uintptr_t)found, .name_len = sizeof(found)};
        uint32_t len = sizeof(info);
        CLEANUP(fd_close) int fd = bpf_btf_get_fd_by_id(id);

        if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && strcmp(found, name) == 0)
            return fd_take(&fd);
    }
    return 0;
}

/* Where kTLS is a module, its functions are not in the kernel's own BTF. */
int try_fentry(struct bed *bed, const struct trial *trial, struct err *err)
{
    static const char function[] = "tls_sw_sendmsg", elsewhere[] = "tcp_sendmsg";
    struct program_target target = {.type = BPF_PROG_TYPE_TRACING, .attach = BPF_TRACE_FENTRY};
    const char *used = function;
    int id;

    (void)trial;
    if (!bed->btf)
        return err_set(err, -ENOENT, "not tried without BTF");
    id = btf__find_by_name_kind(bed->btf, function, BTF_KIND_FUNC);
    CLEANUP(fd_close) int module = id < 0 ? module_btf("tls") : 0;

    if (module > 0) {
        struct btf *tls = btf__load_module_btf("tls", bed->btf);

        id = tls ? btf__find_by_name_kind(tls, function, BTF_KIND_FUNC) : -errno;
        btf__free(tls);
    } else if (id < 0) {
        used = elsewhere; /* no kTLS here */
        id = btf__find_by_name_kind(bed->btf, elsewhere, BTF_KIND_FUNC);
    }
    if (id < 0)
        return err_sys(err, id, "%s", used);
    target.btf_id = (uint32_t)id;
    target.btf_fd = (uint32_t)module;
    CLEANUP(fd_close) int link = attach_tracer(bed, &target, err);

    if (link < 0)
        return err_wrap(err, "%s", used);
    bed->means->fentry = true;
    return err_set(err, 0, "attached to %s", used);
}
