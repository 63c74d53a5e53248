#include "proxy/command/signing.h"

#include <errno.h>

#include "base/log.h"
#include "certs/ca_dir.h"

static int load_ca(struct ca_now *ca, const struct signing_source *source, struct err *err)
{
    int result;

    if (!source->ca_dir)
        return authority_new(&ca->signer, source->node_name, err);
    result = ca_dir_load(ca, source->ca_dir, err);
    if (result == -ENOENT && source->make) {
        result = ca_dir_init(source->ca_dir, source->node_name, err);
        if (result == 0)
            log_info("made a CA in %s", source->ca_dir);
        if (result == 0 || result == -EEXIST) /* somebody else was faster */
            result = ca_dir_load(ca, source->ca_dir, err);
    }
    return result;
}

int signing_load(struct credentials **out, time_t *look_again, struct overlay *overlay,
                 const struct signing_source *source, struct err *err)
{
    CLEANUP(credentials_parts_fini) struct credentials_parts parts = {0};
    struct ca_now ca = {0};
    int result = load_ca(&ca, source, err);

    if (result < 0)
        return result;
    parts.authority = ca.signer;
    overlay_find(overlay);
    result = overlay_roots(overlay, source->upstream_ca, &parts.roots, err);
    if (result == 0)
        result = overlay_trust(overlay, source->upstream_ca, parts.trust, &parts.trust_len, err);
    if (result == 0)
        result = credentials_new(out, &parts, source->node_name, err);
    if (result < 0)
        return result;
    *look_again = ca.look_again;
    if (ca.warning[0])
        log_warn("%s", ca.warning);
    return 0;
}
