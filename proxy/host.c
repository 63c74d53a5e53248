#include "proxy/host.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/magic.h>

#include "base/cleanup.h"

static int find_cgroup2(char out[PATH_MAX])
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct mntent *mount;
    int result = -ENOENT;

    if (!mounts)
        return -errno;
    while (result < 0 && (mount = getmntent(mounts)))
        if (strcmp(mount->mnt_type, "cgroup2") == 0 && strlen(mount->mnt_dir) < PATH_MAX) {
            strcpy(out, mount->mnt_dir);
            result = 0;
        }
    endmntent(mounts);
    return result;
}

static int cgroup_root(char out[PATH_MAX], struct err *err)
{
    if (find_cgroup2(out) < 0)
        return err_set(err, -ENOENT,
                       "no cgroup v2 is mounted here; mount it (mount -t cgroup2 none "
                       "/sys/fs/cgroup), or if 'ip netns exec' hides it, use nsenter "
                       "--net=/run/netns/NAME instead");
    return 0;
}

int host_open_cgroup_root(const char *path, int *out, struct err *err)
{
    char root[PATH_MAX];
    struct statfs fs;

    if (!path) {
        int result = cgroup_root(root, err);

        if (result < 0)
            return result;
        path = root;
    }
    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out < 0 || fstatfs(*out, &fs) < 0)
        return err_sys(err, -errno, "--cgroup-root %s", path);
    if (fs.f_type != CGROUP2_SUPER_MAGIC)
        return err_set(err, -EINVAL, "--cgroup-root %s is no directory of cgroup v2", path);
    return 0;
}

int host_own_cgroup(char out[PATH_MAX], struct err *err)
{
    char line[PATH_MAX], mount[PATH_MAX];
    FILE *file;
    int result = cgroup_root(mount, err);

    if (result < 0)
        return result;
    file = fopen("/proc/self/cgroup", "re");
    if (!file)
        return err_sys(err, -errno, "/proc/self/cgroup");
    result = err_set(err, -ENOENT, "this process is in no cgroup of v2 (%s)", mount);
    while (result < 0 && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        if (snprintf(out, PATH_MAX, "%s%s", mount, line[4] ? line + 3 : "") < PATH_MAX)
            result = 0;
    }
    fclose(file);
    return result;
}

/* Checked before anything is made: libevent ends the whole process where it runs out inside. What
 * connections take comes on top; who has none left turns them away (acceptor.c). */
int host_check_files(struct err *err)
{
    enum { ALL = 96, A_WORKER = 8 };
    rlim_t wanted = ALL + A_WORKER * (rlim_t)sysconf(_SC_NPROCESSORS_ONLN);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return 0;
    return err_set(err, -EMFILE,
                   "only %llu files may be open here, fewer than the %llu that it takes at least; "
                   "raise the limit (ulimit -n)",
                   (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

int host_check(struct err *err)
{
    int result;

    if (geteuid() != 0)
        return err_set(err, -EPERM, "steering connections needs root; run it with sudo");
    result = host_check_files(err);
    if (result < 0)
        return result;
    if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
        return err_set(
            err, -ENOENT,
            "this kernel has no BTF (/sys/kernel/btf/vmlinux), so BPF programs cannot be "
            "fitted to it; use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions do");

    CLEANUP(fd_close) int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sallyport_try", 4, 4, 1, NULL);

    if (map < 0)
        return err_sys(err, -errno,
                       "the kernel does not let us use BPF (bpf(2)); a container needs CAP_BPF or "
                       "CAP_SYS_ADMIN, and a seccomp profile that allows it");
    return 0;
}

void host_raise_file_limit(struct rlimit *old)
{
    getrlimit(RLIMIT_NOFILE, old);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){old->rlim_max, old->rlim_max});
}

unsigned host_cpus(void)
{
    cpu_set_t cpus;

    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

/* A socket that is not connected is refused by the module, if there is one. */
bool host_has_ktls(void)
{
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 &&
           (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno == ENOTCONN);
}
