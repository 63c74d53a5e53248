#include "proxy/command/ca_options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const char usage_text[] =
    "Usage: sallyport ca init|show|bundle|rotate [OPTION…]\n"
    "\n"
    "  init [DIR]  make a CA: tls.crt, tls.key, ca.crt; what is there already is left as it is\n"
    "  show        who signs, who comes next, whose root is still to be trusted\n"
    "  bundle      in PEM, every root that pods must trust\n"
    "  rotate      publish the next CA in the bundle; it signs when the overlap is over, and the\n"
    "              root of the one before stays in the bundle until it expires\n"
    "\n"
    "      --ca DIR               its directory ($STATE_DIRECTORY/ca, /var/lib/sallyport/ca)\n"
    "      --overlap TIME         rotate: how long pods have to take up the next root, such as\n"
    "                             90m, 24h or 7d; at most 30d (24h)\n"
    "      --now                  rotate: sign with the next CA at once\n"
    "  -o, --output compact|json  show: form of the report (compact)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0: done; 1: not done, and why was said; 2: wrong options.\n";

const char *ca_default_dir(void)
{
    static char dir[PATH_MAX];
    const char *state = getenv("STATE_DIRECTORY"); /* several have colons between them */
    int len = state ? (int)strcspn(state, ":") : 0;

    if (!len || len >= PATH_MAX - 3)
        return "/var/lib/sallyport/ca";
    snprintf(dir, sizeof(dir), "%.*s/ca", len, state);
    return dir;
}

bool ca_duration_parse(const char *text, time_t max, time_t *out)
{
    static const struct {
        char name;
        time_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    time_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9' && number <= max; at++)
        number = number * 10 + (*at - '0');
    for (size_t i = 0; at > text && i < ARRAY_SIZE(units); i++)
        if (*at == units[i].name && !at[1] && number <= max / units[i].seconds) {
            *out = number * units[i].seconds;
            return true;
        }
    return false;
}

static bool parse_action(struct ca_options *options, const char *word)
{
    static const char *const names[] = {
        [CA_INIT] = "init",
        [CA_SHOW] = "show",
        [CA_BUNDLE] = "bundle",
        [CA_ROTATE] = "rotate",
    };

    for (size_t i = 0; word && i < ARRAY_SIZE(names); i++)
        if (strcmp(word, names[i]) == 0) {
            options->action = (enum ca_action)i;
            return true;
        }
    if (word)
        fprintf(stderr, "sallyport: ca knows no '%s'; say init, show, bundle or rotate\n", word);
    else
        fputs("sallyport: say what to do: ca init, show, bundle or rotate\n", stderr);
    return false;
}

static bool belong(const struct ca_options *options, bool has_overlap, bool has_output)
{
    if (options->action != CA_ROTATE && (has_overlap || options->at_once))
        fputs("sallyport: --overlap and --now are for 'ca rotate'\n", stderr);
    else if (has_overlap && options->at_once)
        fputs("sallyport: --now leaves no --overlap; say one of them\n", stderr);
    else if (options->action != CA_SHOW && has_output)
        fputs("sallyport: --output is for 'ca show'\n", stderr);
    else
        return true;
    return false;
}

int ca_options_parse(struct ca_options *options, int argc, char **argv)
{
    enum { CA = 256, OVERLAP, NOW };
    static const struct option known[] = {
        {"ca", required_argument, NULL, CA}, {"overlap", required_argument, NULL, OVERLAP},
        {"now", no_argument, NULL, NOW},     {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},    {NULL, 0, NULL, 0},
    };
    bool has_overlap = false, has_output = false;
    int option;

    *options = (struct ca_options){.overlap = 86400};
    argv[0] = (char *)"sallyport ca"; /* who complains of an option */
    while ((option = getopt_long(argc, argv, "o:h", known, NULL)) != -1)
        switch (option) {
        case CA:
            options->dir = optarg;
            break;
        case OVERLAP:
            has_overlap = true;
            if (ca_duration_parse(optarg, CA_OVERLAP_MAX, &options->overlap))
                break;
            fprintf(stderr,
                    "sallyport: --overlap %s: say a time such as 90m, 24h or 7d, at most %dd\n",
                    optarg, CA_OVERLAP_MAX / (24 * 3600));
            return 3;
        case NOW:
            options->at_once = true;
            break;
        case 'o':
            has_output = true;
            options->json = strcmp(optarg, "json") == 0;
            if (options->json || strcmp(optarg, "compact") == 0)
                break;
            fprintf(stderr, "sallyport: -o %s: say compact or json\n", optarg);
            return 3;
        case 'h':
            fputs(usage_text, stdout);
            return 1;
        default: /* getopt has said what is wrong */
            fputs("'sallyport ca --help' tells the options.\n", stderr);
            return 3;
        }
    if (!parse_action(options, argv[optind]) || !belong(options, has_overlap, has_output))
        return 3;
    optind++;
    if (options->action == CA_INIT && !options->dir && optind < argc)
        options->dir = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "sallyport: '%s' is one word too many\n", argv[optind]);
        return 3;
    }
    if (!options->dir)
        options->dir = ca_default_dir();
    return 0;
}
