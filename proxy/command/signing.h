/* signing: what leaves are signed with and servers verified against, loaded for a command. */
#pragma once

#include "certs/credentials.h"
#include "proxy/overlay.h"

struct signing_from {
    const char *ca_dir;       /* NULL: an authority is made for this run */
    bool may_make_dir;        /* a CA is put there if there is none */
    const char *upstream_ca;  /* further roots; may be NULL */
    const char *client_certs; /* directory of client_certs.h; may be NULL */
    const char *node_name;
};

/* overlay is filled, too: which files of this process's environment have the roots that programs
 * here trusted before we came, and in copies of which ours are to be shown (anchors.h). NULL: pods
 * read one bundle, that of the CA, which therefore signs for every server. *out is the caller's.
 * *look_again, unless NULL: when they are to be loaded anew although no file has changed (the CA
 * that was published begins to sign, or this one expires); 0: never. What the CA's owner should
 * know goes to the log. */
int signing_load(struct credentials **out, struct overlay *overlay, const struct signing_from *from,
                 time_t *look_again, struct err *err);
