/* What clients ask of the registry: pods.add, pods.remove, pods.thaw, pods.list. */
#include "proxy/pods/registry_own.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/pem.h"
#include "policy/view.h"
#include "proxy/agent.h"
#include "proxy/control/control.h"
#include "proxy/pods/lease.h"
#include "proxy/pods/pod_place.h"

/* ---- pods.add ---- */

static bool lease_is_quiet(void *arg, uint64_t id)
{
    const struct registry *registry = arg;

    return agent_pod_is_quiet(registry->parts.agent, id);
}

/* To be asked while the agent knows it. */
static void tell_frozen(const struct registry *registry, const struct entry *entry)
{
    char name[TITLE_MAX];

    if (agent_pod_is_frozen(registry->parts.agent, entry->id))
        log_warn("pod %s stays frozen: its processes go on by 'echo 0 >%s/cgroup.freeze'",
                 registry_title(&entry->spec, name), entry->cgroup);
}

static void remove_entry(struct registry *registry, struct entry *entry)
{
    char name[TITLE_MAX];

    log_info("pod %s is removed", registry_title(&entry->spec, name));
    registry_drop(registry, entry);
}

static void lease_ended(void *arg, uint64_t id)
{
    struct registry *registry = arg;
    struct entry *entry = registry_find(registry, id);
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

static bool prefers_ktls(struct agent *agent, const struct pod_spec *spec)
{
    CLEANUP(policy_view_unref)
    struct policy_view *view = agent_view(agent, spec->space, spec->name);

    return view && policy_view_prefers_ktls(view);
}

static json_t *write_shown(const struct anchors_shown *shown, bool ktls)
{
    json_t *roots = json_array();

    for (size_t i = 0; roots && i < ARRAY_SIZE(shown->roots); i++) {
        CLEANUP(text_free) char *pem = pem_write(shown->roots[i]);

        if (!pem || json_array_append_new(roots, json_string(pem)) < 0)
            json_decref(TAKE(roots));
    }
    return roots ? json_pack("{s:b, s:o, s:b}", "ok", true, "roots", roots, "prefers_ktls", ktls)
                 : NULL;
}

/* The pod of a command whose starter stays connected: it is told the roots for copies of the files
 * that it trusts, and the pod goes when it does. Ends the call on success. */
static int add_leased(struct registry *registry, struct control_call *call, struct pod_place *place,
                      struct pod_spec *spec, struct err *err)
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
    bool ktls = json_is_true(json_object_get(control_args(call), "ktls"));
    struct entry *entry;
    char name[TITLE_MAX];
    json_t *answer = NULL;
    int result = take_trust(&trust, call,
                            json_integer_value(json_object_get(control_args(call), "trust")), err);

    registry_title(spec, name);
    place->like = control_peer(call)->pid; /* who asks is about to start it */
    if (result == 0)
        result = lease_new(&lease, &parts, err);
    if (result == 0)
        result = registry_add(registry, place, spec, false, err);
    if (result < 0)
        return result;
    entry = registry_find(registry, place->id);
    ktls = ktls || prefers_ktls(agent, &entry->spec);
    if (ktls)
        agent_note_ktls(agent, place->id);
    result = agent_trust_pod(agent, place->id, &trust, name, &shown, err);
    if (result == 0 && !(answer = write_shown(&shown, ktls)))
        result = err_set(err, -ENOMEM, "pod %s", name);
    if (result < 0) {
        agent_remove_pod(agent, place->id, NULL);
        registry_drop(registry, entry);
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
    registry_title(&spec, name);
    if (result == 0)
        result = pod_place_check(&place, registry->parts.cgroup_root, &err);
    if (result == 0 && json_object_get(control_args(call), "trust"))
        result = add_leased(registry, call, &place, &spec, &err);
    else if (result == 0 && (result = registry_add(registry, &place, &spec, true, &err)) == 0)
        control_answer(call, NULL);
    if (result < 0)
        control_refuse(call, &err);
    else
        log_info("pod %s is registered", name);
}

/* ---- pods.remove ---- */

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
        entry = registry_find_name(registry, space ? space : "", name);
        if (!entry)
            err_set(err, -ENOENT, "there is no pod %s%s%s", space ? space : "", space ? "/" : "",
                    name);
    } else if (cgroup >= 0 && fstat(cgroup, &file) == 0) {
        entry = registry_find(registry, file.st_ino);
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
        tell_frozen(registry, registry->first);
        if (agent_remove_pod(registry->parts.agent, registry->first->id, &err) < 0) {
            control_refuse(call, &err);
            return;
        }
        registry_drop(registry, registry->first);
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
    if (entry)
        tell_frozen(registry, entry);
    if (!entry || agent_remove_pod(registry->parts.agent, entry->id, &err) < 0) {
        control_refuse(call, &err);
        return;
    }
    remove_entry(registry, entry);
    control_answer(call, NULL);
}

/* ---- pods.thaw ---- */

static int thaw(struct registry *registry, const struct entry *entry, struct err *err)
{
    char name[TITLE_MAX];
    bool frozen = agent_pod_is_frozen(registry->parts.agent, entry->id);
    int result = agent_thaw_pod(registry->parts.agent, entry->id, err);

    if (result == 0 && frozen)
        log_info("pod %s is thawed", registry_title(&entry->spec, name));
    return result;
}

static void on_thaw(void *arg, struct control_call *call)
{
    struct registry *registry = arg;
    bool all = json_is_true(json_object_get(control_args(call), "all"));
    struct err err = {0};
    struct entry *entry = all ? registry->first : find_asked(registry, call, &err);

    while (entry && thaw(registry, entry, &err) == 0)
        entry = all ? entry->next : NULL;
    if (err.code < 0)
        control_refuse(call, &err);
    else
        control_answer(call, NULL);
}

/* ---- pods.list ---- */

static json_t *row_of(const struct registry *registry, const struct entry *entry)
{
    json_t *row = registry_write(entry);

    if (row &&
        json_object_set_new(
            row, "frozen", json_boolean(agent_pod_is_frozen(registry->parts.agent, entry->id))) < 0)
        json_decref(TAKE(row));
    return row;
}

static void on_list(void *arg, struct control_call *call)
{
    const struct registry *registry = arg;
    json_t *rows = json_array();

    for (const struct entry *entry = registry->first; rows && entry; entry = entry->next)
        if (json_array_append_new(rows, row_of(registry, entry)) < 0)
            json_decref(TAKE(rows));
    control_answer_list(call, json_pack("{s:I}", "pods", (json_int_t)json_array_size(rows)), rows);
}

int registry_serve(struct registry *registry, struct control *control, struct err *err)
{
    int result = control_on(control, "pods.add", on_add, registry, err);

    if (result == 0)
        result = control_on(control, "pods.remove", on_remove, registry, err);
    if (result == 0)
        result = control_on(control, "pods.thaw", on_thaw, registry, err);
    if (result == 0)
        result = control_on(control, "pods.list", on_list, registry, err);
    return result;
}
