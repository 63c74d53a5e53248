/* exec_measure: what a command run by `exec` took, and what we took meanwhile. The start and the
 * end of ours are not counted: loading BPF, making a CA and taking all down again are once a run.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/command/exec_run.h"

int exec_bare_start(struct exec_run *run, struct err *err)
{
    run->bare = event_base_new();
    if (!run->bare)
        return err_set(err, -ENOMEM, "the control loop");
    return attend_serve(&run->attend, run->bare, err);
}

/* ---- files of "key number" lines ---- */

/* The number behind key, or 0 where there is none. */
static uint64_t read_number(int dir, const char *file, const char *key)
{
    CLEANUP(fd_close) int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    const char *at;

    text[n > 0 ? n : 0] = 0;
    at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* ---- what was taken ---- */

static uint64_t less(uint64_t whole, uint64_t part)
{
    return whole > part ? whole - part : 0;
}

static struct exec_cpu own_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (struct exec_cpu){
        .user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec,
        .system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec,
    };
}

void exec_measure_ready(struct exec_run *run)
{
    if (!run->measured)
        return;
    CLEANUP(fd_close) int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    /* 5: the peak begins anew; what the start took at its height is not what serving takes */
    if (fd >= 0 && write(fd, "5", 1) < 0)
        fd_close(&fd);
    run->ready = own_cpu();
}

void exec_measure_program(struct exec_run *run)
{
    struct exec_measured *measured = run->measured;
    int cgroup = run->instance->cgroup_fd;

    if (!measured)
        return;
    measured->wall_ns = less(run->attend.ended_ns, measured->began.ns);
    measured->program.user_us =
        less(read_number(cgroup, "cpu.stat", "user_usec "), measured->began.user_us);
    measured->program.system_us =
        less(read_number(cgroup, "cpu.stat", "system_usec "), measured->began.system_us);
    measured->program_peak_kb = read_number(cgroup, "memory.peak", "") / 1024;
}

void exec_measure_agent(struct exec_run *run)
{
    struct exec_cpu now = own_cpu();

    if (!run->measured || run->bare)
        return;
    run->measured->agent.user_us = less(now.user_us, run->ready.user_us);
    run->measured->agent.system_us = less(now.system_us, run->ready.system_us);
    run->measured->agent_rss_kb = read_number(AT_FDCWD, "/proc/self/status", "VmHWM:");
}
