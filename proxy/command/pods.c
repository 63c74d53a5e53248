/* pods: which workloads the running agent steers: told, added, removed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "events/quote.h"
#include "policy/route.h"
#include "proxy/command/ask.h"
#include "proxy/command/command.h"

enum { FAILED = 1, MISUSED = 2 };

static const char usage_text[] =
    "Usage: sallyport pods list [-o compact|json]\n"
    "       sallyport pods add --cgroup DIR --name [NAMESPACE/]NAME [OPTION…]\n"
    "       sallyport pods remove [NAMESPACE/]NAME | --cgroup DIR | --all\n"
    "       sallyport pods thaw [NAMESPACE/]NAME | --cgroup DIR | --all\n"
    "\n"
    "A pod is a cgroup (v2) with all below it, but for what is added as a pod of its own. What\n"
    "runs in it is steered from its next connect on; it goes with its cgroup. Removed, what it\n"
    "has open goes on to its end. One that a policy has frozen goes on when it is thawed: without\n"
    "an agent, or when it is a pod no more, by 'echo 0 >DIR/cgroup.freeze'.\n"
    "\n"
    "      --cgroup DIR           its directory in cgroup v2\n"
    "      --netns FILE           its network namespace, as /run/netns/NAME or /proc/PID/ns/net;\n"
    "                             else wherever its processes are found\n"
    "      --name [NS/]NAME       what events call it\n"
    "      --label KEY=VALUE      a label; as often as there are some\n"
    "      --ports LIST|all       TCP ports to look into (as the agent was told)\n"
    "      --loopback             look into connections to loopback addresses, too\n"
    "      --on-agent-down closed|open\n"
    "                             without an agent connections are refused, or go unseen\n"
    "      --route auto|proxy|kernel|passthrough\n"
    "                             how it is read where no policy says (as the agent was told)\n"
    "  -o, --output compact|json  form of the list (compact)\n"
    "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0; 1: refused, or no agent runs there; 2: wrong options.\n";

struct pods_options {
    struct ask ask;
    const char *cgroup, *netns, *name, *when_down, *route;
    json_t *labels, *ports; /* owned */
    bool loopback, all;
};

/* ---- options ---- */

static int complain(const char *option, const char *value, const char *advice)
{
    fprintf(stderr, "sallyport pods: --%s %s: %s\n", option, value, advice);
    return -EINVAL;
}

static int take_label(struct pods_options *options, const char *text)
{
    const char *equals = strchr(text, '=');
    CLEANUP(text_free) char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;

    if (!key)
        return complain("label", text, "say KEY=VALUE");
    if (json_object_get(options->labels, key))
        return complain("label", text, "this key is given twice");
    if (json_object_set_new(options->labels, key, json_string(equals + 1)) < 0)
        return complain("label", text, "that is no text");
    return 0;
}

static int take_when_down(struct pods_options *options, const char *name)
{
    options->when_down = name;
    return strcmp(name, "closed") == 0 || strcmp(name, "open") == 0
               ? 0
               : complain("on-agent-down", name, "say closed or open");
}

static int take_route(struct pods_options *options, const char *name)
{
    enum policy_route route;

    options->route = name;
    return policy_route_find(name, &route)
               ? 0
               : complain("route", name, "say auto, proxy, kernel or passthrough");
}

static int take_ports(struct pods_options *options, const char *list)
{
    json_decref(options->ports);
    options->ports = strcmp(list, "all") == 0 ? json_string(list) : json_array();
    if (!json_is_array(options->ports))
        return 0;
    for (const char *at = list;; at++) {
        char *end;
        long port = strtol(at, &end, 10);

        if (*at < '0' || *at > '9' || (*end && *end != ',') || port < 1 || port > 65535)
            return complain("ports", list,
                            "say 'all', or ports from 1 to 65535 with commas between: 443,8443");
        json_array_append_new(options->ports, json_integer(port));
        at = end;
        if (!*end)
            return 0;
    }
}

