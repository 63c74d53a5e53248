/* policy remove: takes back policies that clients applied to the running agent. */
#include <getopt.h>
#include <stdio.h>

#include "proxy/command/ask.h"
#include "proxy/command/policy.h"

enum { FAILED = 1, MISUSED = 2 };

static const char usage_text[] =
    "Usage: sallyport policy remove [OPTION…] [NAMESPACE/]NAME…\n"
    "\n"
    "Takes back policies that were applied ('sallyport policy apply'), one after the other, and\n"
    "prints of each that it is removed; one that cannot be is no reason to leave the others. One\n"
    "that stands in a file of the agent's is removed there.\n"
    "\n"
    "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0; 1: refused, or no agent runs there; 2: wrong options.\n";

int command_policy_remove(int argc, char **argv)
{
    static const struct ask_command command = {
        .name = "sallyport policy remove", .usage = usage_text, .takes_words = true};
    struct ask ask = {0};
    int status = ask_parse(&ask, &command, argc, argv);

    if (status)
        return status - 1;
    if (optind == argc) {
        fputs("sallyport policy remove: say which policies\n", stderr);
        return MISUSED;
    }
    for (int i = optind; i < argc; i++) {
        CLEANUP(client_fini) struct client client = {.fd = -1};
        json_t *answer = NULL;

        if (ask_call(&client, &ask,
                     json_pack("{s:s, s:s}", "verb", "policy.remove", "name", argv[i]),
                     &answer) < 0)
            status = FAILED;
        else
            printf("%s removed\n", argv[i]);
        json_decref(answer);
    }
    return status;
}
