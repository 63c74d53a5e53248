/* foreign: BPF programs of others on the hooks that are ours, too.
 *
 * For what `exec` starts, programs run from its own cgroup upwards: ours first, then those of the
 * cgroups above, up to the root. So the way up from our own cgroup is what matters. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "proxy/probe/tries.h"

enum { IDS_MAX = 64 };

static const struct {
    const char *name;
    enum bpf_attach_type type;
    const char *consequence;
} hooks[] = {
#define REWRITES                                                                                   \
    "runs after ours, on our listener's address; what it does to destinations reaches our own "    \
    "connection to the server"
    {"cgroup/connect4", BPF_CGROUP_INET4_CONNECT, REWRITES},
    {"cgroup/connect6", BPF_CGROUP_INET6_CONNECT, REWRITES},
#define SENDS "runs after ours, on the address we wrote; may send a question elsewhere or refuse it"
    {"cgroup/sendmsg4", BPF_CGROUP_UDP4_SENDMSG, SENDS},
    {"cgroup/sendmsg6", BPF_CGROUP_UDP6_SENDMSG, SENDS},
#define SHOWS "runs after ours, on the address we show; may show another one"
    {"cgroup/recvmsg4", BPF_CGROUP_UDP4_RECVMSG, SHOWS},
    {"cgroup/recvmsg6", BPF_CGROUP_UDP6_RECVMSG, SHOWS},
    {"cgroup/getpeername4", BPF_CGROUP_INET4_GETPEERNAME, SHOWS},
    {"cgroup/getpeername6", BPF_CGROUP_INET6_GETPEERNAME, SHOWS},
#define BINDS "may move or refuse a bind that we allow"
    {"cgroup/bind4", BPF_CGROUP_INET4_BIND, BINDS},
    {"cgroup/bind6", BPF_CGROUP_INET6_BIND, BINDS},
    {"cgroup/sock_create", BPF_CGROUP_INET_SOCK_CREATE, "may refuse or mark sockets, ours too"},
    {"cgroup/sock_release", BPF_CGROUP_INET_SOCK_RELEASE, "sees sockets end, as ours does"},
    {"cgroup_skb/egress", BPF_CGROUP_INET_EGRESS, "may drop packets that we let pass"},
    {"cgroup_skb/ingress", BPF_CGROUP_INET_INGRESS, "may drop packets that we let pass"},
    {"sockops", BPF_CGROUP_SOCK_OPS, "may switch off callbacks that ours asked for"},
};

static void note(struct probe_report *report, const char *hook, const char *consequence,
                 const char *at, uint32_t id)
{
    struct probe_foreign *foreign = &report->foreign[report->foreign_len];
    struct bpf_prog_info info = {0};
    uint32_t len = sizeof(info);
    CLEANUP(fd_close) int fd = bpf_prog_get_fd_by_id(id);

    if (report->foreign_len == PROBE_FOREIGN_MAX) {
        report->foreign_more++;
        return;
    }
    foreign->hook = hook;
    foreign->consequence = consequence;
    foreign->id = id;
    snprintf(foreign->at, sizeof(foreign->at), "%s", at);
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0) { /* else it is just gone */
        snprintf(foreign->name, sizeof(foreign->name), "%s", info.name);
        foreign->type = libbpf_bpf_prog_type_str(info.type);
    }
    report->foreign_len++;
}

static void look_at_hook(struct probe_report *report, size_t hook, const char *cgroup, int fd)
{
    const char *consequence = hooks[hook].consequence;
    uint32_t flags = 0, ids[IDS_MAX], len = IDS_MAX;

    if (bpf_prog_query(fd, hooks[hook].type, 0, &flags, ids, &len) < 0) {
        if (errno != EINVAL) /* that is a hook which this kernel does not have */
            snprintf(report->foreign_error, sizeof(report->foreign_error), "asking at %.64s: %s",
                     cgroup, strerror(errno));
        return;
    }
    if (flags & BPF_F_ALLOW_OVERRIDE)
        consequence = "does not run for what exec starts: ours takes its place";
    else if (!(flags & BPF_F_ALLOW_MULTI))
        consequence = "lets nobody attach another program below, so exec cannot work there";
    for (uint32_t i = 0; i < len; i++)
        note(report, hooks[hook].name, consequence, cgroup, ids[i]);
}

static void look_at_netns(struct probe_report *report, int fd)
{
    uint32_t ids[IDS_MAX], len = IDS_MAX;

    if (bpf_prog_query(fd, BPF_SK_LOOKUP, 0, NULL, ids, &len) < 0)
        return;
    for (uint32_t i = 0; i < len; i++)
        note(report, "sk_lookup", "may give connections meant for our listener to another socket",
             "this network namespace", ids[i]);
}

static bool is_cgroup2(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

void foreign_find(struct probe_report *report, const char *own_cgroup, int netns_fd)
{
    char path[PATH_MAX];

    if (!own_cgroup[0])
        snprintf(report->foreign_error, sizeof(report->foreign_error),
                 "not looked for without cgroup v2");
    snprintf(path, sizeof(path), "%s", own_cgroup);
    while (path[0]) {
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || !is_cgroup2(fd))
            break; /* above the root of cgroup v2 */
        for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
            look_at_hook(report, i, path, fd);
        *strrchr(path, '/') = 0;
    }
    if (netns_fd >= 0)
        look_at_netns(report, netns_fd);
}
