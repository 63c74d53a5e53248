#include "proxy/pods/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/pem.h"
#include "proxy/agent.h"
#include "proxy/pods/cgroups.h"
#include "proxy/control/control.h"
#include "proxy/pods/lease.h"
#include "proxy/pods/pod_files.h"
#include "proxy/pods/pod_place.h"
#include "proxy/pods/pod_spec.h"

struct entry {
    struct entry *next;
    uint64_t id; /* of its cgroup */
    struct pod_spec spec;
    char *cgroup, *netns; /* as paths, or what else the kernel calls it; netns: NULL: none */
    uint64_t netns_inode;
    struct lease *lease; /* it goes with this; NULL: it is kept in a file */
};

struct registry {
    struct registry_parts parts;
    char dir[PATH_MAX];
    struct entry *first, **last; /* in the order in which they came */
};

enum { TITLE_MAX = POD_SPEC_SPACE_MAX + POD_SPEC_NAME_MAX + 2 };

static const char *title(const struct pod_spec *spec, char out[TITLE_MAX])
{
    snprintf(out, TITLE_MAX, "%s%s%s", spec->space, spec->space[0] ? "/" : "", spec->name);
    return out;
}

/* ---- the list ---- */

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

static struct entry *find(const struct registry *registry, uint64_t id)
{
    struct entry *entry = registry->first;

    while (entry && entry->id != id)
        entry = entry->next;
    return entry;
}

static struct entry *find_name(const struct registry *registry, const char *space, const char *name)
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

/* With its file. */
static void drop(struct registry *registry, struct entry *entry)
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

/* As files and clients have it; NULL: no memory, or bytes that are no text. */
static json_t *entry_write(const struct entry *entry)
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
    };

    return agent_add_pod(registry->parts.agent, &pod, err);
}

static int check_free(const struct registry *registry, const struct entry *entry, struct err *err)
{
    const struct entry *same = find(registry, entry->id);
    char name[TITLE_MAX];

    if (same)
        return err_set(err, -EEXIST, "cgroup %s is registered already, as pod %s", same->cgroup,
                       title(&same->spec, name));
    same = find_name(registry, entry->spec.space, entry->spec.name);
    if (same)
        return err_set(err, -EEXIST, "there is a pod %s already: cgroup %s",
                       title(&same->spec, name), same->cgroup);
    return 0;
}

/* The file first: who cannot be kept over a restart is not registered. Takes spec. */
static int add(struct registry *registry, const struct pod_place *place, struct pod_spec *spec,
               bool make_file, struct err *err)
{
    CLEANUP(entry_free) struct entry *entry = NULL;
    json_t *object;
    int result = entry_new(&entry, place, registry->parts.cgroup_root, spec, err);

    if (result == 0)
        result = check_free(registry, entry, err);
    if (result < 0)
        return result;
    object = entry_write(entry);
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
    if (cgroup < 0 || cgroup_read_id(cgroup, &place.id, err) < 0 || place.id != id)
        return POD_FILES_DROP; /* it ended while no agent was there */
    netns = pod_place_find_netns(cgroup, json_string_value(json_object_get(object, "netns")),
                                 (uint64_t)json_integer_value(inode));
    place.cgroup = cgroup;
    place.netns = netns;
    place.netns_path = json_string_value(json_object_get(object, "netns"));
    if (pod_place_check(&place, registry->parts.cgroup_root, err) < 0 ||
        add(registry, &place, &spec, false, err) < 0)
        return err->code == -ENOENT ? POD_FILES_DROP : POD_FILES_SET_ASIDE;
    return POD_FILES_KEEP;
}

/* ---- the verbs ---- */

static bool lease_is_quiet(void *arg, uint64_t id)
{
    const struct registry *registry = arg;

    return agent_pod_is_quiet(registry->parts.agent, id);
}

static void remove_entry(struct registry *registry, struct entry *entry)
{
    char name[TITLE_MAX];

    log_info("pod %s is removed", title(&entry->spec, name));
    drop(registry, entry);
}

