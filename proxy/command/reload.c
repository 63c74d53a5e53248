/* Certificates are read by a thread of their own: a machine's roots take tenths of a second, and
 * the control thread has connections to accept meanwhile. It owns what it reads until it has ended;
 * whatever happens until then is read once more after it. */
#include "proxy/command/reload.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/command/ca_options.h"
#include "proxy/command/signing.h"
#include "proxy/notify.h"
#include "proxy/telemetry/status.h"
#include "proxy/watch.h"

/* What one reload has read. */
struct reading {
    struct config *config;
    struct credentials *credentials;
    time_t look_again;
    char *story; /* or NULL: err says all */
    struct err err;
    int result;
};

struct reload {
    struct reload_parts parts;
    struct watch *watch;
    struct event *ca_due; /* the CA directory means something else */
    time_t look_again;
    struct reload_status status;
    pthread_t thread; /* reads certificates, while busy */
    bool busy, again; /* again: there is more to read since it began */
    int done_fd;      /* an eventfd: it has ended */
    struct event *on_done;
    struct reading reading;
};

static const char *ca_dir_of(const struct config *config)
{
    return config->ca ? config->ca : ca_default_dir();
}

int reload_credentials(struct credentials **out, time_t *look_again, const struct config *config,
                       const char *node_name, struct err *err)
{
    const struct signing_from from = {.ca_dir = ca_dir_of(config),
                                      .may_make_dir = !config->ca,
                                      .upstream_ca = config->upstream_ca,
                                      .client_certs = config->client_certificates,
                                      .node_name = node_name};

    return signing_load(out, NULL, &from, look_again, err);
}

/* ---- what tells us ---- */

/* At most so long, so that a wall clock that is set meanwhile is seen; and where what was due has
 * failed it is tried again so long after. */
enum { CA_TURN_S = 60 };

static void wait_for_ca(struct reload *reload)
{
    time_t now = time(NULL);
    struct timeval wait = {.tv_sec = CA_TURN_S};

    if (!reload->look_again)
        return;
    /* what is past was tried, and failed: the files may change, or the clock */
    if (reload->look_again > now && reload->look_again - now < CA_TURN_S)
        wait.tv_sec = reload->look_again - now;
    event_add(reload->ca_due, &wait);
}

static void on_ca_due(evutil_socket_t fd, short what, void *arg)
{
    struct reload *reload = arg;

    (void)fd;
    (void)what;
    if (time(NULL) >= reload->look_again)
        reload_now(reload);
    else
        wait_for_ca(reload);
}

static void on_change(void *arg)
{
    reload_now(arg);
}

/* Each may be a volume of its own, in which ..data is swapped. */
static size_t dirs_in(const char *path, char **out, size_t most)
{
    DIR *dir = path ? opendir(path) : NULL;
    const struct dirent *entry;
    size_t len = 0;
    struct stat st;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        if (len == most) {
            log_warn("%s has more directories than can be watched (%zu): changes in the others are "
                     "taken up with the next one, or by SIGHUP",
                     path, most);
            break;
        }
        if (asprintf(&out[len], "%s/%s", path, entry->d_name) < 0)
            break;
        len++;
    }
    if (dir)
        closedir(dir);
    return len;
}

static void watch(struct reload *reload, const struct config *config)
{
    const char *file = reload->parts.source->file;
    const char *paths[WATCH_PATHS_MAX] = {file ? file : config_default_file, ca_dir_of(config),
                                          config->upstream_ca, config->client_certificates};
    char *dirs[WATCH_PATHS_MAX];
    size_t len = 4, dirs_len;
    struct err err;

    dirs_len = dirs_in(config->client_certificates, dirs, WATCH_PATHS_MAX - len);
    for (size_t i = 0; i < dirs_len; i++)
        paths[len++] = dirs[i];
    if (watch_set(reload->watch, paths, len, &err) < 0)
        log_warn("%s; changed files may go unnoticed, a SIGHUP does not", err.text);
    while (dirs_len)
        free(dirs[--dirs_len]);
}

/* ---- all or nothing ---- */

static void forget(struct reading *reading)
{
    config_free(&reading->config);
    credentials_unref(&reading->credentials);
    text_free(&reading->story);
    *reading = (struct reading){0};
}

static void take_up(struct reload *reload)
{
    const struct reload_parts *parts = &reload->parts;
    struct reading *reading = &reload->reading;

    agent_use_credentials(parts->agent, reading->credentials);
    config_free(parts->config);
    *parts->config = TAKE(reading->config);
    reload->look_again = reading->look_again;
    log_set_json((*parts->config)->log_json);
    parts->taken(parts->arg);
}

static void tell_failure(struct reload *reload)
{
    const struct reading *reading = &reload->reading;

    snprintf(reload->status.error, sizeof(reload->status.error), "%s", reading->err.text);
    if (reading->story)
        log_story(reading->story);
    log_error("nothing was changed: %s", reading->err.text);
    notify_say("READY=1\nSTATUS=Ready, with what was read before: %.400s", reading->err.text);
}

