#include "proxy/enforce/sources_own.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "policy/route.h"
#include "proxy/agent.h"
#include "proxy/runtime.h"
#include "proxy/watch.h"

/* ---- into force ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct policy *const *)a)->id, (*(struct policy *const *)b)->id);
}

/* Of a name that a file has and a client applied, too: told of what came last, and who has the
 * other one, which may be the very same file. */
static void tell_both(const struct sources *sources, struct policy_story *story,
                      const struct policy *file, const struct policy *client)
{
    const struct applied_policy *was = applied_find(&sources->applied, file->id);
    const struct policy *fresh = was && was->policy == client ? file : client;
    const struct policy *there = fresh == file ? client : file;
    char path[512], sentence[1024];

    snprintf(path, sizeof(path), "%s:%u:%u", fresh->file, fresh->place.mark.line,
             fresh->place.mark.column);
    snprintf(
        sentence, sizeof(sentence), "the agent has a policy '%.100s' already, %s %.200s, line %u%s",
        fresh->id, there == client ? "which a client applied from" : "which it reads itself from",
        there->file, there->place.mark.line,
        there == client ? "; choose another name, or take it back with 'sallyport policy remove'"
                        : " (--policy, or policies.d beside its configuration); choose another "
                          "name, or change it there");
    policy_story_add(story, path, sentence);
}

/* Of those that were not in force before. */
static void warn_of_fresh(const struct policy_set *set, const struct policy_set *before)
{
    const char *warning;

    for (size_t i = 0, at = 0; i < set->len; i++) {
        const struct policy *policy = set->list[i];

        while (at < before->len && strcmp(before->list[at]->id, policy->id) < 0)
            at++;
        if (at < before->len && before->list[at] == policy)
            continue;
        for (size_t j = 0; (warning = policy_kernel_warning(policy, j)); j++)
            log_warn("policy %s: %s", policy->id, warning);
    }
}

int sources_put(struct sources *sources, const struct policy_list *files,
                const struct applied *applied, struct policy_story *story, struct err *err)
{
    size_t len = files->len + applied->len, before = story->faults;
    struct policy **all = calloc(len + 1, sizeof(*all));
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(policy_set_unref) struct policy_set *was = agent_policies(sources->parts.agent);
    int result;

    for (size_t i = 0; all && i < len; i++)
        all[i] = i < files->len ? files->list[i] : applied->list[i - files->len].policy;
    if (all)
        qsort(all, len, sizeof(struct policy *), by_id);
    for (size_t i = 1; all && i < len; i++)
        if (strcmp(all[i - 1]->id, all[i]->id) == 0) {
            bool client = applied_find(applied, all[i]->id)->policy == all[i];

            tell_both(sources, story, all[client ? i - 1 : i], all[client ? i : i - 1]);
        }
    if (story->faults == before && all)
        set = policy_set_new(all, len, sources->generation + 1);
    free(all);
    if (story->faults > before)
        return policy_story_summary(story, err);
    result = set ? agent_use_policies(sources->parts.agent, set, err)
                 : err_set(err, -ENOMEM, "policies");
    if (result < 0)
        return result;
    sources->generation++;
    if (!sources->retired)
        warn_of_fresh(set, was);
    sources_watch_named(sources, set);
    return 0;
}

static void tell_story(const struct policy_story *story)
{
    if (story->text)
        log_story(story->text);
}

void sources_log(const struct sources *sources, const char *what)
{
    if (!sources->retired)
        log_info("%s; in force: %zu from files, %zu that clients applied", what, sources->files.len,
                 sources->applied.len);
}

static void note_failure(struct sources *sources, const struct policy_story *story,
                         const struct err *err)
{
    const char *first = story->text ? story->text : "";

    sources->failed++;
    snprintf(sources->error, sizeof(sources->error), "%s%s%.*s", err->text, *first ? ": " : "",
             (int)strcspn(first, "\n"), first);
    if (sources->retired)
        return;
    tell_story(story);
    log_error("policies stay as they were: %s", err->text);
}

static void finish_files(struct sources *sources, struct reading *reading)
{
    struct err err = {0};
    int result =
        reading->ok ? sources_put(sources, &reading->list, &sources->applied, &reading->story, &err)
                    : policy_story_summary(&reading->story, &err);

    sources->at_ns = clock_read_ns(CLOCK_REALTIME);
    if (result < 0) {
        note_failure(sources, &reading->story, &err);
        return;
    }
    policy_list_fini(&sources->files);
    sources->files = reading->list; /* taken */
    reading->list = (struct policy_list){0};
    sources->done++;
    sources->error[0] = 0;
    sources_log(sources, "policies were read");
}

