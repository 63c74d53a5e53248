#include "proxy/kernel/options.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/keeper/keeper.h"
#include "proxy/keeper/pins.h"
#include "proxy/kernel/backend.h"

struct followed { /* a pod whose link is not pinned */
    struct followed *next;
    uint64_t pod;
    int link;
};

struct options {
    int program;        /* borrowed; -1: nobody is followed */
    char dir[PATH_MAX]; /* "": nothing is kept */
    struct followed *first;
};

static int keep_in(struct options *options, const char *set, struct err *err)
{
    if (snprintf(options->dir, sizeof(options->dir), "%s/%s", set, PINS_OPTIONS) >=
        (int)sizeof(options->dir))
        return err_set(err, -ENAMETOOLONG, "%s", set);
    if (options->program < 0)
        pins_remove(set, PINS_OPTIONS); /* of an agent that had a kernel route */
    else if (mkdir(options->dir, 0700) < 0 && errno != EEXIST)
        return err_sys(err, -errno, "%s", options->dir);
    return 0;
}

int options_new(struct options **out, struct keeper *keeper, const struct backend *backend,
                struct err *err)
{
    CLEANUP(options_free) struct options *options = calloc(1, sizeof(*options));
    char set[PATH_MAX];
    int code = 0;

    if (!options)
        return err_set(err, -ENOMEM, "the pods whose options are followed");
    options->program = backend_said(backend) < 0 ? -1 : keeper_options_program(keeper);
    if (keeper_set_dir(keeper, set))
        code = keep_in(options, set, err);
    if (code < 0)
        return code;
    *out = TAKE(options);
    return 0;
}

static void end(struct followed **link)
{
    struct followed *gone = *link;

    *link = gone->next;
    fd_close(&gone->link);
    free(gone);
}

void options_free(struct options **options)
{
    if (!*options)
        return;
    while ((*options)->first)
        end(&(*options)->first);
    free(TAKE(*options));
}

/* ---- kept for the next agent ---- */

static int path_of(const struct options *options, uint64_t pod, char out[PATH_MAX], struct err *err)
{
    if (snprintf(out, PATH_MAX, "%s/%" PRIu64, options->dir, pod) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "%s", options->dir);
    return 0;
}

/* A link outlives the cgroup it was made for, but does nothing any more. */
static bool is_followed(const char *path, uint64_t pod)
{
    CLEANUP(fd_close) int fd = bpf_obj_get(path);
    struct bpf_link_info info = {0};
    __u32 len = sizeof(info);

    return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
           info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == pod;
}

/* ---- pods come and go ---- */

static int attach(const struct options *options, int cgroup_fd, int *out, struct err *err)
{
    CLEANUP(fd_close) int cgroup = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (cgroup < 0)
        return err_sys(err, -errno, "the pod's cgroup");
    *out = bpf_link_create(options->program, cgroup, BPF_CGROUP_SETSOCKOPT, NULL);
    return *out < 0 ? err_sys(err, -errno, "attaching the BPF program for setsockopt to the pod")
                    : 0;
}

static int note(struct options *options, uint64_t pod, int *link, struct err *err)
{
    struct followed *followed = calloc(1, sizeof(*followed));

    if (!followed)
        return err_set(err, -ENOMEM, "the pods whose options are followed");
    *followed = (struct followed){.next = options->first, .pod = pod, .link = fd_take(link)};
    options->first = followed;
    return 0;
}

int options_follow(struct options *options, uint64_t pod, int cgroup_fd, struct err *err)
{
    CLEANUP(fd_close) int link = -1;
    char path[PATH_MAX] = "";
    int code = 0;

    if (options->program < 0)
        return 0;
    if (*options->dir)
        code = path_of(options, pod, path, err);
    if (code < 0 || (*path && is_followed(path, pod)))
        return code;
    code = attach(options, cgroup_fd, &link, err);
    if (code < 0 || !*path)
        return code < 0 ? code : note(options, pod, &link, err);
    unlink(path);
    return bpf_obj_pin(link, path) < 0 ? err_sys(err, -errno, "pinning a BPF link at %s", path) : 0;
}

void options_forget(struct options *options, uint64_t pod)
{
    char path[PATH_MAX];

    if (*options->dir && path_of(options, pod, path, NULL) == 0)
        unlink(path);
    for (struct followed **link = &options->first; *link; link = &(*link)->next)
        if ((*link)->pod == pod) {
            end(link);
            return;
        }
}

void options_sweep(struct options *options, bool (*is_there)(void *arg, uint64_t pod), void *arg)
{
    DIR *dir = *options->dir ? opendir(options->dir) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        uint64_t pod = strtoull(entry->d_name, NULL, 10);

        if (pod && !is_there(arg, pod))
            options_forget(options, pod);
    }
    if (dir)
        closedir(dir);
}