static void finish(struct reload *reload)
{
    struct reload_status *status = &reload->status;
    struct reading *reading = &reload->reading;

    if (reading->result == 0) /* the last that may fail */
        reading->result = agent_pass_through(reload->parts.agent, reading->config->passthrough.list,
                                             reading->config->passthrough.len, &reading->err);
    if (reading->result == 0) {
        take_up(reload);
        status->done++;
        status->error[0] = 0;
        log_info("reloaded configuration, CA and trust");
        notify_say("READY=1\nSTATUS=Ready");
    } else {
        status->failed++;
        tell_failure(reload);
    }
    status->at_ns = clock_read_ns(CLOCK_REALTIME);
    forget(reading);
    wait_for_ca(reload);
}

static void *read_certificates(void *arg)
{
    struct reload *reload = arg;
    struct reading *reading = &reload->reading;

    reading->result = reload_credentials(&reading->credentials, &reading->look_again,
                                         reading->config, reload->parts.node_name, &reading->err);
    eventfd_write(reload->done_fd, 1);
    return NULL;
}

/* Signals are the control thread's. */
static int start_thread(struct reload *reload)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&reload->thread, NULL, read_certificates, reload);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        pthread_setname_np(reload->thread, "reload");
    return -code;
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct reload *reload = arg;
    eventfd_t ignored;

    (void)what;
    eventfd_read(fd, &ignored);
    pthread_join(reload->thread, NULL);
    reload->busy = false;
    finish(reload);
    if (reload->again)
        reload_now(reload);
}

/* Also where the rest fails, what was read last is what is watched: there it will be mended. */
void reload_now(struct reload *reload)
{
    struct reading *reading = &reload->reading;
    const struct config *running = *reload->parts.config;

    reload->again = reload->busy;
    if (reload->busy)
        return;
    notify_say("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ns() / 1000);
    reading->result = config_load(&reading->config, reload->parts.source, running, &reading->story,
                                  &reading->err);
    watch(reload, reading->result == 0 ? reading->config : running);
    if (reading->result == 0) {
        int code = start_thread(reload);

        reload->busy = code == 0;
        if (code < 0)
            reading->result = err_sys(&reading->err, code, "starting a thread");
    }
    if (!reload->busy)
        finish(reload);
}

/* ---- all of it ---- */

int reload_new(struct reload **out, const struct reload_parts *parts, time_t look_again,
               struct err *err)
{
    CLEANUP(reload_free) struct reload *reload = calloc(1, sizeof(*reload));
    struct event_base *base = agent_base(parts->agent);
    int result;

    if (!reload)
        return err_set(err, -ENOMEM, "reloading");
    reload->done_fd = -1;
    reload->parts = *parts;
    reload->look_again = look_again;
    reload->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reload->done_fd < 0)
        return err_sys(err, -errno, "eventfd");
    reload->ca_due = evtimer_new(base, on_ca_due, reload);
    reload->on_done = event_new(base, reload->done_fd, EV_READ | EV_PERSIST, on_done, reload);
    if (!reload->ca_due || !reload->on_done || event_add(reload->on_done, NULL) < 0)
        return err_set(err, -ENOMEM, "reloading");
    result = watch_new(&reload->watch, base, on_change, reload, err);
    if (result < 0)
        return result;
    watch(reload, *parts->config);
    wait_for_ca(reload);
    *out = TAKE(reload);
    return 0;
}

void reload_free(struct reload **reload)
{
    struct reload *gone = TAKE(*reload);

    if (!gone)
        return;
    if (gone->busy)
        pthread_join(gone->thread, NULL);
    forget(&gone->reading);
    watch_free(&gone->watch);
    if (gone->ca_due)
        event_free(gone->ca_due);
    if (gone->on_done)
        event_free(gone->on_done);
    fd_close(&gone->done_fd);
    free(gone);
}

const struct reload_status *reload_status(const struct reload *reload)
{
    return &reload->status;
}

void reload_tell(void *arg, json_t *answer)
{
    const struct reload *reload = arg;
    const struct reload_status *status = &reload->status;
    const char *file = reload->parts.source->file;
    json_t *reloads;

    if (file || access(config_default_file, F_OK) == 0)
        status_add_text(answer, "config", file ? file : config_default_file);
    else
        json_object_set_new(answer, "config", json_null());
    status_add_text(answer, "ca", ca_dir_of(*reload->parts.config));
    if (reload->look_again) /* another one signs then, or none, or there is a warning to give */
        status_add_time(answer, "ca_next_look", (uint64_t)reload->look_again * 1000000000);
    reloads = json_pack("{s:I,s:I}", "done", (json_int_t)status->done, "failed",
                        (json_int_t)status->failed);
    if (status->at_ns)
        status_add_time(reloads, "last", status->at_ns);
    if (status->error[0])
        status_add_text(reloads, "error", status->error);
    json_object_set_new(answer, "reloads", reloads);
}
