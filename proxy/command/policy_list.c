/* policy list: the policies in force in the running agent. */
#include <stdio.h>
#include <string.h>

#include "events/quote.h"
#include "proxy/command/ask.h"
#include "proxy/command/policy.h"

enum { FAILED = 1 };

static const char usage_text[] =
    "Usage: sallyport policy list [OPTION…]\n"
    "\n"
    "Tells which policies are in force in the running agent: each with its mode, how many of the\n"
    "registered pods it selects, how many rules it has (of egress, egressDeny and bodies), and\n"
    "the file it was read in; of those that were applied by a client, the client's.\n"
    "\n"
    "  -o, --output compact|json  form of the list (compact)\n"
    "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0; 1: no agent runs there; 2: wrong options.\n";

static json_int_t number(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

/* A name is quoted as everywhere; a strange one is no wider than what is written. */
static void append_name(struct buffer *out, const char *text, size_t width)
{
    size_t before = out->len;

    quote_text(out, span_of_text(text));
    do
        buffer_text(out, " ");
    while (!out->failed && out->len < before + width);
}

static void render(struct buffer *out, const json_t *rows)
{
    size_t width = strlen("NAME") + 2, i;
    const json_t *row;

    json_array_foreach(rows, i, row)
    {
        size_t len = strlen(ask_text(row, "name")) + 2;

        width = len > width ? len : width;
    }
    append_name(out, "NAME", width);
    buffer_text(out, "MODE     PODS   RULES  SOURCE\n");
    json_array_foreach(rows, i, row)
    {
        append_name(out, ask_text(row, "name"), width);
        buffer_format(out, "%-7s  %-5lld  %-5lld  ", ask_text(row, "mode"),
                      (long long)number(row, "pods"), (long long)number(row, "rules"));
        quote_text(out, span_of_text(ask_text(row, "source")));
        buffer_text(out, json_is_true(json_object_get(row, "applied")) ? " (applied)\n" : "\n");
    }
}

int command_policy_list(int argc, char **argv)
{
    static const struct ask_command command = {.name = "sallyport policy list",
                                               .usage = usage_text};
    CLEANUP(client_fini) struct client client = {.fd = -1};
    CLEANUP(buffer_fini) struct buffer out = {0};
    struct ask ask = {0};
    json_t *answer = NULL, *rows = json_array();
    int status = ask_parse(&ask, &command, argc, argv);
    json_int_t left;

    if (status || ask_call(&client, &ask, json_pack("{s:s}", "verb", "policy.list"), &answer) < 0) {
        json_decref(rows);
        return status ? status - 1 : FAILED;
    }
    for (left = number(answer, "policies"); left; left--) {
        json_t *row = NULL;

        if (ask_read_row(&client, &row) < 0)
            break;
        if (ask.json)
            ask_append_json(&out, row);
        json_array_append_new(rows, row);
    }
    if (!ask.json)
        render(&out, rows);
    status = left || (out.len && ask_write(&out) < 0) ? FAILED : 0;
    json_decref(answer);
    json_decref(rows);
    return status;
}
