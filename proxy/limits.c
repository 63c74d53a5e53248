#include "proxy/limits.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "proxy/host.h"

enum {
    /* for look-ups, and what is not counted */
    FILES_ASIDE = 256,
    MEMORY_SHARE = 4, /* the rest is for pods, who are what the machine is for */
    MEMORY_LEAST = 16 << 20,
    FLOOD = 256, /* connections */
};
static const uint64_t told_each_ns = 1000000000;

static const struct {
    const char *reason, *advice;
} limit_texts[] = {
    [LIMIT_NONE] = {"", ""},
    [LIMIT_FILES] = {"refused: too many connections for the open files allowed",
                     "more open files than allowed; raise the limit (ulimit -n)"},
    [LIMIT_MEMORY] = {"refused: too many connections for the memory available",
                      "more memory than a quarter of what was available at the start"},
    [LIMIT_SHARE] = {"refused: the pod has its share of what connections may take",
                     "a pod has its share, the rest is for the others"},
};
_Static_assert(sizeof(limit_texts) / sizeof(limit_texts[0]) == LIMIT_MAX, "name every limit");

/* ---- the machine ---- */

uint64_t limits_available(const char *line)
{
    uint64_t kilobytes;

    return sscanf(line, "MemAvailable: %" SCNu64 " kB", &kilobytes) == 1 ? kilobytes << 10 : 0;
}

static uint64_t memory_of_machine(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    uint64_t available = 0;
    char line[128];

    while (file && !available && fgets(line, sizeof(line), file))
        available = limits_available(line);
    if (file)
        fclose(file);
    return available ? available : UINT64_MAX;
}

/* UINT64_MAX where there is no such file, or it says "max". */
static uint64_t number_in(const char *dir, const char *name)
{
    char path[PATH_MAX];
    uint64_t number = UINT64_MAX;
    FILE *file;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return UINT64_MAX;
    file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    if (fscanf(file, "%" SCNu64, &number) != 1)
        number = UINT64_MAX;
    fclose(file);
    return number;
}

/* Our own cgroup's, and that of each above it, as far as we can see. */
static uint64_t memory_of_cgroups(void)
{
    uint64_t least = UINT64_MAX;
    char dir[PATH_MAX], *end;

    if (host_own_cgroup(dir, NULL) < 0)
        return least;
    for (; dir[0]; *end = 0) {
        uint64_t most = number_in(dir, "memory.max"), used = number_in(dir, "memory.current");

        if (most != UINT64_MAX && used != UINT64_MAX && least > (most > used ? most - used : 0))
            least = most > used ? most - used : 0;
        end = strrchr(dir, '/');
        if (!end)
            break;
    }
    return least;
}

