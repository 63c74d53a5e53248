#include "proxy/command/signing.h"

int signing_init(struct signing *signing, const char *ca_dir, const char *upstream_ca,
                 const char *node_name, struct err *err)
{
    X509_STORE *trust[ANCHORS_MAX];
    size_t trust_len;
    int result;

    result = ca_dir ? authority_load(&signing->authority, ca_dir, err)
                    : authority_new(&signing->authority, node_name, err);
    if (result < 0)
        return result;
    overlay_find(&signing->overlay);
    result = overlay_roots(&signing->overlay, upstream_ca, &signing->roots, err);
    if (result == 0)
        result = overlay_trust(&signing->overlay, upstream_ca, trust, &trust_len, err);
    if (result == 0)
        result =
            anchors_init(&signing->anchors, signing->authority, node_name, trust, trust_len, err);
    return result;
}

void signing_fini(struct signing *signing)
{
    X509_STORE_free(signing->roots);
    anchors_fini(&signing->anchors);
    authority_free(&signing->authority);
}
