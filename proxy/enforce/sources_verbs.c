/* What clients ask of the sources: policy.apply, policy.remove, policy.list, policy.explain. */
#include "proxy/enforce/sources_own.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "policy/route.h"
#include "proxy/agent.h"
#include "proxy/control/control.h"
#include "proxy/enforce/bundle.h"
#include "proxy/enforce/trial.h"
#include "proxy/telemetry/status.h"

static const struct err no_memory = {-ENOMEM, "policies: out of memory"};

/* ---- policy.apply ---- */

/* What came beside the request: a file, so that its bytes are not bound to a line's length. */
static int read_bundle_fd(struct reading *reading, int fd, struct err *err)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "no policies came with the request");
    if (st.st_size < 1 || st.st_size > BUNDLE_BYTES_MAX)
        return err_set(err, -EFBIG, "policies of one request have at most %d MiB",
                       BUNDLE_BYTES_MAX >> 20);
    reading->bundle = malloc((size_t)st.st_size);
    if (!reading->bundle)
        return err_set(err, -ENOMEM, "policies: out of memory");
    while (reading->bundle_len < (size_t)st.st_size) {
        ssize_t n = pread(fd, reading->bundle + reading->bundle_len,
                          (size_t)st.st_size - reading->bundle_len, (off_t)reading->bundle_len);

        if (n <= 0)
            return err_sys(err, n < 0 ? -errno : -EIO, "the policies that came with the request");
        reading->bundle_len += (size_t)n;
    }
    return 0;
}

static void on_apply(void *arg, struct control_call *call)
{
    CLEANUP(fd_close) int fd = control_take_fd(call, 0);
    CLEANUP(reading_free) struct reading *reading = calloc(1, sizeof(*reading));
    struct sources *sources = arg;
    struct err err = no_memory;
    int result = reading ? read_bundle_fd(reading, fd, &err) : -ENOMEM;

    if (result < 0) {
        control_refuse(call, &err);
        return;
    }
    reading->call = call;
    sources_add(sources, TAKE(reading));
}

static const char *change_of(const struct applied_policy *before, const struct applied_policy *now)
{
    return !before ? "created" : before->meaning == now->meaning ? "unchanged" : "changed";
}

/* NULL: none. */
static json_t *tell_warnings(const struct policy *policy)
{
    json_t *warnings = NULL;
    const char *text;

    for (size_t i = 0; (text = policy_kernel_warning(policy, i)); i++) {
        if (!warnings)
            warnings = json_array();
        json_array_append_new(warnings, json_string(text));
    }
    return warnings;
}

static json_t *tell_changes(const struct applied *before, const struct applied *fresh)
{
    json_t *rows = json_array();

    for (size_t i = 0; rows && i < fresh->len; i++) {
        const struct applied_policy *now = &fresh->list[i];
        const char *change = change_of(applied_find(before, now->policy->id), now);

        if (json_array_append_new(rows,
                                  json_pack("{s:s, s:s, s:s*, s:o*}", "policy", now->policy->id,
                                            "change", change, "note", policy_ktls_note(now->policy),
                                            "warnings", tell_warnings(now->policy))) < 0)
            json_decref(TAKE(rows));
    }
    return rows;
}

/* On disk first: what cannot be kept over a restart is not put in force. */
static int put_applied(struct sources *sources, struct applied *fresh, struct policy_story *story,
                       struct err *err)
{
    int result = applied_write(fresh, sources->state_dir, err);

    sources->index = applied_look(sources->state_dir);
    if (result == 0)
        result = sources_put(sources, &sources->files, fresh, story, err);
    if (result < 0) {
        applied_write(&sources->applied, sources->state_dir, NULL);
        return result;
    }
    applied_fini(&sources->applied);
    sources->applied = *fresh;
    *fresh = (struct applied){0};
    return 0;
}

static int merge(struct sources *sources, struct reading *reading, struct err *err)
{
    CLEANUP(applied_fini) struct applied merged = {0};
    int result = applied_copy(&merged, &sources->applied);

    for (size_t i = 0; result == 0 && i < reading->fresh.len; i++)
        result = applied_put(&merged, &reading->fresh.list[i]);
    if (result < 0)
        return err_set(err, result, "policies: out of memory");
    return put_applied(sources, &merged, &reading->story, err);
}

void sources_finish_apply(struct sources *sources, struct reading *reading)
{
    struct control_call *call = reading->call;
    json_t *changes = reading->ok ? tell_changes(&sources->applied, &reading->fresh) : NULL;
    json_int_t len = (json_int_t)json_array_size(changes);
    struct err err = {0};
    int result = reading->ok ? merge(sources, reading, &err) : -EINVAL;

    if (reading->story.faults) {
        json_t *head = json_pack("{s:I}", "faults", (json_int_t)reading->story.faults);

        status_add_text(head, "story", reading->story.text);
        control_answer(call, head);
    } else if (result < 0) {
        control_refuse(call, &err);
    } else {
        sources_log(sources, "a client applied policies");
        control_answer_list(call, json_pack("{s:I}", "policies", len), TAKE(changes));
    }
    json_decref(changes);
}

/* ---- policy.remove ---- */

