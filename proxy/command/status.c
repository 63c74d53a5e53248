/* status: how the running agent is. */
#include "proxy/telemetry/status.h"

#include "proxy/command/ask.h"
#include "proxy/command/command.h"

static const struct ask_command status_command = {
    .name = "sallyport status",
    .usage =
        "Usage: sallyport status [OPTION…]\n"
        "\n"
        "How the running agent is: since when, what it serves, what it has lost, how much of the\n"
        "machine its connections take, and who else stands on its hooks.\n"
        "\n"
        "  -o, --output compact|json  form of the answer (compact)\n"
        "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else "
        "/run/sallyport)\n"
        "  -h, --help                 this text\n"
        "\n"
        "Exit status: 0; 1: no agent runs there, or it did not answer; 2: wrong options.\n",
};

static void json_free(json_t **json)
{
    json_decref(*json);
}

int command_status(int argc, char **argv)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    CLEANUP(buffer_fini) struct buffer out = {0};
    CLEANUP(json_free) json_t *answer = NULL;
    struct ask ask = {0};
    int result = ask_parse(&ask, &status_command, argc, argv);

    if (result)
        return result - 1;
    if (ask_call(&client, &ask, json_pack("{s:s}", "verb", "status"), &answer) < 0)
        return 1;
    json_object_del(answer, "ok");
    if (ask.json)
        ask_append_json(&out, answer);
    else
        status_render(&out, answer);
    return ask_write(&out) < 0;
}