enum { CGROUP = 256, NETNS, NAME, LABEL, PORTS, LOOPBACK, ON_AGENT_DOWN, ROUTE, RUNTIME_DIR, ALL };

static int take_option(struct pods_options *options, int option)
{
    switch (option) {
    case CGROUP:
        options->cgroup = optarg;
        return 0;
    case NETNS:
        options->netns = optarg;
        return 0;
    case NAME:
        options->name = optarg;
        return 0;
    case LABEL:
        return take_label(options, optarg);
    case PORTS:
        return take_ports(options, optarg);
    case LOOPBACK:
        options->loopback = true;
        return 0;
    case ON_AGENT_DOWN:
        return take_when_down(options, optarg);
    case ROUTE:
        return take_route(options, optarg);
    case ALL:
        options->all = true;
        return 0;
    case RUNTIME_DIR:
        options->ask.runtime_dir = optarg;
        return 0;
    case 'o':
        return ask_take_form(&options->ask, "sallyport pods", optarg);
    default: /* getopt has said what is wrong */
        fputs("'sallyport pods --help' tells the options.\n", stderr);
        return -EINVAL;
    }
}

/* 0, or the exit status plus one. */
static int parse(struct pods_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"cgroup", required_argument, NULL, CGROUP},
        {"netns", required_argument, NULL, NETNS},
        {"name", required_argument, NULL, NAME},
        {"label", required_argument, NULL, LABEL},
        {"ports", required_argument, NULL, PORTS},
        {"loopback", no_argument, NULL, LOOPBACK},
        {"on-agent-down", required_argument, NULL, ON_AGENT_DOWN},
        {"route", required_argument, NULL, ROUTE},
        {"all", no_argument, NULL, ALL},
        {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    argv[0] = (char *)"sallyport pods"; /* who complains of an option */
    while ((option = getopt_long(argc, argv, "o:h", known, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 1;
        }
        if (take_option(options, option) < 0)
            return 1 + MISUSED;
    }
    return 0;
}

static int misused(const char *what)
{
    fprintf(stderr, "sallyport pods: %s\n'sallyport pods --help' tells how.\n", what);
    return MISUSED;
}

/* ---- asking ---- */

static void set_name(json_t *request, const char *name)
{
    const char *slash = strchr(name, '/');

    if (slash)
        json_object_set_new(request, "namespace", json_stringn(name, (size_t)(slash - name)));
    json_object_set_new(request, "name", json_string(slash ? slash + 1 : name));
}

/* fds[0]: the cgroup, fds[1]: the namespace; as the caller sees them, which the agent may not. */
static int open_place(const struct pods_options *options, int fds[2])
{
    fds[0] = open(options->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fds[0] < 0) {
        log_error("--cgroup %s: %s", options->cgroup, strerror(errno));
        return -errno;
    }
    if (!options->netns)
        return 1;
    fds[1] = open(options->netns, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fds[1] < 0) {
        log_error("--netns %s: %s", options->netns, strerror(errno));
        return -errno;
    }
    return 2;
}

/* Takes request. */
static int call(const struct pods_options *options, json_t *request)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    int fds[2] = {-1, -1};
    int len = options->cgroup ? open_place(options, fds) : 0;
    struct err err = {0};
    json_t *answer = NULL;
    int result = len < 0 ? len : client_connect(&client, options->ask.runtime_dir, &err);

    if (result == 0)
        result = client_call(&client, json_incref(request), fds, (size_t)len, &answer, &err);
    if (result < 0 && len >= 0)
        log_error("%s", err.text);
    json_decref(answer);
    json_decref(request);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    return result < 0 ? FAILED : 0;
}

static int add(struct pods_options *options, int left, char **argv)
{
    CLEANUP(text_free) char *netns_path = NULL;
    json_t *request;

    if (left)
        return misused(argv[0]);
    if (!options->cgroup || !options->name || options->all)
        return misused("'add' wants --cgroup and --name");
    request = json_pack("{s:s, s:O, s:O*, s:s*, s:s*}", "verb", "pods.add", "labels",
                        options->labels, "ports", options->ports, "onAgentDown", options->when_down,
                        "route", options->route);
    if (options->loopback)
        json_object_set_new(request, "loopback", json_true());
    netns_path = options->netns ? realpath(options->netns, NULL) : NULL;
    if (netns_path)
        json_object_set_new(request, "netns_path", json_string(netns_path));
    set_name(request, options->name);
    return call(options, request);
}

