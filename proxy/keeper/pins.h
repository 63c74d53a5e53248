/* pins: sets of BPF links and maps in a directory of a bpffs, which outlive the agent that put them
 * there.
 *
 * A set is a subdirectory; its name tells what is in it: the number of the abi, a digest of the
 * programs, and the cgroup they are attached to. So a set of the same name is the same, and can be
 * used as it is. It gets its name when it is whole: one that an agent died over is called "new".
 * Called by:  hooks.c; kernel/backend.c and options.c, for what they keep in the main set. */
#pragma once

#include <bpf/libbpf.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { PINS_NAME_MAX = 64 };
/* In the main set: the links of pods, proxy/kernel/options.h's. */
#define PINS_OPTIONS "options"

struct pins {                  /* a set in use */
    struct bpf_object *object; /* borrowed */
    struct bpf_object
        *base; /* whose maps are not of this set, though the object has them; or NULL */
    struct bpf_link **links; /* owned, links_max of them at most */
    size_t links_len, links_max;
    int unlinked; /* the program that has no link here (pins_has_link()); owned; -1: none */
};

/* What a set of this object's programs, whose file is given, is called. */
void pins_name(char out[PINS_NAME_MAX], const void *file, size_t size, uint64_t cgroup_id);

/* Opens a set's maps and links for an object that was opened, but not loaded: all but programs
 * that are not to be. -ENOENT: there is no
 * such set; anything else: it is no whole set, and what is wrong. */
int pins_adopt(struct pins *pins, const char *pin_dir, const char *name, uint64_t cgroup_id,
               struct err *err);
/* A map of a set of the same abi, which may be another build's, that is like the one that was
 * opened: a descriptor; negative: there is none. */
int pins_open_map(const char *pin_dir, const char *set, const struct bpf_map *like);
/* Gives a set that is not whole another name, by which pins_find_older() finds what is left. */
void pins_demote(const char *pin_dir, const char *name);
/* Pins what was loaded and attached. */
int pins_keep(const struct pins *pins, const char *pin_dir, const char *name, struct err *err);
/* Removes whatever has that name. */
void pins_remove(const char *pin_dir, const char *name);

/* Of each set one program has none: its own attach it, to a map or to each pod. */
bool pins_has_link(const struct bpf_program *program);
/* How a link is called: by its hook, "connect4"; one that traces by its program. */
const char *pins_link_name(const struct bpf_program *program);

/* Another agent's set, which may still hold what this one needs. -1: there is none. */
struct pins_older {
    char name[PINS_NAME_MAX];
    int pods_fd, hold_until_fd;
    int origins_fd, askers_fd; /* only of the same abi */
};
enum { PINS_OLDER_MAX = 4 };

/* Opens the sets other than this one; what is no set at all is removed, and told. */
size_t pins_find_older(const char *pin_dir, const char *name,
                       struct pins_older out[PINS_OLDER_MAX]);
void pins_older_fini(struct pins_older *older);
