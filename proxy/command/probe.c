/* probe: tell what this machine offers of what we may need. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "proxy/command/command.h"
#include "proxy/probe/probe.h"

static const char usage_text[] =
    "Usage: sallyport probe [OPTION…]\n"
    "\n"
    "Tries each thing that sallyport may need on this machine and shows, a line each, whether it\n"
    "is there and what follows if it is not; which BPF programs of others stand on the same "
    "hooks;\n"
    "and what can be done about traffic that bypasses the proxy. Nothing is left behind.\n"
    "\n"
    "  -o, --output compact|json  form of the report (compact)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0: 'sallyport exec' works here; 1: it does not; 2: wrong options.\n";

static int report(bool json)
{
    CLEANUP(probe_free) struct probe_report *found = NULL;
    CLEANUP(buffer_fini) struct buffer out = {0};
    struct err err;

    if (probe_run(&found, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    if (json)
        probe_render_json(&out, found);
    else
        probe_render_text(&out, found, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"));
    if (out.failed || fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0) {
        log_error("the report could not be written: %s",
                  out.failed ? "no memory" : strerror(errno));
        return 1;
    }
    return probe_exec_works(found) ? 0 : 1;
}

int command_probe(int argc, char **argv)
{
    static const struct option known[] = {
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    int option;

    argv[0] = (char *)"sallyport probe"; /* who complains of an option */
    while ((option = getopt_long(argc, argv, "o:h", known, NULL)) != -1)
        switch (option) {
        case 'o':
            json = strcmp(optarg, "json") == 0;
            if (!json && strcmp(optarg, "compact") != 0) {
                fprintf(stderr, "sallyport: -o %s: say compact or json\n", optarg);
                return 2;
            }
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        default: /* getopt has said what is wrong */
            fputs("'sallyport probe --help' tells the options.\n", stderr);
            return 2;
        }
    if (optind < argc) {
        fprintf(stderr, "sallyport: probe takes no '%s'\n", argv[optind]);
        return 2;
    }
    return report(json);
}
