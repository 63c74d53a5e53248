#include "proxy/command/signing.h"

int signing_load(struct credentials **out, struct overlay *overlay, const char *ca_dir,
                 const char *upstream_ca, const char *node_name, struct err *err)
{
    CLEANUP(credentials_parts_fini) struct credentials_parts parts = {0};
    int result;

    result = ca_dir ? authority_load(&parts.authority, ca_dir, err)
                    : authority_new(&parts.authority, node_name, err);
    if (result < 0)
        return result;
    overlay_find(overlay);
    result = overlay_roots(overlay, upstream_ca, &parts.roots, err);
    if (result == 0)
        result = overlay_trust(overlay, upstream_ca, parts.trust, &parts.trust_len, err);
    if (result == 0)
        result = credentials_new(out, &parts, node_name, err);
    return result;
}
