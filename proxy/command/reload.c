#include "proxy/command/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/command/ca_options.h"
#include "proxy/command/signing.h"
#include "proxy/notify.h"
#include "proxy/status.h"
#include "proxy/watch.h"

struct reload {
    struct reload_parts parts;
    struct watch *watch;
    struct event *ca_due; /* the CA directory means something else */
    time_t look_again;
    struct reload_status status;
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
                                      .node_name = node_name};
    struct overlay *overlay = calloc(1, sizeof(*overlay)); /* large for a stack */
    int result;

    if (!overlay)
        return err_set(err, -ENOMEM, "the trust of this machine");
    result = signing_load(out, overlay, &from, look_again, err);
    free(overlay);
    return result;
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
    if (reload->look_again - now < CA_TURN_S)
        wait.tv_sec = reload->look_again > now ? reload->look_again - now : 1;
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

static void watch(struct reload *reload, const struct config *config)
{
    const char *file = reload->parts.source->file;
    const char *const paths[] = {file ? file : config_default_file, ca_dir_of(config),
                                 config->upstream_ca};
    struct err err;

    if (watch_set(reload->watch, paths, ARRAY_SIZE(paths), &err) < 0)
        log_warn("%s; changed files may go unnoticed, a SIGHUP does not", err.text);
}

/* ---- all or nothing ---- */

/* Also where the rest fails, what was read last is what is watched: there it will be mended. */
static int load(struct reload *reload, struct config **config, struct credentials **credentials,
                time_t *look_again, char **story, struct err *err)
{
    int result = config_load(config, reload->parts.source, *reload->parts.config, story, err);

    watch(reload, result == 0 ? *config : *reload->parts.config);
    if (result < 0)
        return result;
    return reload_credentials(credentials, look_again, *config, reload->parts.node_name, err);
}

static void take_up(struct reload *reload, struct config **config, struct credentials *credentials)
{
    const struct reload_parts *parts = &reload->parts;

    agent_use_credentials(parts->agent, credentials);
    config_free(parts->config);
    *parts->config = TAKE(*config);
    log_set_json((*parts->config)->log_json);
}

void reload_now(struct reload *reload)
{
    CLEANUP(config_free) struct config *config = NULL;
    CLEANUP(credentials_unref) struct credentials *credentials = NULL;
    CLEANUP(text_free) char *story = NULL;
    struct reload_status *status = &reload->status;
    struct err err = {0};

    notify_say("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ns() / 1000);
    if (load(reload, &config, &credentials, &reload->look_again, &story, &err) == 0) {
        take_up(reload, &config, credentials);
        status->done++;
        status->error[0] = 0;
        log_info("reloaded configuration, CA and trust");
        notify_say("READY=1\nSTATUS=Ready");
    } else {
        status->failed++;
        if (reload->look_again && reload->look_again <= time(NULL))
            reload->look_again = time(NULL) + CA_TURN_S;
        snprintf(status->error, sizeof(status->error), "%s", err.text);
        if (story)
            log_story(story);
        log_error("nothing was changed: %s", err.text);
        notify_say("READY=1\nSTATUS=Ready, with what was read before: %.400s", err.text);
    }
    status->at_ns = clock_read_ns(CLOCK_REALTIME);
    wait_for_ca(reload);
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
    reload->parts = *parts;
    reload->look_again = look_again;
    reload->ca_due = evtimer_new(base, on_ca_due, reload);
    if (!reload->ca_due)
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
    watch_free(&gone->watch);
    if (gone->ca_due)
        event_free(gone->ca_due);
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

    status_add_text(answer, "config", file ? file : config_default_file);
    status_add_text(answer, "ca", ca_dir_of(*reload->parts.config));
    if (reload->look_again) /* another one signs then, or none */
        status_add_time(answer, "ca_changes", (uint64_t)reload->look_again * 1000000000);
    reloads = json_pack("{s:I,s:I}", "done", (json_int_t)status->done, "failed",
                        (json_int_t)status->failed);
    if (status->at_ns)
        status_add_time(reloads, "last", status->at_ns);
    if (status->error[0])
        status_add_text(reloads, "error", status->error);
    json_object_set_new(answer, "reloads", reloads);
}
