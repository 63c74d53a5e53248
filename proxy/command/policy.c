/* policy: what may pass: checked, and told to the running agent. */
#include "proxy/command/policy.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/command/command.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *title, *does;
} verbs[] = {
    {"check", command_policy_check, "sallyport policy check",
     "tell all that is wrong with policy files"},
    {"apply", command_policy_apply, "sallyport policy apply",
     "put policies in force in the running agent"},
    {"list", command_policy_list, "sallyport policy list", "tell which are in force there"},
    {"explain", command_policy_explain, "sallyport policy explain",
     "tell what they would decide, and why"},
    {"remove", command_policy_remove, "sallyport policy remove",
     "take back what was applied there"},
};

static int usage(FILE *out, int status)
{
    fputs("Usage: sallyport policy VERB [OPTION…]\n\nVerbs:\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].does);
    fputs("\n'sallyport policy VERB --help' tells a verb's options.\n", out);
    return status;
}

int command_policy(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr, 2);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0) {
            argv[1] = (char *)verbs[i].title;
            return verbs[i].run(argc - 1, argv + 1);
        }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout, 0);
    fprintf(stderr, "sallyport policy: there is no '%s'\n", argv[1]);
    return usage(stderr, 2);
}
