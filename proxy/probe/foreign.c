#include "proxy/probe/foreign.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "proxy/keeper/pins.h"

enum { IDS_MAX = 64 };

static const struct {
    const char *name;
    enum bpf_attach_type type;
    const char *after, *before; /* what follows where it runs after ours, before ours */
} hooks[] = {
#define REWRITES                                                                                   \
    "runs after ours, on our listener's address; what it does to destinations reaches our own "    \
    "connection to the server",                                                                    \
        "runs before ours; the destination that it writes is the one we take for the program's"
    {"cgroup/connect4", BPF_CGROUP_INET4_CONNECT, REWRITES},
    {"cgroup/connect6", BPF_CGROUP_INET6_CONNECT, REWRITES},
#define SENDS                                                                                      \
    "runs after ours, on the address we wrote; may send a question elsewhere or refuse it",        \
        "runs before ours; the name server that it writes is the one we take for the program's"
    {"cgroup/sendmsg4", BPF_CGROUP_UDP4_SENDMSG, SENDS},
    {"cgroup/sendmsg6", BPF_CGROUP_UDP6_SENDMSG, SENDS},
#define SHOWS                                                                                      \
    "runs after ours, on the address we show; may show another one",                               \
        "runs before ours, which may show another address than it does"
    {"cgroup/recvmsg4", BPF_CGROUP_UDP4_RECVMSG, SHOWS},
    {"cgroup/recvmsg6", BPF_CGROUP_UDP6_RECVMSG, SHOWS},
    {"cgroup/getpeername4", BPF_CGROUP_INET4_GETPEERNAME, SHOWS},
    {"cgroup/getpeername6", BPF_CGROUP_INET6_GETPEERNAME, SHOWS},
#define ALIKE(words) words, words
#define BINDS        ALIKE("may move or refuse a bind that we allow")
    {"cgroup/bind4", BPF_CGROUP_INET4_BIND, BINDS},
    {"cgroup/bind6", BPF_CGROUP_INET6_BIND, BINDS},
    {"cgroup/sock_create", BPF_CGROUP_INET_SOCK_CREATE,
     ALIKE("may refuse or mark sockets, ours too")},
    {"cgroup/sock_release", BPF_CGROUP_INET_SOCK_RELEASE, ALIKE("sees sockets end, as ours does")},
    {"cgroup/setsockopt", BPF_CGROUP_SETSOCKOPT,
     ALIKE("may change or refuse options, also those that let the kernel encrypt")},
    {"cgroup_skb/egress", BPF_CGROUP_INET_EGRESS, ALIKE("may drop packets that we let pass")},
    {"cgroup_skb/ingress", BPF_CGROUP_INET_INGRESS, ALIKE("may drop packets that we let pass")},
    {"sockops", BPF_CGROUP_SOCK_OPS, ALIKE("may switch off callbacks that ours asked for")},
};

static bool is_ours(const struct foreign_ours *ours, uint32_t id)
{
    for (size_t i = 0; ours && i < ours->len; i++)
        if (ours->ids[i] == id)
            return true;
    return false;
}

static bool is_noted(const struct probe_report *report, const char *hook, uint32_t id)
{
    for (size_t i = 0; i < report->foreign_len; i++)
        if (report->foreign[i].hook == hook && report->foreign[i].id == id)
            return true;
    return false;
}

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

