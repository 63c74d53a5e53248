#include "proxy/command/ask.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { RUNTIME_DIR = 256, POD };

static const struct option of_all[] = {
    {"output", required_argument, NULL, 'o'},
    {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};
static const struct option of_pods[] = {
    {"output", required_argument, NULL, 'o'},
    {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
    {"namespace", required_argument, NULL, 'n'},
    {"pod", required_argument, NULL, POD},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int ask_take_form(struct ask *ask, const char *command, const char *form)
{
    ask->json = strcmp(form, "json") == 0;
    if (ask->json || strcmp(form, "compact") == 0)
        return 0;
    fprintf(stderr, "%s: -o %s: say compact or json\n'%s --help' tells the options.\n", command,
            form, command);
    return -EINVAL;
}

/* As ask_parse(). */
static int take_option(struct ask *ask, const struct ask_command *command, int option)
{
    switch (option) {
    case 'o':
        return ask_take_form(ask, command->name, optarg) < 0 ? 3 : 0;
    case RUNTIME_DIR:
        ask->runtime_dir = optarg;
        return 0;
    case 'n':
        ask->space = optarg;
        return 0;
    case POD:
        ask->pod = optarg;
        return 0;
    case 'h':
        fputs(command->usage, stdout);
        return 1;
    default: /* getopt has said what is wrong */
        fprintf(stderr, "'%s --help' tells the options.\n", command->name);
        return 3;
    }
}

int ask_parse(struct ask *ask, const struct ask_command *command, int argc, char **argv)
{
    const struct option *known = command->chooses_pods ? of_pods : of_all;
    const char *letters = command->chooses_pods ? "o:n:h" : "o:h";
    int option, result;

    argv[0] = (char *)command->name; /* who complains of an option */
    while ((option = getopt_long(argc, argv, letters, known, NULL)) != -1) {
        result = take_option(ask, command, option);
        if (result)
            return result;
    }
    if (optind < argc && !command->takes_words) {
        fprintf(stderr, "%s takes no '%s'\n", command->name, argv[optind]);
        return 3;
    }
    return 0;
}

int ask_call(struct client *client, const struct ask *ask, json_t *request, json_t **answer)
{
    struct err err;
    int result = client_connect(client, ask->runtime_dir, &err);

    if (result < 0)
        json_decref(request);
    else
        result = client_call(client, request, NULL, 0, answer, &err);
    if (result < 0)
        log_error("%s", err.text);
    return result;
}

int ask_read_row(struct client *client, json_t **row)
{
    struct err err;
    int result = client_read_line(client, CLIENT_PATIENCE_MS, row, &err);

    if (result <= 0)
        log_error("%s", result < 0 ? err.text : "the agent ended within its answer");
    return result < 0 ? result : result == 0 ? -EPIPE : 0;
}

const char *ask_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));

    return text ? text : "";
}

static int append_dumped(const char *bytes, size_t len, void *arg)
{
    buffer_append(arg, bytes, len);
    return 0;
}

void ask_append_json(struct buffer *out, const json_t *line)
{
    if (json_dump_callback(line, append_dumped, out, JSON_COMPACT) < 0)
        out->failed = true;
    buffer_append(out, "\n", 1);
}

int ask_write(struct buffer *out)
{
    bool written = !out->failed && (!out->len || fwrite(out->data, out->len, 1, stdout) == 1);

    if (!written || fflush(stdout) != 0) {
        log_error("the answer could not be written: %s",
                  out->failed ? "no memory" : strerror(errno));
        return -EIO;
    }
    out->len = 0;
    return 0;
}
