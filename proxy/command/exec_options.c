#include "proxy/command/exec_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "proxy/passthrough.h"

static const char usage_text[] =
    "Usage: sallyport exec [OPTION…] -- CMD [ARG…]\n"
    "\n"
    "Runs CMD and shows, a line each, which processes it starts, which names they look up, where\n"
    "they connect, how they speak TLS and what they ask for by HTTP. The exit status is CMD's.\n"
    "\n"
    "  -o, --output compact|json  form of the events (compact)\n"
    "      --events-file FILE     write them there, truncated first, instead of to stderr\n"
    "      --ca DIR               sign with this CA: tls.crt, tls.key, ca.crt in DIR; else one is\n"
    "                             made for this run\n"
    "      --upstream-ca FILE     trust these roots, too, when verifying servers\n"
    "      --client-certificates DIR  for servers that ask for one: NAME.crt and NAME.key, or\n"
    "                             NAME/tls.crt and NAME/tls.key, NAME a host or *.SUFFIX\n"
    "      --ports LIST|all       TCP ports to look into (443,8443,853,80,8080)\n"
    "      --loopback             look into connections to loopback addresses, too\n"
    "      --route auto|proxy|kernel|passthrough\n"
    "                             how what CMD says is read, where no policy says: by the proxy, "
    "in\n"
    "                             the kernel, not at all, or (auto) in the kernel if it encrypts "
    "there\n"
    "      --ktls                 have programs that use OpenSSL let the kernel encrypt, where it "
    "can\n"
    "      --passthrough NAME     never end the TLS of this server, only pass it on: a name, "
    "*.name,\n"
    "                             **.name (deeper, too), an address or its network; repeatable\n"
    "      --policy FILE          what CMD may do: policies in FILE, or in the directory's "
    "*.yaml;\n"
    "                             repeatable\n"
    "      --agent                run CMD as a pod of the agent that runs ('sallyport run'), with\n"
    "                             its CA, roots and servers to pass through, instead of one here\n"
    "      --runtime-dir DIR      where that is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "      --user USER            run CMD as USER (a name, or uid[:gid])\n"
    "  -h, --help                 this text\n"
    "\n"
    "125: we failed, and said why; 126: CMD cannot be executed; 127: CMD was not found.\n";

static int parse_ports(struct exec_options *options, const char *list)
{
    if (strcmp(list, "all") == 0) {
        options->all_ports = true;
        return 0;
    }
    for (const char *at = list;; at++) {
        char *end;
        unsigned long port = strtoul(at, &end, 10);

        if (*at < '0' || *at > '9' || port == 0 || port > 65535 || (*end && *end != ',') ||
            options->ports_len == EXEC_PORTS_MAX) {
            fprintf(stderr,
                    "sallyport: --ports %s: say 'all', or at most %d ports from 1 to 65535 with "
                    "commas between, such as 443,8443\n",
                    list, EXEC_PORTS_MAX);
            return -EINVAL;
        }
        options->ports[options->ports_len++] = (uint16_t)port;
        at = end;
        if (!*end)
            return 0;
    }
}

/* Whether there is such a user is seen later; this could be none. */
static int parse_user(struct exec_options *options, const char *user)
{
    size_t uid = strspn(user, "0123456789");
    size_t gid = user[uid] == ':' ? strspn(user + uid + 1, "0123456789") : 0;

    options->user = user;
    if (*user && (!strchr(user, ':') || (uid && gid && !user[uid + 1 + gid])))
        return 0;
    fprintf(stderr, "sallyport: --user '%s': say a name, or uid[:gid] by number\n", user);
    return -EINVAL;
}

static int add_passthrough(struct exec_options *options, char *server)
{
    struct err err;

    if (options->passthrough_len == EXEC_PASSTHROUGH_MAX)
        err_set(&err, -EINVAL, "at most %d can be named", EXEC_PASSTHROUGH_MAX);
    else if (passthrough_check(server, &err) == 0) {
        options->passthrough[options->passthrough_len++] = server;
        return 0;
    }
    fprintf(stderr, "sallyport: --passthrough: %s\n", err.text);
    return -EINVAL;
}

static int take_route(struct exec_options *options, const char *name)
{
    enum policy_route route;

    options->route = name;
    if (policy_route_find(name, &route))
        return 0;
    fprintf(stderr, "sallyport: --route %s: say auto, proxy, kernel or passthrough\n", name);
    return -EINVAL;
}

