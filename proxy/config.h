/* config: what `sallyport run` is to do: the config file's keys, which are its long options too.
 *
 * One table (config_keys.c) says of each key its name, its option, its type and whether a reload
 * may change it; file, command line and help are read from it. The command line wins.
 * Called by:  command/run.c, at the start and at every reload. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "policy/fault.h"

enum {
    CONFIG_PORTS_MAX = 64,
    CONFIG_NAMES_MAX = 1024,
    CONFIG_LISTEN_MAX = 16,
    CONFIG_POLICIES_MAX = 48, /* each is watched: WATCH_PATHS_MAX */
    CONFIG_KEYS_MAX = 48,     /* of the table */
    CONFIG_ARGS_MAX = 256,
};

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

struct config_names {
    char **list;
    size_t len;
};

struct config { /* owns its texts; those that may be missing are NULL then */
    int output; /* enum config_output */
    char *events_file;
    uint64_t events_file_max_size; /* 0: no bound */
    unsigned events_file_backups;
    char *ca, *upstream_ca;
    struct config_listen listen;
    struct config_ports ports;
    bool loopback;
    int open_when_down; /* onAgentDown: 0 closed, 1 open */
    int route;          /* enum policy_route */
    struct config_names passthrough;
    struct config_names policy; /* files, and directories of them */
    char *client_certificates;
    unsigned workers; /* 0: one a CPU */
    char *cgroup_root, *runtime_dir;
    char *admin_address; /* "": none */
    unsigned drain_timeout_ms;
    bool log_json;
    char *node_name;
    struct mark where[CONFIG_KEYS_MAX]; /* of each key in the file; line 0: not there */
};

struct config_key;

struct config_type {
    size_t size; /* of the field, all bytes of which are zero where nothing was said */
    bool list;   /* of any number of items, which are read one by one */
    /* Adds to, or sets, the field; err says what is wrong behind the key's name. */
    int (*read)(const struct config_key *key, const char *text, void *field, struct err *err);
    void (*free)(void *field);                      /* NULL: it owns nothing */
    bool (*same)(const void *field, const void *b); /* NULL: the same bytes */
};

struct config_key {
    const char *name;   /* in the file: camelCase */
    const char *option; /* on the command line */
    char letter;        /* short for it, or 0 */
    const char *form;   /* of its value, for the help; NULL: none, a switch */
    const char *help;
    const struct config_type *type;
    size_t field;             /* offset in struct config */
    bool live;                /* a reload may change it */
    const char *preset;       /* where nobody says otherwise; NULL: nothing */
    const char *const *words; /* of a choice, NULL at the end */
    unsigned least, most;     /* of a number, or of a duration in ms */
};

extern const struct config_key config_keys[];
extern const size_t config_keys_len;

/* What the command line set, in its order. */
struct config_args {
    struct {
        size_t key;        /* in the table */
        const char *value; /* borrowed from argv; a list's items with commas between */
    } all[CONFIG_ARGS_MAX];
    size_t len;
};

extern const char config_default_file[]; /* which need not be there */

struct config_source {
    const char *file; /* NULL: the default one, if it is there */
    const struct config_args *args;
};

/* Reads all anew. running, if not NULL, is in force, and a key that cannot change while the agent
 * runs must be as it is there. *out, the caller's, only on success. On failure err says it in a
 * sentence, and *story, the caller's, what is wrong with the file, fault by fault, a line each with
 * the line it is about; it is NULL where the sentence says all. */
int config_load(struct config **out, const struct config_source *source,
                const struct config *running, char **story, struct err *err);
void config_free(struct config **config);

/* The two halves, pure. config_new: the presets. */
int config_new(struct config **out, struct err *err);
void config_read(struct config *config, struct span bytes, struct faults *faults);
int config_apply(struct config *config, const struct config_args *args, struct err *err);
/* Adds a fault for each key that is otherwise in running and cannot change; where there are faults
 * already, of those only that the file has. */
void config_compare(const struct config *config, const struct config *running,
                    struct faults *faults);
