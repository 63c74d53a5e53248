/* policy explain: what policies would decide, and why, without sending anything: those of the
 * running agent, or of files. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "proxy/command/ask.h"
#include "proxy/command/policy.h"
#include "proxy/enforce/policy_files.h"
#include "proxy/enforce/trial.h"

enum { FAILED = 1, MISUSED = 2, POLICIES_MAX = 64 };

static const char usage_text[] =
    "Usage: sallyport policy explain [OPTION…] METHOD URL\n"
    "       sallyport policy explain [OPTION…] dns NAME [TYPE]\n"
    "       sallyport policy explain [OPTION…] connect ADDRESS:PORT[/UDP]\n"
    "\n"
    "Tells what would be decided of it at each point, the rule that would decide, and why every\n"
    "other one would not. Nothing is sent. Asks the running agent, or with --policy nobody.\n"
    "\n"
    "      --pod [NS/]NAME        who asks; else a command that is no pod of anybody's\n"
    "      --label KEY=VALUE      ... with these labels, registered or not; repeatable\n"
    "      --binary PATH          the program\n"
    "      --policy FILE          the policies in FILE, or in the directory's *.yaml; repeatable\n"
    "      --address IP           the destination's; else any\n"
    "      --resolved NAME        what that was resolved from; repeatable; else the URL's host\n"
    "      --server-name NAME     what TLS asks for (SNI); else the URL's host\n"
    "  -H, --header 'NAME: VALUE' the request's; repeatable\n"
    "      --name-server IP       asked for NAME; else one that the pod is set up with\n"
    "  -o, --output compact|json  form of the answer (compact)\n"
    "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0, whatever the verdict; 1: it cannot be told; 2: wrong options.\n";

struct explain_options {
    struct ask ask;
    const char *policies[POLICIES_MAX];
    size_t policies_len;
    json_t *question; /* owned; as trial.h has it */
};

/* ---- options ---- */

static int complain(const char *what, const char *value)
{
    fprintf(stderr,
            "sallyport policy explain: %s '%s'\n"
            "'sallyport policy explain --help' tells how.\n",
            what, value);
    return -1;
}

static int set(struct explain_options *options, const char *key, const char *value)
{
    return json_object_set_new(options->question, key, json_string(value)) < 0
               ? complain("no text:", value)
               : 0;
}

static int append(struct explain_options *options, const char *key, const char *value)
{
    json_t *list = json_object_get(options->question, key);

    if (!list) {
        list = json_array();
        json_object_set_new(options->question, key, list);
    }
    return json_array_append_new(list, json_string(value)) < 0 ? complain("no text:", value) : 0;
}

static int add_label(struct explain_options *options, const char *text)
{
    const char *equals = strchr(text, '=');
    CLEANUP(text_free) char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;
    json_t *labels = json_object_get(options->question, "labels");

    if (!key)
        return complain("--label wants KEY=VALUE, not", text);
    if (!labels) {
        labels = json_object();
        json_object_set_new(options->question, "labels", labels);
    }
    return json_object_set_new(labels, key, json_string(equals + 1)) < 0
               ? complain("no text:", text)
               : 0;
}

static int set_pod(struct explain_options *options, const char *name)
{
    const char *slash = strchr(name, '/');

    if (slash)
        json_object_set_new(options->question, "namespace",
                            json_stringn(name, (size_t)(slash - name)));
    return set(options, "pod", slash ? slash + 1 : name);
}

static int add_policy(struct explain_options *options, const char *path)
{
    if (options->policies_len == POLICIES_MAX)
        return complain("too many files; name a directory instead of", path);
    options->policies[options->policies_len++] = path;
    return 0;
}

enum { POD = 256, LABEL, BINARY, POLICY, ADDRESS, RESOLVED, SERVER_NAME, NAME_SERVER, RUNTIME_DIR };

static int take_option(struct explain_options *options, int option)
{
    switch (option) {
    case POD:
        return set_pod(options, optarg);
    case LABEL:
        return add_label(options, optarg);
    case BINARY:
        return set(options, "binary", optarg);
    case POLICY:
        return add_policy(options, optarg);
    case ADDRESS:
        return set(options, "address", optarg);
    case RESOLVED:
        return append(options, "resolved", optarg);
    case SERVER_NAME:
        return set(options, "server_name", optarg);
    case NAME_SERVER:
        return set(options, "name_server", optarg);
    case 'H':
        return append(options, "headers", optarg);
    case RUNTIME_DIR:
        options->ask.runtime_dir = optarg;
        return 0;
    case 'o':
        return ask_take_form(&options->ask, "sallyport policy explain", optarg);
    default: /* getopt has said what is wrong */
        fputs("'sallyport policy explain --help' tells the options.\n", stderr);
        return -1;
    }
}

