/* signing: what leaves are signed with and servers verified against, loaded for a command. */
#pragma once

#include "certs/credentials.h"
#include "proxy/overlay.h"

/* ca_dir NULL: an authority is made. upstream_ca, further roots, may be NULL. Fills the overlay,
 * too: which files of this process's environment have the roots that programs here trusted before
 * we came. *out is the caller's. */
int signing_load(struct credentials **out, struct overlay *overlay, const char *ca_dir,
                 const char *upstream_ca, const char *node_name, struct err *err);