/* ---- the thread ---- */

static void begin_next(struct sources *sources);

static void *read_all(void *arg)
{
    struct sources *sources = arg;

    reading_do(sources->first);
    eventfd_write(sources->done_fd, 1);
    return NULL;
}

static void finish_first(struct sources *sources)
{
    CLEANUP(reading_free) struct reading *reading = sources->first;

    sources->first = reading->next;
    if (!sources->first)
        sources->last = &sources->first;
    if (reading->call)
        sources_finish_apply(sources, reading);
    else
        finish_files(sources, reading);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct sources *sources = arg;
    eventfd_t ignored;

    (void)what;
    eventfd_read(fd, &ignored);
    pthread_join(sources->thread, NULL);
    sources->busy = false;
    finish_first(sources);
    begin_next(sources);
}

/* Signals are the control thread's. */
static bool start_thread(struct sources *sources)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&sources->thread, NULL, read_all, sources);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        pthread_setname_np(sources->thread, "policies");
    return code == 0;
}

/* Where there is no thread to be had, it takes ours. */
static void begin_next(struct sources *sources)
{
    while (sources->first && !sources->busy) {
        sources->busy = start_thread(sources);
        if (sources->busy)
            return;
        reading_do(sources->first);
        finish_first(sources);
    }
}

void sources_add(struct sources *sources, struct reading *reading)
{
    *sources->last = reading;
    sources->last = &reading->next;
    begin_next(sources);
}

/* ---- changes ---- */

void sources_reload(struct sources *sources)
{
    struct reading *waiting = sources->first, *reading;

    if (waiting && sources->busy)
        waiting = waiting->next;
    while (waiting && waiting->call)
        waiting = waiting->next;
    if (waiting) /* it will see what there is now */
        return;
    reading = reading_new(sources);
    if (reading)
        sources_add(sources, reading);
    else
        log_error("policies are not read again: out of memory");
}

static void on_change(void *arg)
{
    struct sources *sources = arg;

    if (sources->retired)
        sources_catch_up(sources);
    sources_reload(sources);
}

static void watch(struct sources *sources)
{
    const char *paths[WATCH_PATHS_MAX] = {sources->dir};
    size_t len = 1;
    struct err err;

    if (sources->retired)
        paths[len++] = sources->state_dir;

    for (size_t i = 0; i < sources->paths_len && len < WATCH_PATHS_MAX; i++)
        paths[len++] = sources->paths[i];
    if (watch_set(sources->watch, paths, len, &err) < 0)
        log_warn("%s; changed policies may go unnoticed, a SIGHUP does not", err.text);
}

static bool same_paths(const struct sources *sources, char *const *paths, size_t len)
{
    size_t i = 0;

    while (i < len && i < sources->paths_len && strcmp(paths[i], sources->paths[i]) == 0)
        i++;
    return i == len && i == sources->paths_len;
}

void sources_use_paths(struct sources *sources, char *const *paths, size_t len)
{
    char **fresh;
    size_t fresh_len;

    if (sources_copy_paths(&fresh, &fresh_len, paths, len) < 0) {
        log_error("policies are not read again: out of memory");
        return;
    }
    if (same_paths(sources, fresh, fresh_len)) {
        sources_free_paths(&fresh, &fresh_len);
        return;
    }
    sources_free_paths(&sources->paths, &sources->paths_len);
    sources->paths = fresh;
    sources->paths_len = fresh_len;
    watch(sources);
    sources_reload(sources);
}

/* ---- all of it ---- */

static void take_applied(struct sources *sources, struct applied *applied)
{
    applied_fini(&sources->applied);
    sources->applied = *applied;
    *applied = (struct applied){0};
}

