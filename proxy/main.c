/* main: sets up what every command stands on, and picks the command. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/command/command.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} commands[] = {
    {"ca", command_ca, "make, show, publish and rotate the CA that signs certificates"},
    {"capture", command_capture, "write what a pod says inside TLS, or the keys to it, to a file"},
    {"compare", command_compare, "run a command on every route, and tell what each saw and took"},
    {"events", command_events, "follow what a running agent's pods do"},
    {"exec", command_exec, "run a command and show what it says over the network"},
    {"getevents", command_events, "the same as events"},
    {"keeper", command_keeper, NULL}, /* run's own */
    {"pods", command_pods, "tell, add and remove the pods of the running agent"},
    {"policy", command_policy, "check policy files"},
    {"probe", command_probe, "tell what this machine offers of what we need"},
    {"run", command_run, "the agent of this machine"},
    {"sessions", command_sessions, "the connections that are open in the running agent"},
    {"status", command_status, "how the running agent is"},
};

static int usage(FILE *out, int status)
{
    fputs("Usage: sallyport COMMAND [OPTION…]\n\nCommands:\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (commands[i].does)
            fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].does);
    fputs("\n'sallyport COMMAND --help' tells a command's options; --version the version.\n", out);
    return status;
}

/* Started without stdin, stdout or stderr, our own descriptors would take their numbers, and what
 * is meant for a person would go into them. Close-on-exec: the command finds them as we did. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    /* One heap for all threads: what a worker allocates, such as an event, another thread frees,
     * and a heap for each grows in steps for as long as the agent lives. */
    mallopt(M_ARENA_MAX, 1);
    if (argc < 2)
        return usage(stderr, 2);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0) {
        puts("sallyport " SALLYPORT_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout, 0);
    fprintf(stderr, "sallyport: there is no command '%s'\n", argv[1]);
    return usage(stderr, 2);
}
