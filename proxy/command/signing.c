#include "proxy/command/signing.h"

#include <errno.h>

#include "base/log.h"
#include "certs/ca_dir.h"
#include "certs/trust.h"

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

static int gather_roots(struct credentials_parts *parts, struct overlay *shown,
                        const char *upstream_ca, struct err *err)
{
    struct overlay *own = shown ? NULL : calloc(1, sizeof(*own)); /* large for a stack */
    CLEANUP(known_fini) struct known known = {0};
    struct overlay *overlay = shown ? shown : own;
    int result;

    if (!overlay)
        return err_set(err, -ENOMEM, "the trust of this machine");
    overlay_find(overlay);
    result = overlay_roots(overlay, upstream_ca, &known, &parts->roots, err);
    if (result == 0 && shown)
        result = overlay_trust(overlay, upstream_ca, &known, parts->trust, &parts->trust_len, err);
    if (result == 0 && !shown && upstream_ca)
        result = trust_roots_new(&parts->upstream, &upstream_ca, &(bool){true}, 1, &known, err);
    free(own);
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
    result = gather_roots(&parts, overlay, from->upstream_ca, err);
    if (result == 0 && from->client_certs)
        result = client_certs_load(&parts.clients, from->client_certs, err);
    if (result == 0)
        result = credentials_new(out, &parts, from->node_name, err);
    if (result == 0 && look_again)
        *look_again = ca.look_again;
    return result;
}
