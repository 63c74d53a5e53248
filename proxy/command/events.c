/* events: follow what a running agent tells, filtered and rendered by it, until either ends. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "events/buffer.h"
#include "events/filter.h"
#include "events/since.h"
#include "proxy/command/command.h"
#include "proxy/control/client.h"

enum { FAILED = 1, MISUSED = 2, CHUNK = 65536, AGAIN_MS = 250 };

static const char usage_text[] =
    "Usage: sallyport events [OPTION…]\n"
    "\n"
    "Follows what the pods of the agent on this machine do, a line each, until you end it. "
    "Options\n"
    "of one kind said twice are alternatives; different kinds must all hold.\n"
    "\n"
    "  -e, --event-types TYPES    only these, with commas between: exec, exit, connect, dns, tls,\n"
    "                             http, grpc, ws, socket, close, policy, capture; or process_exec "
    "and\n"
    "                             so on\n"
    "  -n, --namespace NAMES      only of pods in these namespaces, with commas between\n"
    "      --pod REGEX            only of pods whose name it is found in\n"
    "      --process REGEX        only of programs whose path it is found in\n"
    "  -o, --output compact|json  form of the events (compact)\n"
    "      --since WHEN           begin with what is kept from then on: 5m, 1h30m,\n"
    "                             2026-11-23T18:00:00Z; else with what happens from now on\n"
    "      --color WHEN           auto, always or never (auto: on a terminal, without NO_COLOR)\n"
    "      --reconnect            when the agent ends, wait for the next one\n"
    "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, /run/sallyport)\n"
    "  -h, --help                 this text\n";

struct follower {
    struct filter *filter; /* only to see what is wrong with the options here and now */
    json_t *request;
    const char *runtime_dir;
    const char *color;
    uint64_t since_ns;
    bool reconnect;
    struct client client;
    struct buffer held; /* the beginning of a line whose rest is to come */
};

/* ---- options ---- */

static int add_condition(struct follower *follower, const char *option, const char *name,
                         enum filter_key key, const char *text)
{
    json_t *list = json_object_get(follower->request, name);
    struct err err;

    if (filter_add(follower->filter, key, text, &err) < 0) {
        log_error("%s: %s", option, err.text);
        return -EINVAL;
    }
    if (!list) {
        list = json_array();
        json_object_set_new(follower->request, name, list);
    }
    if (json_array_append_new(list, json_string(text)) < 0) {
        log_error("%s: '%s' is not UTF-8", option, text);
        return -EINVAL;
    }
    return 0;
}

static int choose_output(struct follower *follower, const char *form)
{
    if (strcmp(form, "compact") != 0 && strcmp(form, "json") != 0) {
        log_error("-o %s: say compact or json", form);
        return -EINVAL;
    }
    return json_object_set_new(follower->request, "output", json_string(form));
}

static int choose_color(struct follower *follower, const char *when)
{
    follower->color = when;
    if (strcmp(when, "auto") == 0 || strcmp(when, "always") == 0 || strcmp(when, "never") == 0)
        return 0;
    log_error("--color %s: say auto, always or never", when);
    return -EINVAL;
}

static int choose_since(struct follower *follower, const char *when)
{
    struct err err;

    if (since_parse(when, clock_read_ns(CLOCK_REALTIME), &follower->since_ns, &err) == 0)
        return 0;
    log_error("--since: %s", err.text);
    return -EINVAL;
}