static void lease_ended(void *arg, uint64_t id)
{
    struct registry *registry = arg;
    struct entry *entry = find(registry, id);
    struct err err;

    if (agent_remove_pod(registry->parts.agent, id, &err) < 0)
        log_warn("%s", err.text);
    remove_entry(registry, entry);
}

static int take_trust(struct pod_trust *trust, struct control_call *call, json_int_t files,
                      struct err *err)
{
    int fds[POD_TRUST_FILES], result;

    if (files < 1 || files > POD_TRUST_FILES)
        return err_set(err, -EINVAL, "\"trust\" is no number from 1 to %d", POD_TRUST_FILES);
    for (json_int_t i = 0; i < files; i++)
        fds[i] = control_take_fd(call, 2 + (size_t)i);
    result = pod_trust_read(trust, fds, (size_t)files, err);
    for (json_int_t i = 0; i < files; i++)
        fd_close(&fds[i]);
    return result;
}

static json_t *write_shown(const struct anchors_shown *shown)
{
    json_t *roots = json_array();

    for (size_t i = 0; roots && i < ARRAY_SIZE(shown->roots); i++) {
        CLEANUP(text_free) char *pem = pem_write(shown->roots[i]);

        if (!pem || json_array_append_new(roots, json_string(pem)) < 0)
            json_decref(TAKE(roots));
    }
    return roots ? json_pack("{s:b, s:o}", "ok", true, "roots", roots) : NULL;
}

/* The pod of a command whose starter stays connected: it is told the roots for copies of the files
 * that it trusts, and the pod goes when it does. Ends the call on success. */
static int add_leased(struct registry *registry, struct control_call *call,
                      const struct pod_place *place, struct pod_spec *spec, struct err *err)
{
    const struct lease_parts parts = {.base = agent_base(registry->parts.agent),
                                      .pod = place->id,
                                      .is_quiet = lease_is_quiet,
                                      .ended = lease_ended,
                                      .arg = registry};
    CLEANUP(anchors_shown_fini) struct anchors_shown shown = {{NULL}};
    CLEANUP(pod_trust_fini) struct pod_trust trust = {0};
    CLEANUP(lease_free) struct lease *lease = NULL;
    struct agent *agent = registry->parts.agent;
    struct entry *entry;
    char name[TITLE_MAX];
    json_t *answer = NULL;
    int result = take_trust(&trust, call,
                            json_integer_value(json_object_get(control_args(call), "trust")), err);

    title(spec, name);
    if (result == 0)
        result = lease_new(&lease, &parts, err);
    if (result == 0)
        result = add(registry, place, spec, false, err);
    if (result < 0)
        return result;
    entry = find(registry, place->id);
    result = agent_trust_pod(agent, place->id, &trust, name, &shown, err);
    if (result == 0 && !(answer = write_shown(&shown)))
        result = err_set(err, -ENOMEM, "pod %s", name);
    if (result < 0) {
        agent_remove_pod(agent, place->id, NULL);
        drop(registry, entry);
        return result;
    }
    entry->lease = TAKE(lease);
    lease_begin(entry->lease, control_take_stream(call), answer);
    return 0;
}

static void on_add(void *arg, struct control_call *call)
{
    struct registry *registry = arg;
    const struct pods_settings otherwise = registry->parts.defaults(registry->parts.arg);
    CLEANUP(pod_spec_fini) struct pod_spec spec = {.space = ""};
    CLEANUP(fd_close) int cgroup = control_take_fd(call, 0), netns = control_take_fd(call, 1);
    struct pod_place place = {
        .cgroup = cgroup,
        .netns = netns,
        .netns_path = json_string_value(json_object_get(control_args(call), "netns_path"))};
    struct err err = {0};
    char name[TITLE_MAX];
    int result = cgroup < 0 ? err_set(&err, -EINVAL, "no cgroup came with the request") : 0;

    if (result == 0)
        result = pod_spec_read(&spec, control_args(call), &otherwise, &err);
    title(&spec, name);
    if (result == 0)
        result = pod_place_check(&place, registry->parts.cgroup_root, &err);
    if (result == 0 && json_object_get(control_args(call), "trust"))
        result = add_leased(registry, call, &place, &spec, &err);
    else if (result == 0 && (result = add(registry, &place, &spec, true, &err)) == 0)
        control_answer(call, NULL);
    if (result < 0)
        control_refuse(call, &err);
    else
        log_info("pod %s is registered", name);
}

