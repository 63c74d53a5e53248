#include "proxy/pods/registry_own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "proxy/agent.h"
#include "proxy/pods/cgroups.h"
#include "proxy/pods/lease.h"
#include "proxy/pods/pod_files.h"
#include "proxy/pods/pod_place.h"

/* ---- the list ---- */

const char *registry_title(const struct pod_spec *spec, char out[TITLE_MAX])
{
    snprintf(out, TITLE_MAX, "%s%s%s", spec->space, spec->space[0] ? "/" : "", spec->name);
    return out;
}

static void entry_free(struct entry **entry)
{
    struct entry *gone = TAKE(*entry);

    if (!gone)
        return;
    lease_free(&gone->lease);
    pod_spec_fini(&gone->spec);
    free(gone->cgroup);
    free(gone->netns);
    free(gone);
}

struct entry *registry_find(const struct registry *registry, uint64_t id)
{
    struct entry *entry = registry->first;

    while (entry && entry->id != id)
        entry = entry->next;
    return entry;
}

struct entry *registry_find_name(const struct registry *registry, const char *space,
                                 const char *name)
{
    struct entry *entry = registry->first;

    while (entry && (strcmp(entry->spec.space, space) != 0 || strcmp(entry->spec.name, name) != 0))
        entry = entry->next;
    return entry;
}

static void append(struct registry *registry, struct entry *entry)
{
    *registry->last = entry;
    registry->last = &entry->next;
}

void registry_drop(struct registry *registry, struct entry *entry)
{
    struct entry **at = &registry->first;

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    if (!*at)
        registry->last = at;
    pod_files_remove(registry->dir, entry->id);
    entry_free(&entry);
}