/* 0, or the exit status and 1. */
static int parse(struct follower *follower, int argc, char **argv)
{
    enum { POD = 256, PROCESS, SINCE, COLOR, RECONNECT, RUNTIME_DIR };
    static const struct option known[] = {
        {"event-types", required_argument, NULL, 'e'},
        {"namespace", required_argument, NULL, 'n'},
        {"pod", required_argument, NULL, POD},
        {"process", required_argument, NULL, PROCESS},
        {"output", required_argument, NULL, 'o'},
        {"since", required_argument, NULL, SINCE},
        {"color", required_argument, NULL, COLOR},
        {"reconnect", no_argument, NULL, RECONNECT},
        {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, result = 0;

    argv[0] = (char *)"sallyport events"; /* who complains of an option */
    while (result == 0 && (option = getopt_long(argc, argv, "e:n:o:h", known, NULL)) != -1)
        switch (option) {
        case 'e':
            result = add_condition(follower, "-e", "types", FILTER_TYPES, optarg);
            break;
        case 'n':
            result = add_condition(follower, "-n", "namespaces", FILTER_NAMESPACES, optarg);
            break;
        case POD:
            result = add_condition(follower, "--pod", "pods", FILTER_POD, optarg);
            break;
        case PROCESS:
            result = add_condition(follower, "--process", "processes", FILTER_PROCESS, optarg);
            break;
        case 'o':
            result = choose_output(follower, optarg);
            break;
        case SINCE:
            result = choose_since(follower, optarg);
            break;
        case COLOR:
            result = choose_color(follower, optarg);
            break;
        case RECONNECT:
            follower->reconnect = true;
            break;
        case RUNTIME_DIR:
            follower->runtime_dir = optarg;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 1;
        default: /* getopt has said what is wrong */
            result = -EINVAL;
        }
    if (result == 0 && optind < argc) {
        log_error("events: '%s' is no option", argv[optind]);
        result = -EINVAL;
    }
    if (result < 0)
        fputs("'sallyport events --help' tells the options.\n", stderr);
    return result < 0 ? MISUSED + 1 : 0;
}

static bool wants_color(const struct follower *follower)
{
    if (follower->color && strcmp(follower->color, "auto") != 0)
        return strcmp(follower->color, "always") == 0;
    return isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

/* ---- following ---- */

static int ask(struct follower *follower, struct err *err)
{
    const char *begins;
    json_t *answer = NULL;
    char since[24];
    int result = client_connect(&follower->client, follower->runtime_dir, err);

    if (result < 0)
        return result;
    if (follower->since_ns) {
        snprintf(since, sizeof(since), "%llu", (unsigned long long)follower->since_ns);
        json_object_set_new(follower->request, "since", json_string(since));
    }
    result = client_call(&follower->client, json_incref(follower->request), NULL, 0, &answer, err);
    if (result < 0)
        return result;
    begins = json_string_value(json_object_get(answer, "begins"));
    if (begins)
        log_warn("events from before %s are not kept any more", begins);
    json_decref(answer);
    return 0;
}

/* -EPIPE: nobody reads us any more. */
static int write_all(const char *bytes, size_t len, struct err *err)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (n < 0)
            return err_sys(err, -errno, "writing events to stdout");
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Whole lines go out; what is left of one whose agent was killed never does. */
static int pass_on(struct follower *follower, const char *bytes, size_t len, struct err *err)
{
    const char *last = memrchr(bytes, '\n', len);
    size_t whole = last ? (size_t)(last - bytes) + 1 : 0;
    int result = 0;

    if (whole) {
        result = write_all(follower->held.data, follower->held.len, err);
        follower->held.len = 0;
    }
    if (result == 0)
        result = write_all(bytes, whole, err);
    buffer_append(&follower->held, bytes + whole, len - whole);
    if (result == 0 && follower->held.failed)
        result = err_set(err, -ENOMEM, "no memory for a line");
    return result;
}

/* Until the agent ends (0), or something fails. */
static int follow(struct follower *follower, struct err *err)
{
    struct client *client = &follower->client;
    int result = pass_on(follower, client->data + client->at, client->len - client->at, err);

    while (result == 0) {
        struct pollfd ends[2] = {{.fd = client->fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
        char bytes[CHUNK];
        ssize_t n;

        if (poll(ends, 2, -1) < 0)
            continue; /* EINTR */
        if (ends[1].revents & POLLERR)
            return err_set(err, -EPIPE, "nobody reads stdout"); /* and no event may ever come */
        if (!ends[0].revents)
            continue;
        n = recv(client->fd, bytes, sizeof(bytes), 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        if (n < 0 && errno != EINTR)
            return err_sys(err, -errno, "events from the agent");
        if (n > 0)
            result = pass_on(follower, bytes, (size_t)n, err);
    }
    return result;
}

/* One agent, from its greeting to its end (0). */
static int attend(struct follower *follower, bool *greeted, struct err *err)
{
    int result = ask(follower, err);

    *greeted = result == 0;
    if (result == 0)
        result = follow(follower, err);
    client_fini(&follower->client);
    follower->client = (struct client){.fd = -1};
    follower->held.len = 0;
    return result;
}

static int follow_agents(struct follower *follower)
{
    bool told = false;

    for (;;) {
        struct err err;
        bool greeted;
        int result = attend(follower, &greeted, &err);

        if (result == -EPIPE && greeted)
            return 0;
        if (result == 0)
            err_set(&err, -EPIPE, "the agent has ended");
        if ((result < 0 && greeted) || !follower->reconnect) {
            log_error("%s", err.text);
            return FAILED;
        }
        if (greeted) { /* all that the next one has seen before we ask it is new to us */
            follower->since_ns = 1;
            told = false;
        }
        if (!told)
            log_warn("%s; waiting for one", err.text);
        told = true;
        poll(NULL, 0, AGAIN_MS);
    }
}

int command_events(int argc, char **argv)
{
    struct follower follower = {.client.fd = -1, .request = json_object()};
    struct err err;
    int status = FAILED;

    if (!follower.request || filter_new(&follower.filter, &err) < 0) {
        log_error("no memory");
    } else {
        json_object_set_new(follower.request, "verb", json_string("events"));
        status = parse(&follower, argc, argv);
        if (status) {
            status--;
        } else {
            json_object_set_new(follower.request, "color", json_boolean(wants_color(&follower)));
            signal(SIGPIPE, SIG_IGN); /* who ends the pipe has seen enough */
            status = follow_agents(&follower);
        }
    }
    buffer_fini(&follower.held);
    filter_free(&follower.filter);
    json_decref(follower.request);
    return status;
}