static struct entry *find_asked(const struct registry *registry, struct control_call *call,
                                struct err *err)
{
    const json_t *args = control_args(call);
    const char *name = json_string_value(json_object_get(args, "name"));
    const char *space = json_string_value(json_object_get(args, "namespace"));
    CLEANUP(fd_close) int cgroup = control_take_fd(call, 0);
    struct entry *entry = NULL;
    struct stat file;

    if (name) {
        entry = find_name(registry, space ? space : "", name);
        if (!entry)
            err_set(err, -ENOENT, "there is no pod %s%s%s", space ? space : "", space ? "/" : "",
                    name);
    } else if (cgroup >= 0 && fstat(cgroup, &file) == 0) {
        entry = find(registry, file.st_ino);
        if (!entry)
            err_set(err, -ENOENT, "that cgroup is not registered");
    } else {
        err_set(err, -EINVAL, "say which pod: by its name, or its cgroup");
    }
    return entry;
}

static void remove_all(struct registry *registry, struct control_call *call)
{
    size_t removed = 0;
    struct err err;

    while (registry->first) {
        if (agent_remove_pod(registry->parts.agent, registry->first->id, &err) < 0) {
            control_refuse(call, &err);
            return;
        }
        drop(registry, registry->first);
        removed++;
    }
    log_info("all %zu pods are removed", removed);
    control_answer(call, NULL);
}

static void on_remove(void *arg, struct control_call *call)
{
    struct registry *registry = arg;
    struct err err = {0};
    struct entry *entry;

    if (json_is_true(json_object_get(control_args(call), "all"))) {
        remove_all(registry, call);
        return;
    }
    entry = find_asked(registry, call, &err);

    if (!entry || agent_remove_pod(registry->parts.agent, entry->id, &err) < 0) {
        control_refuse(call, &err);
        return;
    }
    remove_entry(registry, entry);
    control_answer(call, NULL);
}

/* A client that reads slowly sees the list as it was. */
struct listing {
    json_t *rows;
    size_t at;
};

static int append_dumped(const char *bytes, size_t len, void *arg)
{
    buffer_append(arg, bytes, len);
    return 0;
}

static bool next_row(void *arg, struct buffer *line)
{
    struct listing *listing = arg;
    const json_t *row = json_array_get(listing->rows, listing->at++);

    if (row && json_dump_callback(row, append_dumped, line, JSON_COMPACT) < 0)
        line->failed = true;
    return row;
}

static void listing_done(void *arg)
{
    struct listing *listing = arg;

    json_decref(listing->rows);
    free(listing);
}

static void on_list(void *arg, struct control_call *call)
{
    static const struct err no_memory = {-ENOMEM, "the list of pods: out of memory"};
    const struct registry *registry = arg;
    struct listing *listing = calloc(1, sizeof(*listing));
    bool ok = listing && (listing->rows = json_array());

    for (const struct entry *entry = registry->first; ok && entry; entry = entry->next)
        ok = json_array_append_new(listing->rows, entry_write(entry)) == 0;
    if (ok) {
        const struct control_rows rows = {next_row, listing_done, listing};

        control_answer_rows(
            call, json_pack("{s:I}", "pods", (json_int_t)json_array_size(listing->rows)), &rows);
        return;
    }
    if (listing)
        listing_done(listing);
    control_refuse(call, &no_memory);
}

/* ---- set-up ---- */

static void on_gone(void *arg, uint64_t id)
{
    struct registry *registry = arg;
    struct entry *entry = find(registry, id);
    char name[TITLE_MAX];

    if (!entry)
        return;
    log_info("pod %s is gone, with its cgroup", title(&entry->spec, name));
    drop(registry, entry);
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

int registry_serve(struct registry *registry, struct control *control, struct err *err)
{
    int result = control_on(control, "pods.add", on_add, registry, err);

    if (result == 0)
        result = control_on(control, "pods.remove", on_remove, registry, err);
    if (result == 0)
        result = control_on(control, "pods.list", on_list, registry, err);
    return result;
}
