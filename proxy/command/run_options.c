#include "proxy/command/run_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { LETTERS_MAX = 3 + 2 * CONFIG_KEYS_MAX, CONFIG = 256, REPLACE, FIRST_KEY };

static const char help_head[] =
    "Usage: sallyport run [OPTION…]\n"
    "\n"
    "The agent: runs in the foreground, serves the pods that are registered with it, and tells\n"
    "what they do. SIGTERM ends it. SIGHUP, or a changed file, makes it read its configuration "
    "and\n"
    "certificates anew: connections stay, and if anything is wrong all stays as it was. SIGUSR2\n"
    "starts the program anew, to take over (--replace).\n"
    "\n"
    "      --config FILE          read keys from FILE (YAML), named as the options are, in\n"
    "                             camelCase (/etc/sallyport/sallyport.yaml, if it is there)\n"
    "      --replace              take over from the agent that runs: no connection is refused, and\n"
    "                             it ends with its last one\n";
static const char help_end[] =
    "  -h, --help                 this text\n"
    "\n"
    "Options win over the file. 1: we failed, and said why; 2: the options are not right.\n";

static void show_help(void)
{
    enum { LEFT = 27 }; /* columns of what stands there */

    fputs(help_head, stdout);
    for (size_t i = 0; i < config_keys_len; i++) {
        const struct config_key *key = &config_keys[i];
        char left[64], letter[8] = "    ";

        if (key->letter)
            snprintf(letter, sizeof(letter), "-%c, ", key->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, key->option, key->form ? " " : "",
                 key->form ? key->form : "");
        if (strlen(left) >= LEFT)
            printf("  %s\n%*s", left, LEFT + 2, "");
        else
            printf("  %-*s", LEFT, left);
        fputs(key->help, stdout);
        if (key->preset)
            printf(" (%s)", key->preset);
        fputc('\n', stdout);
    }
    fputs(help_end, stdout);
}

static size_t key_of_letter(int letter)
{
    for (size_t i = 0; i < config_keys_len; i++)
        if (config_keys[i].letter == letter)
            return i;
    return config_keys_len;
}

/* The table's options as getopt_long(3) wants them. */
static void list_options(struct option known[CONFIG_KEYS_MAX + 4], char letters[LETTERS_MAX])
{
    *letters++ = '+';
    *letters++ = 'h';
    *known++ = (struct option){"help", no_argument, NULL, 'h'};
    *known++ = (struct option){"config", required_argument, NULL, CONFIG};
    *known++ = (struct option){"replace", no_argument, NULL, REPLACE};
    for (size_t i = 0; i < config_keys_len; i++) {
        const struct config_key *key = &config_keys[i];

        *known++ = (struct option){key->option, key->form ? required_argument : no_argument, NULL,
                                   FIRST_KEY + (int)i};
        if (key->letter) {
            *letters++ = key->letter;
            *letters++ = ':';
        }
    }
    *known = (struct option){NULL, 0, NULL, 0};
    *letters = 0;
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
    struct option known[CONFIG_KEYS_MAX + 4];
    char letters[LETTERS_MAX];
    CLEANUP(config_free) struct config *scratch = NULL;
    struct err err;
    int option;

    argv[0] = (char *)"sallyport run"; /* who complains of an option */
    list_options(known, letters);
    while ((option = getopt_long(argc, argv, letters, known, NULL)) != -1) {
        size_t key = option >= FIRST_KEY ? (size_t)(option - FIRST_KEY) : key_of_letter(option);

        if (option == 'h') {
            show_help();
            return 1;
        }
        if (option == '?') { /* getopt has said what is wrong */
            fputs("'sallyport run --help' tells the options.\n", stderr);
            return 3;
        }
        if (option == CONFIG) {
            options->config_file = optarg;
            continue;
        }
        if (option == REPLACE) {
            options->replace = true;
            continue;
        }
        if (options->args.len == CONFIG_ARGS_MAX) {
            fprintf(stderr, "sallyport run: more than %d options\n", CONFIG_ARGS_MAX);
            return 3;
        }
        options->args.all[options->args.len].key = key;
        options->args.all[options->args.len++].value = config_keys[key].form ? optarg : "true";
    }
    if (optind < argc) {
        fprintf(stderr, "sallyport run: '%s' is no option; commands are run by sallyport exec\n",
                argv[optind]);
        return 3;
    }
    if (config_new(&scratch, &err) < 0 || config_apply(scratch, &options->args, &err) < 0) {
        fprintf(stderr, "sallyport run: %s\n", err.text);
        return 3;
    }
    return 0;
}
