#include "proxy/command/compare_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/compare/figures.h"

enum { HELPED = 1, MISUSED = 3, ROUNDS = 5 };

static const char usage_text[] =
    "Usage: sallyport compare [OPTION…] -- CMD [ARG…]\n"
    "\n"
    "Runs CMD on each route in turn, again and again: direct (without sallyport), passthrough,\n"
    "proxy and kernel; and tells side by side what each saw of it and what that took: time, CPU\n"
    "by whom, memory, how often a byte is encrypted. CMD must end by itself; it reads nothing,\n"
    "and what it writes is thrown away. Servers are not counted, even if they run here.\n"
    "\n"
    "      --rounds N             how often CMD runs on each route (5), at most 50; once more\n"
    "                             before that, to warm up. Below 4 no difference can be shown\n"
    "      --html FILE            write a page with charts there, too\n"
    "      --json FILE            write the report as JSON there, too\n"
    "  -o, --output text|json     form of the report (text)\n"
    "      --ktls                 as 'sallyport exec --help' tells it, on the kernel route alone\n"
    "  -h, --help                 this text\n"
    "\n"
    "--ca, --upstream-ca, --client-certificates, --ports, --loopback, --passthrough, --policy\n"
    "and --user are as for exec; of these, direct has --user alone.\n"
    "\n"
    "Exit status: 0; 1: CMD failed on a route, or we did; 2: wrong options.\n";

/* What a run is measured by is not for the user to choose; and there is no agent but its own. */
static const char *const not_ours[] = {"output", "events-file", "route",
                                       "agent",  "runtime-dir", "help"};

enum { HTML = EXEC_OPTION_MAX, JSON_FILE, HOW_OFTEN };
static const struct option own[] = {
    {"rounds", required_argument, NULL, HOW_OFTEN},
    {"html", required_argument, NULL, HTML},
    {"json", required_argument, NULL, JSON_FILE},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
};

enum { KNOWN_MAX = 40 };

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(not_ours); i++)
        if (strcmp(not_ours[i], name) == 0)
            return false;
    return true;
}

static void gather_known(struct option known[KNOWN_MAX])
{
    size_t len = ARRAY_SIZE(own);

    memset(known, 0, KNOWN_MAX * sizeof(*known));
    memcpy(known, own, sizeof(own));
    for (const struct option *theirs = exec_options_known; theirs->name; theirs++)
        if (is_ours(theirs->name) && len < KNOWN_MAX - 1)
            known[len++] = *theirs;
}

static int take_rounds(struct compare_options *options, const char *text)
{
    char *end;
    unsigned long rounds = strtoul(text, &end, 10);

    options->rounds = (unsigned)rounds;
    if (*text >= '0' && *text <= '9' && !*end && rounds >= 1 && rounds <= FIGURES_MAX)
        return 0;
    fprintf(stderr, "sallyport: --rounds %s: say a number from 1 to %d\n", text, FIGURES_MAX);
    return MISUSED;
}

/* As compare_options_parse(). */
static int take(struct compare_options *options, int option)
{
    switch (option) {
    case HOW_OFTEN:
        return take_rounds(options, optarg);
    case HTML:
        options->html = optarg;
        return 0;
    case JSON_FILE:
        options->json_file = optarg;
        return 0;
    case 'o':
        options->json = strcmp(optarg, "json") == 0;
        if (options->json || strcmp(optarg, "text") == 0)
            return 0;
        fprintf(stderr, "sallyport: -o %s: say text or json\n", optarg);
        return MISUSED;
    case 'h':
        fputs(usage_text, stdout);
        return HELPED;
    case '?': /* getopt has said what is wrong */
        fputs("'sallyport compare --help' tells the options.\n", stderr);
        return MISUSED;
    default:
        return exec_options_take(&options->exec, option) < 0 ? MISUSED : 0;
    }
}

int compare_options_parse(struct compare_options *options, int argc, char **argv)
{
    struct option known[KNOWN_MAX];
    int option, result;

    gather_known(known);
    *options = (struct compare_options){.rounds = ROUNDS};
    argv[0] = (char *)"sallyport compare"; /* who complains of an option */
    optind = 0;                            /* anew, and from the first one */
    while ((option = getopt_long(argc, argv, "+o:h", known, NULL)) != -1) {
        result = take(options, option);
        if (result)
            return result;
    }
    return exec_options_finish(&options->exec, argc, argv) < 0 ? MISUSED : 0;
}