static int add_policy(struct exec_options *options, const char *path)
{
    if (options->policies_len == EXEC_POLICIES_MAX) {
        fprintf(stderr, "sallyport: --policy: at most %d can be named; a directory counts once\n",
                EXEC_POLICIES_MAX);
        return -EINVAL;
    }
    options->policies[options->policies_len++] = path;
    return 0;
}

/* What counts for all pods of an agent cannot be chosen for one. */
static int check_agent(const struct exec_options *options)
{
    const char *option = options->ca_dir            ? "--ca"
                         : options->upstream_ca     ? "--upstream-ca"
                         : options->client_certs    ? "--client-certificates"
                         : options->passthrough_len ? "--passthrough"
                         : options->policies_len    ? "--policy"
                                                    : NULL;

    if (!options->agent && options->runtime_dir)
        fputs("sallyport: --runtime-dir goes with --agent\n", stderr);
    else if (options->agent && option)
        fprintf(stderr, "sallyport: %s does not go with --agent: what the agent has counts\n",
                option);
    else
        return 0;
    return -EINVAL;
}

enum {
    EVENTS_FILE = 256,
    CA,
    UPSTREAM_CA,
    CLIENT_CERTS,
    PORTS,
    LOOPBACK,
    ROUTE,
    KTLS,
    PASSTHROUGH,
    POLICY,
    AGENT,
    RUNTIME_DIR,
    USER
};

static int take_output(struct exec_options *options, const char *form)
{
    options->json = strcmp(form, "json") == 0;
    if (options->json || strcmp(form, "compact") == 0)
        return 0;
    fprintf(stderr, "sallyport: -o %s: say compact or json\n", form);
    return -EINVAL;
}

const struct option exec_options_known[] = {
    {"output", required_argument, NULL, 'o'},
    {"events-file", required_argument, NULL, EVENTS_FILE},
    {"ca", required_argument, NULL, CA},
    {"upstream-ca", required_argument, NULL, UPSTREAM_CA},
    {"client-certificates", required_argument, NULL, CLIENT_CERTS},
    {"ports", required_argument, NULL, PORTS},
    {"loopback", no_argument, NULL, LOOPBACK},
    {"route", required_argument, NULL, ROUTE},
    {"ktls", no_argument, NULL, KTLS},
    {"passthrough", required_argument, NULL, PASSTHROUGH},
    {"policy", required_argument, NULL, POLICY},
    {"agent", no_argument, NULL, AGENT},
    {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
    {"user", required_argument, NULL, USER},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int exec_options_take(struct exec_options *options, int option)
{
    switch (option) {
    case 'o':
        return take_output(options, optarg);
    case EVENTS_FILE:
        options->events_file = optarg;
        return 0;
    case CA:
        options->ca_dir = optarg;
        return 0;
    case UPSTREAM_CA:
        options->upstream_ca = optarg;
        return 0;
    case CLIENT_CERTS:
        options->client_certs = optarg;
        return 0;
    case PORTS:
        return parse_ports(options, optarg);
    case LOOPBACK:
        options->loopback = true;
        return 0;
    case KTLS:
        options->ktls = true;
        return 0;
    case ROUTE:
        return take_route(options, optarg);
    case PASSTHROUGH:
        return add_passthrough(options, optarg);
    case POLICY:
        return add_policy(options, optarg);
    case AGENT:
        options->agent = true;
        return 0;
    case RUNTIME_DIR:
        options->runtime_dir = optarg;
        return 0;
    case USER:
        return parse_user(options, optarg);
    default: /* getopt has said it */
        fputs("'sallyport exec --help' tells the options.\n", stderr);
        return -EINVAL;
    }
}

int exec_options_finish(struct exec_options *options, int argc, char **argv)
{
    if (check_agent(options) < 0)
        return -EINVAL;
    if (optind == argc) {
        fputs("sallyport: there is no command to run; say it behind '--'\n", stderr);
        return -EINVAL;
    }
    options->argv = argv + optind;
    return 0;
}

int exec_options_parse(struct exec_options *options, int argc, char **argv)
{
    int option;

    argv[0] = (char *)"sallyport exec"; /* who complains of an option */
    while ((option = getopt_long(argc, argv, "+o:h", exec_options_known, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 1;
        }
        if (exec_options_take(options, option) < 0)
            return 3;
    }
    return exec_options_finish(options, argc, argv) < 0 ? 3 : 0;
}