/* before: whether all that stand there run before ours; else those listed ahead of ours do. */
static void look_at_hook(struct probe_report *report, size_t hook, const char *cgroup, int fd,
                         const struct foreign_ours *ours, bool before)
{
    const char *instead = NULL;
    uint32_t flags = 0, ids[IDS_MAX], len = IDS_MAX;

    if (bpf_prog_query(fd, hooks[hook].type, 0, &flags, ids, &len) < 0) {
        if (errno != EINVAL) /* that is a hook which this kernel does not have */
            snprintf(report->foreign_error, sizeof(report->foreign_error), "asking at %.64s: %s",
                     cgroup, strerror(errno));
        return;
    }
    for (uint32_t i = 0; i < len; i++)
        before |= is_ours(ours, ids[i]);
    if (!before && flags & BPF_F_ALLOW_OVERRIDE)
        instead = "does not run for what exec starts: ours takes its place";
    else if (!before && !(flags & BPF_F_ALLOW_MULTI))
        instead = "lets nobody attach another program below, so exec cannot work there";
    for (uint32_t i = 0; i < len; i++) {
        if (is_ours(ours, ids[i]))
            before = false;
        else if (!is_noted(report, hooks[hook].name, ids[i]))
            note(report, hooks[hook].name,
                 instead  ? instead
                 : before ? hooks[hook].before
                          : hooks[hook].after,
                 cgroup, ids[i]);
    }
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

/* From the cgroup `path` upwards, to below `end`; end "": to the root of cgroup v2. Cuts path. */
static void look_upwards(struct probe_report *report, char *path, const char *end,
                         const struct foreign_ours *ours, bool before)
{
    while (path[0] && strcmp(path, end) != 0) {
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || !is_cgroup2(fd))
            break; /* above the root of cgroup v2 */
        for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
            look_at_hook(report, i, path, fd, ours, before);
        *strrchr(path, '/') = 0;
    }
}

void foreign_find(struct probe_report *report, const char *own_cgroup, int netns_fd)
{
    char path[PATH_MAX];

    if (!own_cgroup[0])
        snprintf(report->foreign_error, sizeof(report->foreign_error),
                 "not looked for without cgroup v2");
    snprintf(path, sizeof(path), "%s", own_cgroup);
    look_upwards(report, path, "", NULL, false);
    if (netns_fd >= 0)
        look_at_netns(report, netns_fd);
}

/* What a pinned object is, its name says, as kernels have it: "bpf-link", "bpf_link". */
static bool is_a(int fd, const char *kind)
{
    char path[64], name[64];
    ssize_t len;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    len = readlink(path, name, sizeof(name) - 1);
    name[len > 0 ? len : 0] = 0;
    return strstr(name, "bpf") && strstr(name, kind);
}

static void note_ours(struct foreign_ours *ours, const char *path)
{
    CLEANUP(fd_close) int fd = bpf_obj_get(path);
    struct bpf_link_info link = {0};
    struct bpf_prog_info program = {0};
    uint32_t len = sizeof(link), program_len = sizeof(program);

    if (fd >= 0 && is_a(fd, "link") && bpf_obj_get_info_by_fd(fd, &link, &len) == 0)
        ours->ids[ours->len++] = link.prog_id;
    else if (fd >= 0 && is_a(fd, "prog") && bpf_obj_get_info_by_fd(fd, &program, &program_len) == 0)
        ours->ids[ours->len++] = program.id;
}

/* They lie in the directory itself, or in those below it: sets of them, and in those the set of the
 * kernel route. The links of pods are all of one program. */
static void find_ours(struct foreign_ours *ours, const char *pin_dir, unsigned depth)
{
    DIR *dir = opendir(pin_dir);
    struct dirent *entry;
    char path[PATH_MAX];

    while (dir && (entry = readdir(dir)) && ours->len < ARRAY_SIZE(ours->ids)) {
        if (entry->d_name[0] == '.' ||
            snprintf(path, sizeof(path), "%s/%s", pin_dir, entry->d_name) >= (int)sizeof(path))
            continue;
        if (entry->d_type != DT_DIR)
            note_ours(ours, path);
        else if (depth && strcmp(entry->d_name, PINS_OPTIONS) != 0)
            find_ours(ours, path, depth - 1);
    }
    if (dir)
        closedir(dir);
}

void foreign_find_ours(struct foreign_ours *ours, const char *pin_dir)
{
    ours->len = 0;
    find_ours(ours, pin_dir, 2);
}

void foreign_find_beside(struct probe_report *report, const char *root,
                         const struct foreign_ours *ours)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s", root);
    look_upwards(report, path, "", ours, false);
}

void foreign_find_before(struct probe_report *report, const char *pod, const char *root,
                         const struct foreign_ours *ours)
{
    size_t len = strlen(root);
    char path[PATH_MAX];

    if (strncmp(pod, root, len) != 0 || pod[len] != '/')
        return;
    snprintf(path, sizeof(path), "%s", pod);
    look_upwards(report, path, root, ours, true);
}