/* What is about pods that are there. */
static int call_one(struct pods_options *options, const char *verb, int left, char **argv)
{
    json_t *request;

    if (left > 1 || (left == 1) + (options->cgroup != NULL) + options->all != 1)
        return misused("say one name, or --cgroup, or --all");
    request = json_pack("{s:s, s:b}", "verb", verb, "all", (int)options->all);
    if (left)
        set_name(request, argv[0]);
    return call(options, request);
}

static int remove_one(struct pods_options *options, int left, char **argv)
{
    return call_one(options, "pods.remove", left, argv);
}

static int thaw(struct pods_options *options, int left, char **argv)
{
    return call_one(options, "pods.thaw", left, argv);
}

/* ---- the list ---- */

static void append_text(struct buffer *out, const char *before, const char *text)
{
    buffer_text(out, before);
    quote_text(out, span_of_text(text));
}

/* "shop/cart  /sys/fs/cgroup/…  /run/netns/cart  443,80  app=cart" */
static void append_line(struct buffer *out, const json_t *row)
{
    const json_t *ports = json_object_get(row, "ports");
    json_t *labels = json_object_get(row, "labels"), *value;
    const char *netns = ask_text(row, "netns"), *key;

    if (*ask_text(row, "namespace")) {
        append_text(out, "", ask_text(row, "namespace"));
        buffer_text(out, "/");
    }
    append_text(out, "", ask_text(row, "name"));
    append_text(out, "  ", ask_text(row, "cgroup"));
    append_text(out, "  ", *netns ? netns : "-");
    buffer_text(out, json_is_array(ports) ? "  " : "  all");
    for (size_t i = 0; i < json_array_size(ports); i++)
        buffer_format(out, "%s%lld", i ? "," : "",
                      (long long)json_integer_value(json_array_get(ports, i)));
    json_object_foreach(labels, key, value)
    {
        append_text(out, "  ", key);
        append_text(out, "=", json_string_value(value));
    }
    buffer_text(out, json_is_true(json_object_get(row, "frozen")) ? "  (frozen)\n" : "\n");
}

static int list(struct pods_options *options, int left, char **argv)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    CLEANUP(buffer_fini) struct buffer out = {0};
    json_t *answer = NULL;
    json_int_t count;

    if (left)
        return misused(argv[0]);
    if (ask_call(&client, &options->ask, json_pack("{s:s}", "verb", "pods.list"), &answer) < 0)
        return FAILED;
    count = json_integer_value(json_object_get(answer, "pods"));
    json_decref(answer);
    for (json_int_t i = 0; i < count; i++) {
        json_t *row = NULL;

        if (ask_read_row(&client, &row) < 0)
            return FAILED;
        if (options->ask.json)
            ask_append_json(&out, row);
        else
            append_line(&out, row);
        json_decref(row);
    }
    return out.len && ask_write(&out) < 0 ? FAILED : 0;
}

int command_pods(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct pods_options *options, int left, char **argv);
    } actions[] = {{"list", list}, {"add", add}, {"remove", remove_one}, {"thaw", thaw}};
    struct pods_options options = {.labels = json_object()};
    int status = parse(&options, argc, argv);
    size_t i = 0;

    while (!status && i < ARRAY_SIZE(actions) &&
           (optind == argc || strcmp(argv[optind], actions[i].name) != 0))
        i++;
    if (status)
        status--;
    else if (i == ARRAY_SIZE(actions))
        status = misused("say what to do: list, add, remove or thaw");
    else
        status = actions[i].run(&options, argc - optind - 1, argv + optind + 1);
    json_decref(options.labels);
    json_decref(options.ports);
    return status;
}
