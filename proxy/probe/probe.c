#include "proxy/probe/probe.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/log.h"
#include "proxy/host.h"
#include "proxy/probe/foreign.h"
#include "proxy/probe/tries.h"
#include "sallyport.skel.h"

#define HOOK(section, need, consequence)                                                           \
    {                                                                                              \
        section, consequence, need, try_hook, NULL, 0                                              \
    }
#define HELPER(call, in, need, consequence)                                                        \
    {                                                                                              \
        "bpf_" #call " in " in, consequence, need, try_helper, in, BPF_FUNC_##call                 \
    }

/* In this order, as some lean on what earlier ones made. */
static const struct trial trials[] = {
    {"capabilities", "BPF, mounts and namespaces are refused to us", REQUIRED, try_capabilities,
     NULL, 0},
    {"mount namespaces", "a command cannot be given our CA without a change to the host", REQUIRED,
     try_mount_namespace, NULL, 0},
    {"network namespaces", "programs in namespaces of their own cannot be served", REQUIRED,
     try_net_namespace, NULL, 0},
    {"cgroup v2", "what a command starts cannot be told from the rest of the machine", REQUIRED,
     try_cgroup, NULL, 0},
    {"bpf(2)", "no program of ours can be loaded", REQUIRED, try_bpf, NULL, 0},
    {"BTF", "our programs cannot be fitted to this kernel", REQUIRED, try_btf, NULL, 0},
    {"bpffs", "what steers would end with us, and connections go unseen", REQUIRED, try_bpffs, NULL,
     0},
    {"SO_NETNS_COOKIE", "namespaces cannot be told apart", REQUIRED, try_netns_cookie, NULL, 0},
    {"SO_PEERNAME", "an accepted connection's origin is not found", REQUIRED, try_peer_name, NULL,
     0},
    HOOK("cgroup/connect4", AS_EXEC, "IPv4 connections are not steered"),
    HOOK("cgroup/connect6", AS_EXEC, "IPv6 connections are not steered"),
    HOOK("cgroup/getpeername4", AS_EXEC, "programs see our listener as their IPv4 peer"),
    HOOK("cgroup/getpeername6", AS_EXEC, "programs see our listener as their IPv6 peer"),
    HOOK("cgroup/bind4", AS_EXEC, "a program could take our listener's IPv4 port"),
    HOOK("cgroup/bind6", AS_EXEC, "a program could take our listener's IPv6 port"),
    HOOK("cgroup/sendmsg4", AS_EXEC, "unconnected IPv4 datagrams are not steered: no DNS"),
    HOOK("cgroup/sendmsg6", AS_EXEC, "unconnected IPv6 datagrams are not steered: no DNS"),
    HOOK("cgroup/recvmsg4", AS_EXEC, "DNS answers by IPv4 seem to come from us"),
    HOOK("cgroup/recvmsg6", AS_EXEC, "DNS answers by IPv6 seem to come from us"),
    HOOK("sockops", AS_EXEC, "an accepted connection's origin is unknown"),
    HOOK("cgroup/sock_create", AS_EXEC, "raw, SCTP and MPTCP sockets go unnoticed"),
    HOOK("cgroup/sock_release", AS_EXEC, "a socket's end is not seen"),
    HOOK("cgroup/setsockopt", AS_EXEC, "programs that let the kernel encrypt are not noticed"),
    HOOK("cgroup_skb/egress", AS_EXEC, "bytes sent are not counted, nor stopped, in the kernel"),
    HOOK("cgroup_skb/ingress", AS_EXEC, "bytes received are not counted in the kernel"),
    HOOK("raw_tp/sched_process_exec", AS_EXEC, "programs that start are not seen"),
    HOOK("raw_tp/sched_process_fork", AS_EXEC, "children are unknown until they start a program"),
    HOOK("raw_tp/sched_process_exit", AS_EXEC, "ends of processes are not seen"),
    HELPER(sk_lookup_tcp, "cgroup/connect4", REQUIRED, "a dead agent is not noticed at connect"),
    HELPER(get_netns_cookie, "cgroup/connect4", REQUIRED, "namespaces cannot be told apart"),
    HELPER(get_netns_cookie, "sockops", OPTIONAL, "namespaces must be noted at connect"),
    HELPER(set_retval, "cgroup/connect4", OPTIONAL,
           "a connect we know must fail fails with EPERM, not with its own errno"),
    HELPER(loop, "raw_tp/sched_process_exec", REQUIRED, "a program's real path is unknown"),
    HELPER(sk_storage_get, "cgroup_skb/egress", OPTIONAL, "bytes are not counted by socket"),
    {"exec's programs", "exec cannot start", REQUIRED, try_exec_programs, NULL, 0},
    {"sock_diag", "what a pod had connected before it was registered is not found", OPTIONAL,
     try_sock_diag, NULL, 0},
    {"SOCK_DESTROY", "connections are reset as their programs could, not as the kernel does",
     OPTIONAL, try_sock_destroy, NULL, 0},
    {"IPv6", "there is IPv4 only to look at", OPTIONAL, try_ipv6, NULL, 0},
    {"BPF JIT", "the kernel interprets our programs, which is slower", OPTIONAL, try_jit, NULL, 0},
    {"sk_msg and sockhash", "the kernel reads and denies plain HTTP by LSM only, or not", OPTIONAL,
     try_sk_msg, NULL, 0},
    {"kTLS", "no program here lets the kernel encrypt, and the proxy misses nothing", OPTIONAL,
     try_ktls, NULL, 0},
    {"kTLS in a sockhash", "sockmap would switch kTLS off, and is not for sockets with TLS",
     OPTIONAL, try_ktls_in_hash, NULL, 0},
    {"BPF LSM",
     "the kernel denies kTLS by sockmap only, or not: then it stays on the proxy, or is opaque by "
     "'route: kernel'",
     OPTIONAL, try_lsm, NULL, 0},
    {"fentry", "what comes in by kTLS cannot be read", OPTIONAL, try_fentry, NULL, 0},
};
_Static_assert(ARRAY_SIZE(trials) <= PROBE_CHECKS_MAX, "probe_report holds every check");

