#include "proxy/pods/resolving.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/file.h"
#include "proxy/dns/configured.h"
#include "proxy/dns/names.h"
#include "proxy/identity/snapshot.h"

struct resolving {
    struct names *names;
    char *dir; /* NULL: nothing is kept */
};

int resolving_new(struct resolving **out, struct names *names, const char *runtime_dir,
                  struct err *err)
{
    CLEANUP(resolving_free) struct resolving *resolving = calloc(1, sizeof(*resolving));

    if (!resolving)
        return err_set(err, -ENOMEM, "what pods resolve names by");
    resolving->names = names;
    if (runtime_dir && asprintf(&resolving->dir, "%s/resolving", runtime_dir) < 0) {
        resolving->dir = NULL;
        return err_set(err, -ENOMEM, "what pods resolve names by");
    }
    if (resolving->dir && mkdir(resolving->dir, 0700) < 0 && errno != EEXIST)
        return err_sys(err, -errno, "making %s", resolving->dir);
    *out = TAKE(resolving);
    return 0;
}

void resolving_free(struct resolving **resolving)
{
    if (!*resolving)
        return;
    free((*resolving)->dir);
    free(TAKE(*resolving));
}

/* ---- on disk ---- */

static bool path_of(const struct resolving *resolving, uint64_t pod, char out[PATH_MAX])
{
    return resolving->dir && snprintf(out, PATH_MAX, "%s/%" PRIu64, resolving->dir, pod) < PATH_MAX;
}

/* Lines of one kind mean nothing to who reads those of the other. */
static void keep(const struct resolving *resolving, uint64_t pod,
                 const struct configured *configured)
{
    const struct file ours = {.mode = 0600, .uid = geteuid(), .gid = getegid()};
    CLEANUP(text_free) char *servers = configured_resolv_conf(configured);
    CLEANUP(text_free) char *hosts = configured_hosts(configured);
    CLEANUP(text_free) char *both = NULL;
    char path[PATH_MAX];
    struct err err = {0};

    if (!path_of(resolving, pod, path))
        return;
    if (!servers || !hosts || asprintf(&both, "%s%s", servers, hosts) < 0) {
        both = NULL;
        err_set(&err, -ENOMEM, "out of memory");
    } else {
        file_replace(path, span_of_text(both), &ours, &err);
    }
    if (err.code < 0)
        log_warn("what a pod resolves names by is not kept over a restart: %s", err.text);
}

bool resolving_recall(struct resolving *resolving, uint64_t pod)
{
    CLEANUP(configured_free) struct configured *configured = NULL;
    CLEANUP(file_free) struct file file = {0};
    char path[PATH_MAX];
    struct err err;

    if (names_is_configured(resolving->names, pod))
        return true;
    if (!path_of(resolving, pod, path) || file_read(&file, path, &err) < 0)
        return false;
    configured = configured_parse(span_of(file.data, file.len), span_of(file.data, file.len));
    if (configured)
        names_configure(resolving->names, pod, &configured);
    return names_is_configured(resolving->names, pod);
}

void resolving_forget(struct resolving *resolving, uint64_t pod)
{
    char path[PATH_MAX];

    names_forget(resolving->names, pod);
    if (path_of(resolving, pod, path))
        unlink(path);
}

void resolving_sweep(struct resolving *resolving, bool (*is_there)(void *arg, uint64_t pod),
                     void *arg)
{
    DIR *all = resolving->dir ? opendir(resolving->dir) : NULL;
    struct dirent *entry;

    while (all && (entry = readdir(all))) {
        char *end;
        uint64_t pod = strtoull(entry->d_name, &end, 10);

        if (*entry->d_name >= '1' && *entry->d_name <= '9' && !*end && !is_there(arg, pod))
            unlinkat(dirfd(all), entry->d_name, 0);
    }
    if (all)
        closedir(all);
}

/* ---- from a process ---- */

bool resolving_learn(struct resolving *resolving, uint64_t pod, pid_t pid, uint64_t start_ns)
{
    CLEANUP(configured_free) struct configured *configured = NULL;
    struct err err;
    int result;

    if (resolving_recall(resolving, pod))
        return true;
    result = configured_read(&configured, pid, &err);
    if (result == -ETIMEDOUT) {
        /* nor shall it take that long again: it has no name servers that count */
        log_warn("%s: policies with toFQDNs allow its pod nothing", err.text);
        configured = configured_parse(span_of(NULL, 0), span_of(NULL, 0));
    } else if (result < 0 || (start_ns && !snapshot_is_alive((uint32_t)pid, start_ns))) {
        return false; /* it ended, and who has its number now is another's */
    }
    if (!configured)
        return false;
    if (result == 0)
        keep(resolving, pod, configured);
    names_configure(resolving->names, pod, &configured);
    return names_is_configured(resolving->names, pod);
}