static int begin(struct sources *sources, struct err *err)
{
    CLEANUP(reading_free) struct reading *reading = reading_new(sources);
    CLEANUP(applied_fini) struct applied applied = {0};
    int result;

    if (!reading)
        return err_set(err, -ENOMEM, "policies");
    sources->index = applied_look(sources->state_dir);
    result = applied_read(&applied, sources->state_dir, &reading->story, err);
    if (result < 0 && !reading->story.faults)
        return result;
    reading_do(reading);
    if (reading->ok && result == 0)
        result = sources_put(sources, &reading->list, &applied, &reading->story, err);
    else
        result = policy_story_summary(&reading->story, err);
    tell_story(&reading->story);
    if (result < 0)
        return result;
    policy_list_fini(&sources->files);
    sources->files = reading->list; /* taken */
    reading->list = (struct policy_list){0};
    take_applied(sources, &applied);
    if (sources->files.len || sources->applied.len)
        sources_log(sources, "policies were read");
    return 0;
}

static int find_dirs(struct sources *sources, struct err *err)
{
    const char *file = sources->parts.config_file, *slash = strrchr(file, '/');
    const char *state = runtime_state(sources->parts.runtime_dir);
    int len = slash ? (int)(slash - file) + 1 : 0;

    if (snprintf(sources->dir, PATH_MAX, "%.*spolicies.d", len, file) < PATH_MAX &&
        snprintf(sources->state_dir, PATH_MAX, "%s/policies", state) < PATH_MAX)
        return 0;
    return err_set(err, -ENAMETOOLONG, "%s, or %s, has too long a name", file, state);
}

int sources_new(struct sources **out, const struct sources_parts *parts, char *const *paths,
                size_t len, struct err *err)
{
    CLEANUP(sources_free) struct sources *sources = calloc(1, sizeof(*sources));
    int result;

    if (!sources)
        return err_set(err, -ENOMEM, "policies");
    sources->parts = *parts;
    sources->last = &sources->first;
    sources->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sources->done_fd < 0)
        return err_sys(err, -errno, "eventfd");
    sources->on_done = event_new(agent_base(parts->agent), sources->done_fd, EV_READ | EV_PERSIST,
                                 on_done, sources);
    if (!sources->on_done || event_add(sources->on_done, NULL) < 0 ||
        sources_copy_paths(&sources->paths, &sources->paths_len, paths, len) < 0)
        return err_set(err, -ENOMEM, "policies");
    result = find_dirs(sources, err);
    if (result == 0)
        result = watch_new(&sources->watch, agent_base(parts->agent), on_change, sources, err);
    if (result == 0)
        result = watch_new(&sources->named, agent_base(parts->agent), on_change, sources, err);
    if (result < 0)
        return result;
    watch(sources); /* before they are read, so that no change falls between */
    result = begin(sources, err);
    if (result < 0)
        return result;
    *out = TAKE(sources);
    return 0;
}

void sources_catch_up(struct sources *sources)
{
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    CLEANUP(applied_fini) struct applied applied = {0};
    struct stat index = applied_look(sources->state_dir);
    struct err err;
    int result;

    if (index.st_ino == sources->index.st_ino &&
        index.st_ctim.tv_sec == sources->index.st_ctim.tv_sec &&
        index.st_ctim.tv_nsec == sources->index.st_ctim.tv_nsec)
        return;
    sources->index = index;
    result = applied_read(&applied, sources->state_dir, &story, &err);
    if (result == 0)
        result = sources_put(sources, &sources->files, &applied, &story, &err);
    if (result == 0)
        take_applied(sources, &applied);
    else
        note_failure(sources, &story, &err);
}

/* Who waits for an answer gets none. */
static void drop_readings(struct sources *sources)
{
    eventfd_t ignored;

    if (sources->busy) {
        pthread_join(sources->thread, NULL);
        eventfd_read(sources->done_fd, &ignored);
    }
    sources->busy = false;
    while (sources->first) {
        struct reading *reading = sources->first;

        sources->first = reading->next;
        reading_free(&reading);
    }
    sources->last = &sources->first;
}

void sources_retire(struct sources *sources)
{
    drop_readings(sources);
    sources->retired = true;
    watch(sources);
    on_change(sources); /* what was not read for that, or changed meanwhile */
}

void sources_free(struct sources **sources)
{
    struct sources *gone = TAKE(*sources);

    if (!gone)
        return;
    drop_readings(gone);
    watch_free(&gone->watch);
    watch_free(&gone->named);
    if (gone->on_done)
        event_free(gone->on_done);
    fd_close(&gone->done_fd);
    sources_free_paths(&gone->paths, &gone->paths_len);
    policy_list_fini(&gone->files);
    applied_fini(&gone->applied);
    free(gone);
}