json_t *registry_write(const struct entry *entry)
{
    json_t *object = pod_spec_write(&entry->spec);
    char id[24];
    bool ok;

    snprintf(id, sizeof(id), "%" PRIu64, entry->id);
    ok = object && json_object_set_new(object, "cgroup", json_string(entry->cgroup)) == 0 &&
         json_object_set_new(object, "cgroup_id", json_string(id)) == 0;
    if (ok && entry->netns)
        ok = json_object_set_new(object, "netns", json_string(entry->netns)) == 0 &&
             json_object_set_new(object, "netns_inode",
                                 json_integer((json_int_t)entry->netns_inode)) == 0;
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

/* ---- registering ---- */

static int entry_new(struct entry **out, const struct pod_place *place, int root,
                     struct pod_spec *spec, struct err *err)
{
    CLEANUP(entry_free) struct entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return err_set(err, -ENOMEM, "pod %s", spec->name);
    entry->id = place->id;
    entry->cgroup = pod_place_cgroup_path(place, root);
    entry->netns = place->netns >= 0 ? pod_place_netns_path(place) : NULL;
    entry->netns_inode = place->netns_inode;
    if (!entry->cgroup || (place->netns >= 0 && !entry->netns))
        return err_set(err, -ENOMEM, "pod %s", spec->name);
    entry->spec = *spec; /* taken */
    *spec = (struct pod_spec){.space = ""};
    *out = TAKE(entry);
    return 0;
}

static int tell_agent(const struct registry *registry, const struct entry *entry,
                      const struct pod_place *place, struct err *err)
{
    const struct pods_settings settings = pod_spec_settings(&entry->spec);
    const struct agent_pod pod = {
        .cgroup_id = entry->id,
        .cgroup_fd = place->cgroup,
        .netns_fd = place->netns,
        .space = entry->spec.space,
        .name = entry->spec.name,
        .labels = entry->spec.labels,
        .labels_len = entry->spec.labels_len,
        .settings = &settings,
        .like = place->like,
    };

    return agent_add_pod(registry->parts.agent, &pod, err);
}

static int check_free(const struct registry *registry, const struct entry *entry, struct err *err)
{
    const struct entry *same = registry_find(registry, entry->id);
    char name[TITLE_MAX];

    if (same)
        return err_set(err, -EEXIST, "cgroup %s is registered already, as pod %s", same->cgroup,
                       registry_title(&same->spec, name));
    same = registry_find_name(registry, entry->spec.space, entry->spec.name);
    if (same)
        return err_set(err, -EEXIST, "there is a pod %s already: cgroup %s",
                       registry_title(&same->spec, name), same->cgroup);
    return 0;
}

/* The file first: who cannot be kept over a restart is not registered. */
int registry_add(struct registry *registry, const struct pod_place *place, struct pod_spec *spec,
                 bool make_file, struct err *err)
{
    CLEANUP(entry_free) struct entry *entry = NULL;
    json_t *object;
    int result = entry_new(&entry, place, registry->parts.cgroup_root, spec, err);

    if (result == 0)
        result = check_free(registry, entry, err);
    if (result < 0)
        return result;
    object = registry_write(entry);
    if (!object)
        return err_set(err, -EILSEQ,
                       "cgroup %s, or the network namespace, has a name that is no text",
                       entry->cgroup);
    if (make_file)
        result = pod_files_write(registry->dir, entry->id, object, err);
    json_decref(object);
    if (result < 0)
        return result;
    result = tell_agent(registry, entry, place, err);
    if (result < 0 && make_file)
        pod_files_remove(registry->dir, entry->id);
    if (result < 0)
        return result;
    append(registry, TAKE(entry));
    return 0;
}

/* ---- from disk ---- */

static enum pod_files_fate take_up(void *arg, uint64_t id, const json_t *object, struct err *err)
{
    struct registry *registry = arg;
    const struct pods_settings otherwise = registry->parts.defaults(registry->parts.arg);
    const char *path = json_string_value(json_object_get(object, "cgroup"));
    const json_t *inode = json_object_get(object, "netns_inode");
    CLEANUP(pod_spec_fini) struct pod_spec spec = {.space = ""};
    CLEANUP(fd_close) int cgroup = -1, netns = -1;
    struct pod_place place = {0};

    if (!path)
        err_set(err, -EINVAL, "it names no cgroup");
    if (!path || pod_spec_read(&spec, object, &otherwise, err) < 0)
        return POD_FILES_SET_ASIDE;
    cgroup = open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (cgroup < 0 && errno != ENOENT && errno != ENOTDIR) {
        log_warn("pod %s is not taken up, its file stays for the next start: %s: %s", spec.name,
                 path, strerror(errno));
        return POD_FILES_KEEP;
    }
    if (cgroup < 0 || cgroup_read_id(cgroup, &place.id, err) < 0 || place.id != id)
        return POD_FILES_DROP; /* it ended while no agent was there */
    netns = pod_place_find_netns(cgroup, json_string_value(json_object_get(object, "netns")),
                                 (uint64_t)json_integer_value(inode));
    place.cgroup = cgroup;
    place.netns = netns;
    place.netns_path = json_string_value(json_object_get(object, "netns"));
    if (pod_place_check(&place, registry->parts.cgroup_root, err) < 0 ||
        registry_add(registry, &place, &spec, false, err) < 0)
        return err->code == -ENOENT ? POD_FILES_DROP : POD_FILES_SET_ASIDE;
    return POD_FILES_KEEP;
}

/* ---- set-up ---- */

static void on_gone(void *arg, uint64_t id)
{
    struct registry *registry = arg;
    struct entry *entry = registry_find(registry, id);
    char name[TITLE_MAX];

    if (!entry)
        return;
    log_info("pod %s is gone, with its cgroup", registry_title(&entry->spec, name));
    registry_drop(registry, entry);
}

int registry_new(struct registry **out, const struct registry_parts *parts, struct err *err)
{
    CLEANUP(registry_free) struct registry *registry = calloc(1, sizeof(*registry));
    int result;

    if (!registry)
        return err_set(err, -ENOMEM, "registry of pods");
    registry->parts = *parts;
    registry->last = &registry->first;
    snprintf(registry->dir, sizeof(registry->dir), "%s/pods", parts->runtime_dir);
    result = pod_files_init(registry->dir, err);
    if (result < 0)
        return result;
    agent_on_pod_gone(parts->agent, on_gone, registry);
    pod_files_each(registry->dir, take_up, registry);
    *out = TAKE(registry);
    return 0;
}

void registry_free(struct registry **registry)
{
    struct registry *gone = TAKE(*registry);

    if (!gone)
        return;
    agent_on_pod_gone(gone->parts.agent, NULL, NULL);
    while (gone->first) {
        struct entry *entry = gone->first;

        gone->first = entry->next; /* its file stays, for the next agent */
        entry_free(&entry);
    }
    free(gone);
}