static uint64_t count_open(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;

    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

void limits_read_machine(struct limits_machine *machine)
{
    struct rlimit files;
    uint64_t of_machine = memory_of_machine(), of_cgroups = memory_of_cgroups();

    *machine = (struct limits_machine){
        .files = getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : UINT64_MAX,
        .files_open = count_open(),
        .memory = of_cgroups < of_machine ? of_cgroups : of_machine,
    };
}

/* ---- decisions ---- */

void limits_init(struct limits *limits, const struct limits_machine *machine)
{
    uint64_t files =
        machine->files > machine->files_open ? machine->files - machine->files_open : 0;
    uint64_t aside = files / 2 < FILES_ASIDE ? files / 2 : FILES_ASIDE;
    uint64_t memory = machine->memory / MEMORY_SHARE;

    memset(limits, 0, sizeof(*limits));
    limits->most[LIMIT_FILES] = files - aside;
    limits->most[LIMIT_MEMORY] = memory > MEMORY_LEAST ? memory : MEMORY_LEAST;
}

static bool take(struct limits *limits, enum limit what, uint64_t amount, uint64_t most)
{
    uint64_t used = atomic_load(&limits->used[what]);

    do
        if (amount > most || used > most - amount)
            return false;
    while (!atomic_compare_exchange_weak(&limits->used[what], &used, used + amount));
    return true;
}

bool limits_take(struct limits *limits, enum limit what, uint64_t amount)
{
    uint64_t most = limits->most[what];

    return take(limits, what, amount,
                atomic_load(&limits->shared) ? most - most / LIMITS_ASIDE : most);
}

bool limits_take_spare(struct limits *limits, enum limit what, uint64_t amount)
{
    return take(limits, what, amount, limits->most[what] / 2);
}

void limits_give(struct limits *limits, enum limit what, uint64_t amount)
{
    atomic_fetch_sub(&limits->used[what], amount);
}

void limits_share(struct limits *limits, size_t pods)
{
    atomic_store(&limits->shared, pods > 1);
}

bool limits_fair(uint64_t held, uint64_t left)
{
    return held <= LIMITS_FAIR * left;
}

static bool has_its_share(const struct limits *limits, enum limit what, uint64_t held)
{
    uint64_t used = atomic_load(&limits->used[what]);

    return !limits_fair(held, limits->most[what] > used ? limits->most[what] - used : 0);
}

static enum limit admit(struct limits *limits, struct pod *pod, uint64_t files, uint64_t bytes)
{
    uint64_t flows = pod ? atomic_load(&pod->connections) : 0;
    uint64_t streams = pod ? atomic_load(&pod->streams) : 0;
    uint64_t connections;

    if (atomic_load(&limits->shared) &&
        ((files && has_its_share(limits, LIMIT_FILES, flows * LIMITS_FLOW_FILES)) ||
         has_its_share(limits, LIMIT_MEMORY,
                       flows * LIMITS_FLOW_BYTES + streams * LIMITS_STREAM_BYTES)))
        return LIMIT_SHARE;
    if (!take(limits, LIMIT_FILES, files, limits->most[LIMIT_FILES]))
        return LIMIT_FILES;
    if (!take(limits, LIMIT_MEMORY, bytes, limits->most[LIMIT_MEMORY])) {
        limits_give(limits, LIMIT_FILES, files);
        return LIMIT_MEMORY;
    }
    atomic_fetch_add(&limits->admitted, 1);
    connections = atomic_fetch_add(&limits->connections, 1) + 1;
    if (connections > atomic_load(&limits->peak)) /* control thread only */
        atomic_store(&limits->peak, connections);
    return LIMIT_NONE;
}

enum limit limits_admit(struct limits *limits, struct pod *pod)
{
    enum limit lacks = admit(limits, pod, LIMITS_FLOW_FILES, LIMITS_FLOW_BYTES);

    if (pod && !lacks)
        atomic_fetch_add(&pod->connections, 1);
    return lacks;
}

enum limit limits_admit_stream(struct limits *limits, struct pod *pod)
{
    enum limit lacks = admit(limits, pod, 0, LIMITS_STREAM_BYTES);

    if (pod && !lacks)
        atomic_fetch_add(&pod->streams, 1);
    return lacks;
}

void limits_move(struct pod *from, struct pod *to)
{
    if (from)
        atomic_fetch_sub(&from->connections, 1);
    if (to)
        atomic_fetch_add(&to->connections, 1);
}

void limits_leave(struct limits *limits, struct pod *pod)
{
    limits_give(limits, LIMIT_FILES, LIMITS_FLOW_FILES);
    limits_give(limits, LIMIT_MEMORY, LIMITS_FLOW_BYTES);
    atomic_fetch_sub(&limits->connections, 1);
    if (pod)
        atomic_fetch_sub(&pod->connections, 1);
}

void limits_leave_stream(struct limits *limits, struct pod *pod)
{
    limits_give(limits, LIMIT_MEMORY, LIMITS_STREAM_BYTES);
    atomic_fetch_sub(&limits->connections, 1);
    if (pod)
        atomic_fetch_sub(&pod->streams, 1);
}

bool limits_ebbed(struct limits *limits)
{
    uint64_t peak = atomic_load(&limits->peak);
    uint64_t connections = atomic_load(&limits->connections);

    return peak >= FLOOD && connections <= peak / 8 &&
           atomic_compare_exchange_strong(&limits->peak, &peak, connections);
}

size_t limits_refuse(struct limits *limits, enum limit what, uint64_t now_ns, char *line,
                     size_t size)
{
    uint64_t refused = atomic_fetch_add(&limits->refused[what], 1) + 1;
    uint64_t last = atomic_load(&limits->told_ns);
    int len;

    if ((last && now_ns - last < told_each_ns) ||
        !atomic_compare_exchange_strong(&limits->told_ns, &last, now_ns))
        return 0;
    refused -= atomic_exchange(&limits->told[what], refused);
    len = snprintf(line, size, "refused %" PRIu64 " connections beside %" PRIu64 " open ones: %s",
                   refused, (uint64_t)atomic_load(&limits->connections), limit_texts[what].advice);
    return len > 0 ? (size_t)len : 0;
}

const char *limits_reason(enum limit what)
{
    return limit_texts[what].reason;
}
