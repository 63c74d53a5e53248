/* exec_options: what `sallyport exec` is asked for. */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXEC_PORTS_MAX = 64, EXEC_PASSTHROUGH_MAX = 64, EXEC_POLICIES_MAX = 64 };

struct exec_options { /* texts borrow from argv */
    bool json;
    const char *events_file, *ca_dir, *upstream_ca, *client_certs, *user, *runtime_dir;
    bool all_ports, loopback, ktls, agent;
    bool bare; /* compare's: the command as it is, without us */
    uint16_t ports[EXEC_PORTS_MAX];
    size_t ports_len; /* 0: the default ones */
    char *passthrough[EXEC_PASSTHROUGH_MAX];
    size_t passthrough_len;
    const char *policies[EXEC_POLICIES_MAX]; /* files, or directories of them */
    size_t policies_len;
    const char *route; /* of enum policy_route; NULL: not said */
    char **argv;
};

/* For commands that take these beside their own: getopt_long(3)'s table, closed by an empty one.
 * The numbers are below EXEC_OPTION_MAX. What is wrong was said. */
extern const struct option exec_options_known[];
enum { EXEC_OPTION_MAX = 512 };
int exec_options_take(struct exec_options *options, int option);
/* When all were taken; the command is what argv has left. */
int exec_options_finish(struct exec_options *options, int argc, char **argv);

/* 0: go on; else the exit status plus one, and what is wrong, or the help, was said. */
int exec_options_parse(struct exec_options *options, int argc, char **argv);
