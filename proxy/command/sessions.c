/* sessions: the flows that are open in the running agent. */
#include "proxy/telemetry/sessions.h"

#include "base/log.h"
#include "proxy/command/ask.h"
#include "proxy/command/command.h"
#include "proxy/command/session_line.h"

enum { WRITE_BYTES = 65536 };

static const struct ask_command sessions_command = {
    .name = "sallyport sessions",
    .usage =
        "Usage: sallyport sessions [OPTION…]\n"
        "\n"
        "The TCP connections that pods have open, a line each: pod, program, addresses,\n"
        "names, the name asked for, state, route and what of it is seen, TLS version, protocol,\n"
        "bytes, age.\n"
        "\n"
        "  -o, --output compact|json  form of the lines (compact)\n"
        "  -n, --namespace NAMESPACE  only those of pods in it\n"
        "      --pod NAME             only those of pods of this name\n"
        "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else "
        "/run/sallyport)\n"
        "  -h, --help                 this text\n"
        "\n"
        "Exit status: 0; 1: no agent runs there, or it did not answer; 2: wrong options.\n",
    .chooses_pods = true,
};

static int show(struct client *client, json_int_t count, bool json)
{
    CLEANUP(buffer_fini) struct buffer out = {0};

    for (json_int_t i = 0; i < count; i++) {
        json_t *line = NULL;
        struct err err;
        int result = client_read_line(client, CLIENT_PATIENCE_MS, &line, &err);

        if (result <= 0) {
            log_error("%s", result < 0 ? err.text : "the agent ended within the list");
            return 1;
        }
        if (json)
            ask_append_json(&out, line);
        else
            session_line(&out, line);
        json_decref(line);
        if (out.len >= WRITE_BYTES && ask_write(&out) < 0)
            return 1;
    }
    return ask_write(&out) < 0;
}

int command_sessions(int argc, char **argv)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    json_t *answer = NULL;
    struct ask ask = {0};
    json_int_t count;
    int result = ask_parse(&ask, &sessions_command, argc, argv);

    if (result)
        return result - 1;
    if (ask_call(&client, &ask,
                 json_pack("{s:s, s:s*, s:s*}", "verb", "sessions", "namespace", ask.space, "pod",
                           ask.pod),
                 &answer) < 0)
        return 1;
    count = json_integer_value(json_object_get(answer, "sessions"));
    json_decref(answer);
    return show(&client, count, ask.json);
}