/* What is behind the options. */
static int take_words(struct explain_options *options, char **words, int len)
{
    if (len >= 2 && len <= 3 && strcmp(words[0], "dns") == 0)
        return set(options, "question", words[1]) < 0
                   ? -1
                   : set(options, "type", len == 3 ? words[2] : "A");
    if (len == 2 && strcmp(words[0], "connect") == 0)
        return set(options, "connect", words[1]);
    if (len == 2)
        return set(options, "method", words[0]) < 0 ? -1 : set(options, "url", words[1]);
    return complain("say what, such as", "GET https://example.com/path");
}

/* 0, or the exit status plus one. */
static int parse(struct explain_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"pod", required_argument, NULL, POD},
        {"label", required_argument, NULL, LABEL},
        {"binary", required_argument, NULL, BINARY},
        {"policy", required_argument, NULL, POLICY},
        {"address", required_argument, NULL, ADDRESS},
        {"resolved", required_argument, NULL, RESOLVED},
        {"server-name", required_argument, NULL, SERVER_NAME},
        {"name-server", required_argument, NULL, NAME_SERVER},
        {"header", required_argument, NULL, 'H'},
        {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "o:H:h", known, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 1;
        }
        if (take_option(options, option) < 0)
            return 1 + MISUSED;
    }
    return take_words(options, argv + optind, argc - optind) < 0 ? 1 + MISUSED : 0;
}

/* ---- asking ---- */

static int ask_files(const struct explain_options *options, json_t **answer)
{
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    CLEANUP(policy_view_unref) struct policy_view *view = NULL;
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(pod_unref) struct pod *pod = NULL;
    struct err err;
    int result = policy_files_load(&set, options->policies, options->policies_len, &story, &err);

    if (story.text)
        fputs(story.text, stderr);
    if (result == 0)
        result = trial_pod(&pod, options->question, &err);
    if (result == 0 && !(view = policy_view_new(set, pod)))
        result = err_set(&err, -ENOMEM, "policies: out of memory");
    if (result == 0)
        result = trial_run(answer, view, options->question, &err);
    if (result < 0)
        log_error("%s", err.text);
    return result;
}

static int ask_agent(const struct explain_options *options, json_t **answer)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};

    json_object_set_new(options->question, "verb", json_string("policy.explain"));
    return ask_call(&client, &options->ask, json_incref(options->question), answer);
}

/* ---- the answer ---- */

/* The verdict, then each point that was come to. */
static void render(struct buffer *out, const json_t *answer)
{
    const json_t *step;
    size_t i;

    buffer_format(out, "%s at %s", ask_text(answer, "verdict"), ask_text(answer, "point"));
    if (*ask_text(answer, "policy"))
        buffer_format(out, " by %s %s", ask_text(answer, "policy"), ask_text(answer, "rule"));
    if (*ask_text(answer, "reason"))
        buffer_format(out, ": %s", ask_text(answer, "reason"));
    buffer_text(out, "\n");
    if (*ask_text(answer, "assumed"))
        buffer_format(out, "assumed, for want of --resolved: %s\n", ask_text(answer, "assumed"));
    json_array_foreach(json_object_get(answer, "steps"), i, step)
    {
        buffer_format(out, "\n%s %s\n", ask_text(step, "point"), ask_text(step, "about"));
        buffer_text(out, ask_text(step, "text"));
    }
}

int command_policy_explain(int argc, char **argv)
{
    struct explain_options options = {.question = json_object()};
    CLEANUP(buffer_fini) struct buffer out = {0};
    json_t *answer = NULL;
    int status = parse(&options, argc, argv);

    if (status)
        status--;
    else if ((options.policies_len ? ask_files(&options, &answer) : ask_agent(&options, &answer)) <
             0)
        status = FAILED;
    if (answer) {
        json_object_del(answer, "ok");
        if (options.ask.json)
            ask_append_json(&out, answer);
        else
            render(&out, answer);
        status = ask_write(&out) < 0 ? FAILED : 0;
    }
    json_decref(answer);
    json_decref(options.question);
    return status;
}
