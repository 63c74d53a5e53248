/* signing: what leaves are signed with and servers verified against, loaded for a command. */
#pragma once

#include "certs/anchors.h"
#include "proxy/overlay.h"

struct signing {
    struct overlay overlay; /* of this process's environment */
    struct authority *authority;
    struct anchors anchors;
    X509_STORE *roots; /* what programs here trusted before we came, and upstream_ca */
};

/* ca_dir NULL: an authority is made. upstream_ca may be NULL. On failure, too, to be ended by
 * signing_fini; so must a zeroed one. */
int signing_init(struct signing *signing, const char *ca_dir, const char *upstream_ca,
                 const char *node_name, struct err *err);
void signing_fini(struct signing *signing);
