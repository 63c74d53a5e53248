#include "proxy/identity/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "proxy/identity/arguments.h"

/* One descriptor for the directory and all reads below it: when the process ends they fail, instead
 * of telling of the next one with its pid. */
static int open_process(uint32_t pid)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/%" PRIu32, pid);
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Reads up to size - 1 bytes and puts a NUL behind them. Returns how many, or -1. */
static ssize_t read_file(int directory, const char *name, char *out, size_t size)
{
    CLEANUP(fd_close) int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    while (fd >= 0 && len < size - 1) {
        ssize_t n = read(fd, out + len, size - 1 - len);

        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    out[len] = 0;
    return fd < 0 ? -1 : (ssize_t)len;
}

/* A link's target; "" where there is none, as for a kernel thread's image. */
static char *read_link(int directory, const char *name)
{
    char target[PATH_MAX];
    ssize_t len = readlinkat(directory, name, target, sizeof(target));

    return strndup(target, len > 0 ? (size_t)len : 0);
}

static bool read_stat(int directory, char *state, uint64_t *start_ticks)
{
    char text[2048], *after;

    if (read_file(directory, "stat", text, sizeof(text)) <= 0)
        return false;
    after = strrchr(text, ')'); /* the name before it may hold blanks and brackets of its own */
    /* the state is field 3, the start field 22 */
    return after &&
           sscanf(after + 1,
                  " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                  "%*s %" SCNu64,
                  state, start_ticks) == 2;
}

static uint64_t tick_ns(void)
{
    return 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t snapshot_start_ns(uint64_t start_ns)
{
    return start_ns / tick_ns() * tick_ns();
}

static void read_status(int directory, struct process *process)
{
    static const struct {
        const char *key;
        size_t offset;
    } caps[] = {
        {"\nCapInh:", offsetof(struct process, cap_inheritable)},
        {"\nCapPrm:", offsetof(struct process, cap_permitted)},
        {"\nCapEff:", offsetof(struct process, cap_effective)},
    };
    char text[8192];
    const char *at;

    if (read_file(directory, "status", text, sizeof(text)) <= 0)
        return;
    at = strstr(text, "\nUid:");
    if (at)
        sscanf(at + 5, "%" SCNu32 " %" SCNu32, &process->uid, &process->euid);
    at = strstr(text, "\nGid:");
    if (at)
        sscanf(at + 5, "%" SCNu32, &process->gid);
    at = strstr(text, "\nNSpid:"); /* outermost namespace first */
    if (at)
        for (at = strpbrk(at + 7, "0123456789\n"); at && *at != '\n';
             at = strpbrk(at, "0123456789\n"))
            process->nspid = (uint32_t)strtoul(at, (char **)&at, 10);
    for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
        at = strstr(text, caps[i].key);
        if (at)
            *(uint64_t *)((char *)process + caps[i].offset) = strtoull(at + 8, NULL, 16);
    }
}

static void read_namespaces(int directory, struct process_namespaces *ns)
{
    const struct {
        const char *name;
        uint32_t *to;
    } all[] = {
        {"ns/uts", &ns->uts},   {"ns/ipc", &ns->ipc},   {"ns/mnt", &ns->mnt},
        {"ns/pid", &ns->pid},   {"ns/net", &ns->net},   {"ns/cgroup", &ns->cgroup},
        {"ns/user", &ns->user}, {"ns/time", &ns->time},
    };
    struct stat st;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (fstatat(directory, all[i].name, &st, 0) == 0)
            *all[i].to = (uint32_t)st.st_ino;
}

static void read_arguments(int directory, struct process *process)
{
    char argv[ABI_ARGS_MAX + 2]; /* one more than is told, to see that there is more */
    ssize_t len = read_file(directory, "cmdline", argv, sizeof(argv));

    process->arguments_cut = len > ABI_ARGS_MAX;
    if (process->arguments_cut)
        len = ABI_ARGS_MAX;
    process->arguments = arguments_join(span_of(argv, len > 0 ? (size_t)len : 0));
}

struct process *snapshot_take(uint32_t pid, uint64_t start_ns)
{
    CLEANUP(process_unref) struct process *process = calloc(1, sizeof(*process));
    CLEANUP(fd_close) int directory = open_process(pid);
    uint64_t start_ticks;
    char text[32], state;

    if (!process)
        return NULL;
    atomic_init(&process->refs, 1);
    if (directory < 0 || !read_stat(directory, &state, &start_ticks))
        return NULL;
    if (start_ns && start_ns / tick_ns() != start_ticks)
        return NULL;
    process->pid = process->nspid = pid;
    process->start_ns = start_ns ? start_ns : start_ticks * tick_ns();
    process->auid = UINT32_MAX;
    if (read_file(directory, "loginuid", text, sizeof(text)) > 0)
        process->auid = (uint32_t)strtoul(text, NULL, 10);
    read_status(directory, process);
    read_namespaces(directory, &process->ns);
    read_arguments(directory, process);
    process->binary = read_link(directory, "exe");
    process->cwd = read_link(directory, "cwd");
    if (!process->arguments || !process->binary || !process->cwd)
        return NULL;
    return TAKE(process);
}

bool snapshot_is_same(uint32_t pid, uint64_t start_ns)
{
    CLEANUP(fd_close) int directory = open_process(pid);
    uint64_t start_ticks;
    char state;

    return directory >= 0 && read_stat(directory, &state, &start_ticks) &&
           start_ns / tick_ns() == start_ticks;
}

bool snapshot_is_alive(uint32_t pid, uint64_t start_ns)
{
    CLEANUP(fd_close) int directory = open_process(pid);
    uint64_t start_ticks;
    char state;

    return directory >= 0 && read_stat(directory, &state, &start_ticks) &&
           start_ns / tick_ns() == start_ticks && state != 'Z' && state != 'X';
}
