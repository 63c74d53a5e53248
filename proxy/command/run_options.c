#include "proxy/command/run_options.h"

#include <getopt.h>
#include <stdio.h>

enum { KEYS_MAX = 64, CONFIG = 255, FIRST_KEY = 256 };

static void show_help(void)
{
    fputs("Usage: sallyport run [OPTION…]\n"
          "\n"
          "The agent: runs in the foreground, serves the pods that are registered with it, and\n"
          "tells what they do. SIGHUP reloads, SIGTERM ends it.\n"
          "\n"
          "      --config FILE          read these keys from FILE; options win over it\n",
          stdout);
    for (size_t i = 0; i < config_keys_len; i++) {
        const struct config_key *key = &config_keys[i];
        char left[64];

        snprintf(left, sizeof(left), "%c%c%s --%s %s", key->letter ? '-' : ' ',
                 key->letter ? key->letter : ' ', key->letter ? "," : " ", key->option,
                 key->form ? key->form : "");
        printf("  %-26s %s\n", left, key->help);
    }
    fputs("  -h, --help                 this text\n", stdout);
}

static size_t key_of_letter(int letter)
{
    for (size_t i = 0; i < config_keys_len; i++)
        if (config_keys[i].letter == letter)
            return i;
    return config_keys_len;
}

/* The table's options as getopt_long(3) wants them. */
static void list_options(struct option known[KEYS_MAX + 3], char letters[KEYS_MAX])
{
    *letters++ = '+';
    *letters++ = 'h';
    *known++ = (struct option){"help", no_argument, NULL, 'h'};
    *known++ = (struct option){"config", required_argument, NULL, CONFIG};
    for (size_t i = 0; i < config_keys_len && i < KEYS_MAX; i++) {
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
    struct option known[KEYS_MAX + 3];
    char letters[KEYS_MAX];
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
    return 0;
}
