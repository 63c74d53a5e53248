#include "bed.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const cgroups[] = {"", "/pod", "/pod/ctr", "/pod/ctr/deep", "/stranger"};

static void skip(const char *reason)
{
    printf("SKIP: %s\n", reason);
    exit(77);
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bed: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Where cgroup version 2 is mounted: not always at /sys/fs/cgroup. */
static bool find_cgroup2(char out[PATH_MAX])
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[PATH_MAX + 256], type[64];
    bool found = false;

    must(mounts, "/proc/self/mounts");
    while (!found && fgets(line, sizeof(line), mounts))
        found = sscanf(line, "%*s %4095s %63s", out, type) == 2 && strcmp(type, "cgroup2") == 0;
    fclose(mounts);
    return found;
}

static void find_own_cgroup(char out[PATH_MAX])
{
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];

    must(groups, "/proc/self/cgroup");
    out[0] = 0;
    while (fgets(line, sizeof(line), groups))
        if (sscanf(line, "0::%4000s", out) == 1)
            break;
    fclose(groups);
    if (strcmp(out, "/") == 0)
        out[0] = 0;
}

static void make_cgroups(struct bed *bed)
{
    char mount[PATH_MAX], own[PATH_MAX], path[PATH_MAX + 16];

    if (!find_cgroup2(mount))
        skip("cgroup version 2 is not mounted");
    find_own_cgroup(own);
    snprintf(bed->cgroup, sizeof(bed->cgroup), "%.1000s%.2000s/sallyport-test-%d", mount, own,
             (int)getpid());
    for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", bed->cgroup, cgroups[i]);
        must(mkdir(path, 0755) == 0, path);
    }
    bed->cgroup_fd = open(bed->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(bed->cgroup_fd >= 0, bed->cgroup);
}

static void make_bpffs(struct bed *bed)
{
    must(unshare(CLONE_NEWNS) == 0, "mount namespace");
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
    must(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0, "/mnt");
    snprintf(bed->pins, sizeof(bed->pins), "/mnt/pins");
    must(mkdir(bed->pins, 0700) == 0, bed->pins);
    if (mount("bpf", bed->pins, "bpf", 0, NULL) < 0)
        skip("no bpffs here");
}

static int make_netns(void)
{
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

    must(home >= 0 && unshare(CLONE_NEWNET) == 0, "network namespace");
    fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && setns(home, CLONE_NEWNET) == 0, "network namespace");
    close(home);
    bed_ip(fd, "link set lo up");
    return fd;
}

static void lay_cable(const struct bed *bed)
{
    char words[128];

    snprintf(words, sizeof(words), "link add pod0 type veth peer name world0 netns /proc/%d/fd/%d",
             (int)getpid(), bed->world);
    bed_ip(bed->pod, words);
    bed_ip(bed->pod, "address add 192.0.2.1/24 dev pod0");
    bed_ip(bed->pod, "address add 192.0.2.2/24 dev pod0");
    bed_ip(bed->pod, "address add 2001:db8:1::1/64 dev pod0 nodad");
    bed_ip(bed->pod, "link set pod0 up");
    bed_ip(bed->world, "address add 192.0.2.254/24 dev world0");
    bed_ip(bed->world, "address add 2001:db8:1::254/64 dev world0 nodad");
    bed_ip(bed->world, "address add 198.51.100.1/32 dev lo");
    bed_ip(bed->world, "address add 2001:db8:2::1/128 dev lo nodad");
    bed_ip(bed->world, "link set world0 up");
    bed_ip(bed->pod, "route add default via 192.0.2.254");
    bed_ip(bed->pod, "-6 route add default via 2001:db8:1::254");
}

void bed_init(struct bed *bed)
{
    if (geteuid() != 0)
        skip("needs root");
    memset(bed, 0, sizeof(*bed));
    make_cgroups(bed);
    make_bpffs(bed);
    bed->pod = make_netns();
    bed->world = make_netns();
    bed->island = make_netns();
    lay_cable(bed);
}

void bed_fini(struct bed *bed)
{
    char path[PATH_MAX + 16];

    close(bed->pod);
    close(bed->world);
    close(bed->island);
    close(bed->cgroup_fd);
    for (size_t i = sizeof(cgroups) / sizeof(cgroups[0]); i-- > 0;) {
        snprintf(path, sizeof(path), "%s%s", bed->cgroup, cgroups[i]);
        must(rmdir(path) == 0, path);
    }
}

uint64_t bed_cgroup_id(const struct bed *bed, const char *name)
{
    char path[PATH_MAX + 64];
    struct stat file;

    snprintf(path, sizeof(path), "%s/%s", bed->cgroup, name);
    must(stat(path, &file) == 0, path);
    return file.st_ino;
}

void bed_ip(int netns, const char *words)
{
    pid_t child = fork();
    int status = 0;

    must(child >= 0, "fork");
    if (child == 0) {
        char copy[256], *argv[32] = {"ip"};
        int argc = 1;

        snprintf(copy, sizeof(copy), "%s", words);
        for (char *at = copy, *word; argc < 31 && (word = strsep(&at, " "));)
            argv[argc++] = word;
        must(setns(netns, CLONE_NEWNET) == 0, "setns");
        execvp("ip", argv);
        must(false, "ip(8)");
    }
    must(waitpid(child, &status, 0) == child && status == 0, words);
}

static void join(const struct bed *bed, const char *cgroup, int netns)
{
    char path[PATH_MAX + 64];
    int fd;

    snprintf(path, sizeof(path), "%s/%s/cgroup.procs", bed->cgroup, cgroup);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, "0", 1) == 1, path);
    close(fd);
    must(setns(netns, CLONE_NEWNET) == 0, "setns");
}

/* Field 22; the second one may hold blanks, but ends at the last parenthesis. */
static uint64_t own_start_ticks(void)
{
    char stat[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, stat, sizeof(stat) - 1);
    char *at;

    must(n > 0, "/proc/self/stat");
    close(fd);
    stat[n] = 0;
    at = strrchr(stat, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    must(at, "/proc/self/stat");
    return strtoull(at, NULL, 10);
}

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
};

static void send_report(int to, const struct report *report)
{
    struct iovec data = {(void *)report, sizeof(*report)};
    union control control = {0};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

    if (report->fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &report->fd, sizeof(int));
    }
    must(sendmsg(to, &message, 0) == (ssize_t)sizeof(*report), "report");
}

static void receive_report(int from, struct report *report)
{
    struct iovec data = {report, sizeof(*report)};
    union control control = {0};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    must(recvmsg(from, &message, MSG_CMSG_CLOEXEC) == (ssize_t)sizeof(*report), "report");
    report->fd = -1;
    if (message.msg_controllen >= CMSG_LEN(sizeof(int)))
        memcpy(&report->fd, CMSG_DATA(&control.head), sizeof(int));
}

void bed_run(const struct bed *bed, const char *cgroup, int netns,
             void (*work)(const void *arg, struct report *report), const void *arg,
             struct report *report)
{
    int pair[2], status;
    pid_t child;

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        struct report own = {.fd = -1, .pid = getpid(), .start_ticks = own_start_ticks()};

        alarm(120); /* guests of tests/vm are slow */
        close(pair[0]);
        join(bed, cgroup, netns);
        work(arg, &own);
        send_report(pair[1], &own);
        _exit(0);
    }
    close(pair[1]);
    receive_report(pair[0], report);
    close(pair[0]);
    must(waitpid(child, &status, 0) == child && status == 0, "program");
}
