/* `exec --agent`: the command is a pod of the agent that runs, which steers it, ends its TLS and
 * tells what it does. We say what it trusts, show it the agent's roots, and hold the pod by a
 * connection: when that ends, by whatever, the agent lets the pod go (proxy/pods/lease.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "certs/pem.h"
#include "certs/pod_trust.h"
#include "proxy/command/exec_run.h"
#include "proxy/command/follow.h"
#include "proxy/command/inherited.h"
#include "proxy/control/client.h"

enum { SETTLE_MS = 2000 };

/* What pods of commands are called: this namespace, and the instance's name. */
static const char space[] = "exec";

struct exec_join {
    struct event_base *base;
    struct client lease;
    struct event *on_lease;
    struct output *output; /* borrowed */
    struct follow *follow;
};

/* ---- events ---- */

static int follow_events(struct exec_join *join, const struct exec_run *run, const char *name,
                         struct err *err)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    char pattern[80];
    json_t *answer = NULL;
    int result = client_connect(&client, run->options->runtime_dir, err);

    if (result < 0)
        return result;
    snprintf(pattern, sizeof(pattern), "^%s$", name);
    result = client_call(&client,
                         json_pack("{s:s, s:[s], s:[s], s:s, s:b}", "verb", "events", "namespaces",
                                   space, "pods", pattern, "output",
                                   run->options->json ? "json" : "compact", "color",
                                   run->output.sink.color),
                         NULL, 0, &answer, err);
    json_decref(answer);
    return result < 0 ? result : follow_new(&join->follow, &client, run->output.sink.fd, err);
}

/* ---- the pod ---- */

static json_t *ports_of(const struct exec_options *options)
{
    json_t *ports = options->all_ports ? json_string("all") : json_array();

    for (size_t i = 0; !options->all_ports && i < options->ports_len; i++)
        json_array_append_new(ports, json_integer(options->ports[i]));
    return ports;
}

/* What is not said is as the agent has it for all pods. */
static json_t *make_request(const struct exec_options *options, const char *name, size_t files)
{
    json_t *request = json_pack("{s:s, s:s, s:s, s:I}", "verb", "pods.add", "namespace", space,
                                "name", name, "trust", (json_int_t)files);

    if (options->all_ports || options->ports_len)
        json_object_set_new(request, "ports", ports_of(options));
    if (options->loopback)
        json_object_set_new(request, "loopback", json_true());
    if (options->route)
        json_object_set_new(request, "route", json_string(options->route));
    if (options->ktls)
        json_object_set_new(request, "ktls", json_true());
    return request;
}

static int read_shown(struct anchors_shown *shown, const json_t *answer, struct err *err)
{
    const json_t *roots = json_object_get(answer, "roots");

    for (size_t i = 0; i < ARRAY_SIZE(shown->roots); i++) {
        const char *pem = json_string_value(json_array_get(roots, i));
        unsigned broken = 0;
        int result;

        shown->roots[i] = sk_X509_new_null();
        if (!pem || !shown->roots[i])
            return err_set(err, -EPROTO, "the agent told no roots; is it of another version?");
        result =
            pem_parse(shown->roots[i], span_of_text(pem), "the agent's roots", NULL, &broken, err);
        if (result < 0)
            return result;
    }
    return 0;
}

static int find_trust(struct pod_trust *trust, struct overlay *overlay, struct err *err)
{
    CLEANUP(known_fini) struct known known = {0};
    int result;

    overlay_find(overlay);
    result = overlay_roots(overlay, NULL, &known, &trust->roots, err);
    return result < 0 ? result
                      : overlay_trust(overlay, NULL, &known, trust->files, &trust->len, err);
}

static int add_pod(struct exec_join *join, struct exec_run *run, const char *name, struct err *err)
{
    CLEANUP(pod_trust_fini) struct pod_trust trust = {0};
    CLEANUP(anchors_shown_fini) struct anchors_shown shown = {{NULL}};
    CLEANUP(fd_close) int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int fds[2 + POD_TRUST_FILES] = {run->instance->cgroup_fd, netns};
    json_t *answer = NULL;
    int result = netns < 0 ? err_sys(err, -errno, "/proc/self/ns/net")
                           : find_trust(&trust, &run->overlay, err);

    if (result == 0)
        result = pod_trust_write(&trust, fds + 2, err);
    if (result < 0)
        return result;
    result = client_connect(&join->lease, run->options->runtime_dir, err);
    if (result == 0)
        result = client_call(&join->lease, make_request(run->options, name, 1 + trust.len), fds,
                             3 + trust.len, &answer, err);
    for (size_t i = 0; i <= trust.len; i++)
        fd_close(&fds[2 + i]);
    if (result == 0 &&
        (run->options->ktls || json_is_true(json_object_get(answer, "prefers_ktls"))))
        exec_prefer_ktls(run);
    if (result == 0)
        result = read_shown(&shown, answer, err);
    json_decref(answer);
    return result < 0 ? result : exec_show(run, &shown, err);
}

/* Nothing is said on it but its end. */
static void on_lease(evutil_socket_t fd, short what, void *arg)
{
    struct exec_join *join = arg;

    (void)fd;
    (void)what;
    event_del(join->on_lease);
    log_warn(
        "the agent has ended, or removed the pod: what the command does from now on is not told");
}

static int watch_lease(struct exec_join *join, struct err *err)
{
    join->on_lease = event_new(join->base, join->lease.fd, EV_READ | EV_PERSIST, on_lease, join);
    if (!join->on_lease || event_add(join->on_lease, NULL) < 0)
        return err_set(err, -ENOMEM, "the control loop");
    return 0;
}

/* ---- all of it ---- */

int exec_join_start(struct exec_run *run, struct err *err)
{
    const char *name = strrchr(run->instance->dir, '/') + 1;
    struct exec_join *join = run->join = calloc(1, sizeof(*join));
    int result;

    if (!join)
        return err_set(err, -ENOMEM, "joining the agent");
    join->lease.fd = -1;
    result = inherited_check(err); /* its policies, whatever they are and come to be */
    if (result < 0)
        return result;
    join->output = &run->output;
    join->base = event_base_new();
    if (!join->base)
        return err_set(err, -ENOMEM, "the control loop");
    result = follow_events(join, run, name, err);
    if (result == 0)
        result = add_pod(join, run, name, err);
    if (result == 0)
        result = watch_lease(join, err);
    return result < 0 ? result : attend_serve(&run->attend, join->base, err);
}

void exec_join_settle(struct exec_join *join, int signal_fd)
{
    struct pollfd over = {.fd = join->lease.fd, .events = POLLIN};
    int error;

    shutdown(join->lease.fd, SHUT_WR);
    poll(&over, 1, SETTLE_MS);
    follow_finish(join->follow, signal_fd);
    error = follow_error(join->follow);
    if (error < 0 && join->output->file)
        log_error("not all events could be written to %s: %s", join->output->file,
                  strerror(-error));
}

void exec_join_free(struct exec_join **join)
{
    struct exec_join *gone = TAKE(*join);

    if (!gone)
        return;
    follow_free(&gone->follow);
    if (gone->on_lease)
        event_free(gone->on_lease);
    client_fini(&gone->lease);
    if (gone->base)
        event_base_free(gone->base);
    free(gone);
}
