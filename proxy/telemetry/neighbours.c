#include "proxy/telemetry/neighbours.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/pods/lifecycle.h"
#include "proxy/probe/foreign.h"
#include "proxy/telemetry/status.h"

struct search {
    struct probe_report report;
    struct foreign_ours ours;
    char root[PATH_MAX];
};

/* Where a directory that we hold open is now; "" when it is gone. */
static void path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, out, PATH_MAX - 1);
    out[len > 0 ? len : 0] = 0;
}

static void look_before(void *arg, int cgroup_fd)
{
    struct search *search = arg;
    char path[PATH_MAX];

    path_of(cgroup_fd, path);
    foreign_find_before(&search->report, path, search->root, &search->ours);
}

static json_t *describe(const struct probe_foreign *foreign)
{
    json_t *object = json_object();

    if (!object)
        return NULL;
    status_add_text(object, "hook", foreign->hook);
    status_add_text(object, "name", foreign->name);
    json_object_set_new(object, "id", json_integer(foreign->id));
    status_add_text(object, "type", foreign->type);
    status_add_text(object, "at", foreign->at);
    status_add_text(object, "consequence", foreign->consequence);
    return object;
}

void neighbours_tell(void *arg, json_t *answer)
{
    const struct neighbours *neighbours = arg;
    struct search *search = calloc(1, sizeof(*search));
    json_t *list = json_array();

    if (search && list) {
        path_of(neighbours->cgroup_fd, search->root);
        foreign_find_ours(&search->ours, neighbours->pin_dir);
        foreign_find_beside(&search->report, search->root, &search->ours);
        lifecycle_each_cgroup(neighbours->lifecycle, look_before, search);
        for (size_t i = 0; i < search->report.foreign_len; i++)
            json_array_append_new(list, describe(&search->report.foreign[i]));
        if (search->report.foreign_more)
            json_object_set_new(answer, "foreign_programs_more",
                                json_integer((json_int_t)search->report.foreign_more));
        if (search->report.foreign_error[0])
            status_add_text(answer, "foreign_programs_error", search->report.foreign_error);
    }
    json_object_set_new(answer, "foreign_programs", list);
    free(search);
}
