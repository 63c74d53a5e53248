/* signing: what leaves are signed with and servers verified against, loaded for a command. */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "certs/credentials.h"
#include "proxy/overlay.h"

struct signing_source {
    const char *ca_dir;      /* NULL: an authority for this run alone */
    bool make;               /* ca_dir: put one there if there is none */
    const char *upstream_ca; /* further roots; may be NULL */
    const char *node_name;
};

/* Fills the overlay, too: which files of this process's environment have the roots that programs
 * here trusted before we came. *look_again: when ca_dir means something else though nothing in it
 * changed (ca_dir.h); 0: never. *out is the caller's. */
int signing_load(struct credentials **out, time_t *look_again, struct overlay *overlay,
                 const struct signing_source *source, struct err *err);
