#include "proxy/pods/pod_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/file.h"

static const char suffix[] = ".json";

int pod_files_init(const char *dir, struct err *err)
{
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_sys(err, -errno, "making %s", dir);
    return 0;
}

static bool path_of(char path[PATH_MAX], const char *dir, uint64_t id)
{
    return snprintf(path, PATH_MAX, "%s/%" PRIu64 "%s", dir, id, suffix) < PATH_MAX;
}

int pod_files_write(const char *dir, uint64_t id, const json_t *object, struct err *err)
{
    const struct file ours = {.mode = 0600, .uid = geteuid(), .gid = getegid()};
    CLEANUP(text_free) char *text = json_dumps(object, JSON_INDENT(1) | JSON_SORT_KEYS);
    char path[PATH_MAX];

    if (!text || !path_of(path, dir, id))
        return err_set(err, -ENOMEM, "the file of a pod");
    return file_replace(path, span_of_text(text), &ours, err);
}

void pod_files_remove(const char *dir, uint64_t id)
{
    char path[PATH_MAX];

    if (path_of(path, dir, id))
        unlink(path);
}

/* The digits of the file's name; 0: it is none of ours. */
static uint64_t id_of(const char *name)
{
    char *end;
    uint64_t id = strtoull(name, &end, 10);

    return *name >= '1' && *name <= '9' && strcmp(end, suffix) == 0 ? id : 0;
}

static void set_aside(const char *path, const char *why)
{
    char aside[PATH_MAX + 8];

    snprintf(aside, sizeof(aside), "%s.broken", path);
    log_warn("a pod is not registered again, its file is kept as %s: %s", aside, why);
    rename(path, aside);
}

static void read_one(const char *path, uint64_t id,
                     enum pod_files_fate (*visit)(void *arg, uint64_t id, const json_t *object,
                                                  struct err *err),
                     void *arg)
{
    CLEANUP(file_free) struct file file = {0};
    enum pod_files_fate fate = POD_FILES_SET_ASIDE;
    struct err err = {0};
    json_error_t fault = {0};
    json_t *object = NULL;

    if (file_read(&file, path, &err) == 0) {
        object = json_loadb((const char *)file.data, file.len, JSON_REJECT_DUPLICATES, &fault);
        if (object)
            fate = visit(arg, id, object, &err);
        else
            err_set(&err, -EINVAL, "%d:%d: %s", fault.line, fault.column, fault.text);
    }
    json_decref(object);
    if (fate == POD_FILES_DROP)
        unlink(path);
    else if (fate == POD_FILES_SET_ASIDE)
        set_aside(path, err.text);
}

void pod_files_each(const char *dir,
                    enum pod_files_fate (*visit)(void *arg, uint64_t id, const json_t *object,
                                                 struct err *err),
                    void *arg)
{
    DIR *all = opendir(dir);
    struct dirent *entry;
    char path[PATH_MAX];

    while (all && (entry = readdir(all))) {
        uint64_t id = id_of(entry->d_name);

        if (snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) >= (int)sizeof(path))
            continue;
        if (id)
            read_one(path, id, visit, arg);
    }
    if (all)
        closedir(all);
}
