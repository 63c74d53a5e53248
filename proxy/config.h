/* config: what `sallyport run` is to do: the config file's keys, which are its long options too.
 *
 * One table (config.c) says of each key its name, its option, its type and whether a reload may
 * change it; file, command line and help are read from it. The command line wins. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

enum { CONFIG_PORTS_MAX = 64, CONFIG_LISTEN_MAX = 16, CONFIG_ARGS_MAX = 256 };

enum config_output { CONFIG_COMPACT, CONFIG_JSON };

struct config_ports {
    bool all;
    uint16_t list[CONFIG_PORTS_MAX];
    size_t len; /* 0, and not all: the default ones */
};

struct config_listen {
    struct addr at[CONFIG_LISTEN_MAX];
    size_t len; /* 0: pods are steered by BPF */
};

struct config { /* owns its texts; those that may be missing are NULL then */
    char *ca, *upstream_ca;
    char *events_file;
    char *cgroup_root, *runtime_dir;
    char *node_name;
    int output;       /* enum config_output */
    unsigned workers; /* 0: one a CPU */
    struct config_ports ports;
    struct config_listen listen;
    bool loopback;
    int open_when_down; /* onAgentDown: 0 closed, 1 open */
};

/* What the command line set, in its order. */
struct config_args {
    struct {
        size_t key;        /* in the table */
        const char *value; /* borrowed from argv */
    } all[CONFIG_ARGS_MAX];
    size_t len;
};

/* Of one long option as getopt_long(3) wants it, and the table's words for the help. */
struct config_key {
    const char *name;   /* in the file: camelCase */
    const char *option; /* on the command line */
    char letter;        /* short for it, or 0 */
    const char *form;   /* of its value, for the help; NULL: none, a switch */
    const char *help;
    int (*read)(const struct config_key *key, const char *text, void *field, struct err *err);
    size_t field;             /* offset in struct config */
    const char *const *words; /* of a choice, NULL at the end */
    unsigned least, most;     /* of a number */
};

extern const struct config_key config_keys[];
extern const size_t config_keys_len;

/* Applies the command line; err says which option has which fault. *out is the caller's. */
int config_load(struct config **out, const struct config_args *args, struct err *err);
void config_free(struct config **config);
