#include "proxy/command/signing.h"

#include <errno.h>

#include "base/log.h"
#include "certs/ca_dir.h"

static int load_authority(struct ca_now *ca, const struct signing_from *from, struct err *err)
{
    int result;

    if (!from->ca_dir)
        return authority_new(&ca->signer, from->node_name, err);
    result = ca_dir_load(ca, from->ca_dir, err);
    if (result == -ENOENT && from->may_make_dir) {
        /* -EEXIST: somebody's, but not whole; what is wrong with it was said */
        result = ca_dir_init(from->ca_dir, from->node_name, err);
        if (result == 0 || result == -EEXIST)
            result = ca_dir_load(ca, from->ca_dir, err);
    }
    if (result == 0 && ca->warning[0])
        log_warn("%s", ca->warning);
    return result;
}

int signing_load(struct credentials **out, struct overlay *overlay, const struct signing_from *from,
                 time_t *look_again, struct err *err)
{
    CLEANUP(credentials_parts_fini) struct credentials_parts parts = {0};
    struct ca_now ca = {0};
    int result = load_authority(&ca, from, err);

    if (result < 0)
        return result;
    parts.authority = ca.signer;
    overlay_find(overlay);
    result = overlay_roots(overlay, from->upstream_ca, &parts.roots, err);
    if (result == 0)
        result = overlay_trust(overlay, from->upstream_ca, parts.trust, &parts.trust_len, err);
    if (result == 0)
        result = credentials_new(out, &parts, from->node_name, err);
    if (result == 0 && look_again)
        *look_again = ca.look_again;
    return result;
}