/* What the process that tries and the one that waits for it share. */
struct shared {
    struct probe_report report; /* first: who has the report frees it all */
    char own_cgroup[PATH_MAX], cgroup[PATH_MAX];
    struct err no_cgroup;
};

static void run_one(struct bed *bed, const struct trial *trial, struct probe_report *report)
{
    struct probe_check *check = &report->checks[report->checks_len++];
    struct err err = {0};
    int code;

    check->name = trial->name;
    check->consequence = trial->consequence;
    check->required =
        trial->need == REQUIRED || (trial->need == AS_EXEC && exec_has_program(bed, trial->name));
    code = trial->run(bed, trial, &err);
    snprintf(check->detail, sizeof(check->detail), "%.250s", err.text);
    check->found = code == 0;
}

/* The process that tries; its end undoes. */
_Noreturn static void run_all(struct shared *shared)
{
    int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct bed bed = {.own_cgroup = shared->own_cgroup,
                      .no_cgroup = &shared->no_cgroup,
                      .cgroup = shared->cgroup,
                      .cgroup_fd = -1,
                      .map_fd = -1,
                      .means = &shared->report.means};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    libbpf_set_print(NULL);
    bed.skeleton = sallyport_bpf__open();
    foreign_find(&shared->report, shared->own_cgroup, netns);
    for (size_t i = 0; i < ARRAY_SIZE(trials); i++)
        run_one(&bed, &trials[i], &shared->report);
    _exit(0);
}

/* Until the child has ended: what interrupts us ends it, and is returned, so that the cgroup can be
 * removed before we go. 0: nothing did. */
static int wait_for(pid_t child, const sigset_t *signals, int *status)
{
    int interrupted = 0;

    while (waitpid(child, status, WNOHANG) != child) {
        int signal = sigwaitinfo(signals, NULL);

        if (signal > 0 && signal != SIGCHLD) {
            interrupted = signal;
            kill(child, SIGKILL);
        }
    }
    return interrupted;
}

static int try_in_child(struct shared *shared, struct err *err)
{
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    struct sigaction old_chld;
    sigset_t signals, old_mask;
    int status = 0, interrupted = 0, result = 0;
    pid_t child;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, &old_mask);
    /* where our caller ignores it, the kernel would reap the child behind our back */
    sigaction(SIGCHLD, &by_default, &old_chld);
    child = fork();
    if (child == 0)
        run_all(shared);
    if (child < 0)
        result = err_sys(err, -errno, "fork");
    else
        interrupted = wait_for(child, &signals, &status);
    if (access(shared->cgroup, F_OK) == 0 && rmdir(shared->cgroup) < 0)
        log_warn("removing %s: %s; remove it by rmdir", shared->cgroup, strerror(errno));
    sigaction(SIGCHLD, &old_chld, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    if (interrupted) {
        raise(interrupted);
        result = err_set(err, -EINTR, "interrupted");
    } else if (status)
        result = err_set(
            err, -ECHILD, "the kernel or a fault of ours ended the probe while it tried: %s",
            shared->report.checks_len ? shared->report.checks[shared->report.checks_len - 1].name
                                      : "foreign programs");
    return result;
}

/* Root in name only would be told forty times that it lacks what one word says. */
static int check_root(struct err *err)
{
    struct err lacking = {0};

    if (geteuid() != 0)
        return err_set(err, -EPERM, "trying what this kernel can do needs root; run it with sudo");
    if (try_capabilities(NULL, NULL, &lacking) < 0 && strstr(lacking.text, "CAP_SYS_ADMIN") &&
        strstr(lacking.text, "CAP_BPF"))
        return err_set(err, -EPERM,
                       "this root %s, without which nothing can be tried; run it outside an "
                       "unprivileged container",
                       lacking.text);
    return 0;
}

int probe_run(struct probe_report **out, struct err *err)
{
    CLEANUP(probe_free) struct probe_report *report = NULL;
    struct shared *shared;
    struct utsname system;
    int result = check_root(err);

    if (result < 0)
        return result;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return err_sys(err, -errno, "memory for the report");
    report = &shared->report;
    uname(&system);
    snprintf(report->kernel, sizeof(report->kernel), "%s", system.release);
    if (host_own_cgroup(shared->own_cgroup, &shared->no_cgroup) < 0 ||
        snprintf(shared->cgroup, PATH_MAX, "%s/sallyport-probe-%d", shared->own_cgroup, getpid()) >=
            PATH_MAX)
        shared->own_cgroup[0] = shared->cgroup[0] = 0;
    result = try_in_child(shared, err);
    if (result < 0)
        return result;
    *out = TAKE(report);
    return 0;
}

void probe_free(struct probe_report **report)
{
    if (*report)
        munmap(TAKE(*report), sizeof(struct shared));
}