static const struct policy *find_file(const struct sources *sources, const char *id)
{
    for (size_t i = 0; i < sources->files.len; i++)
        if (strcmp(sources->files.list[i]->id, id) == 0)
            return sources->files.list[i];
    return NULL;
}

static int remove_one(struct sources *sources, const char *id, struct err *err)
{
    const struct policy *file = find_file(sources, id);
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    CLEANUP(applied_fini) struct applied left = {0};

    if (file)
        return err_set(err, -EBUSY, "policy %.100s stands in %.200s:%u; remove it there", id,
                       file->file, file->place.mark.line);
    if (!applied_find(&sources->applied, id))
        return err_set(err, -ENOENT,
                       "there is no policy %.200s; 'sallyport policy list' tells which there are",
                       id);
    if (applied_copy(&left, &sources->applied) < 0)
        return err_set(err, -ENOMEM, "policies: out of memory");
    applied_drop(&left, id);
    return put_applied(sources, &left, &story, err);
}

static void on_remove(void *arg, struct control_call *call)
{
    const char *id = json_string_value(json_object_get(control_args(call), "name"));
    struct sources *sources = arg;
    struct err err = {0};

    if (!id)
        err_set(&err, -EINVAL, "say which policy: by its name, or NAMESPACE/NAME");
    else
        remove_one(sources, id, &err);
    if (err.code < 0) {
        control_refuse(call, &err);
        return;
    }
    sources_log(sources, "a client removed a policy");
    control_answer(call, NULL);
}

/* ---- policy.list ---- */

static json_t *row_of(const struct sources *sources, const struct policy *policy)
{
    json_t *row = json_pack(
        "{s:s, s:s, s:I, s:I, s:b, s:I}", "name", policy->id, "mode",
        policy_mode_name(policy->mode), "pods",
        (json_int_t)agent_count_pods(sources->parts.agent, policy), "rules",
        (json_int_t)(policy->egress_len + policy->egress_deny_len + policy->bodies_len), "applied",
        !find_file(sources, policy->id), "generation", (json_int_t)sources->generation);

    if (row)
        status_add_text(row, "source", policy->file);
    return row;
}

static void on_list(void *arg, struct control_call *call)
{
    const struct sources *sources = arg;
    CLEANUP(policy_set_unref) struct policy_set *set = agent_policies(sources->parts.agent);
    json_t *rows = json_array();

    for (size_t i = 0; rows && i < set->len; i++)
        if (json_array_append_new(rows, row_of(sources, set->list[i])) < 0)
            json_decref(TAKE(rows));
    control_answer_list(call,
                        json_pack("{s:I, s:I}", "policies", (json_int_t)json_array_size(rows),
                                  "generation", (json_int_t)set->generation),
                        rows);
}

/* ---- policy.explain ---- */

/* Of a registered pod; or of one that would have these labels; or of none: a command by itself. */
static struct policy_view *find_view(const struct sources *sources, const json_t *question,
                                     struct err *err)
{
    CLEANUP(policy_set_unref) struct policy_set *set = agent_policies(sources->parts.agent);
    const char *name = json_string_value(json_object_get(question, "pod"));
    const char *space = json_string_value(json_object_get(question, "namespace"));
    CLEANUP(pod_unref) struct pod *pod = NULL;
    struct policy_view *view;

    if (name && !json_object_get(question, "labels")) {
        view = agent_view(sources->parts.agent, space ? space : "", name);
        if (!view)
            err_set(err, -ENOENT, "there is no pod %s%s%s", space ? space : "", space ? "/" : "",
                    name);
        return view;
    }
    if (trial_pod(&pod, question, err) < 0)
        return NULL;
    view = policy_view_new(set, pod);
    if (!view)
        *err = no_memory;
    return view;
}

static void on_explain(void *arg, struct control_call *call)
{
    const json_t *question = control_args(call);
    const struct sources *sources = arg;
    struct err err = {0};
    CLEANUP(policy_view_unref) struct policy_view *view = find_view(sources, question, &err);
    json_t *answer = NULL;

    if (view && trial_run(&answer, view, question, &err) == 0)
        control_answer(call, answer);
    else
        control_refuse(call, &err);
}

/* ---- the status ---- */

void sources_tell(void *arg, json_t *answer)
{
    const struct sources *sources = arg;
    json_t *policies =
        json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)sources->files.len, "applied",
                  (json_int_t)sources->applied.len, "generation", (json_int_t)sources->generation,
                  "reloads", (json_int_t)sources->done, "failed", (json_int_t)sources->failed);

    if (sources->at_ns)
        status_add_time(policies, "last", sources->at_ns);
    if (sources->error[0])
        status_add_text(policies, "error", sources->error);
    json_object_set_new(answer, "policies", policies);
}

int sources_serve(struct sources *sources, struct control *control, struct err *err)
{
    int result = control_on(control, "policy.apply", on_apply, sources, err);

    if (result == 0)
        result = control_on(control, "policy.remove", on_remove, sources, err);
    if (result == 0)
        result = control_on(control, "policy.list", on_list, sources, err);
    if (result == 0)
        result = control_on(control, "policy.explain", on_explain, sources, err);
    return result;
}
