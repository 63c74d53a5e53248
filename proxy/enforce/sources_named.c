/* sources_named: the files that rules name (trustedCA, clientCertificate). They are read when a
 * connection first needs them, anew for each set of policies; so who changes one has all read. */
#include "base/log.h"
#include "proxy/enforce/sources_own.h"
#include "proxy/watch.h"

struct named {
    const char *paths[WATCH_PATHS_MAX];
    size_t len;
};

static void add(struct named *named, const char *path)
{
    if (path && named->len < WATCH_PATHS_MAX)
        named->paths[named->len++] = path;
}

static void add_egress(struct named *named, const struct policy_egress *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        for (size_t j = 0; j < list[i].to_ports_len; j++) {
            const struct policy_tls *tls = list[i].to_ports[j].tls;

            add(named, tls ? tls->trusted_ca : NULL);
            add(named, tls ? tls->client_certificate : NULL);
        }
}

void sources_watch_named(struct sources *sources, const struct policy_set *set)
{
    struct named named = {.len = 0};
    struct err err;

    for (size_t i = 0; i < set->len; i++)
        add_egress(&named, set->list[i]->egress, set->list[i]->egress_len);
    if (watch_set(sources->named, named.paths, named.len, &err) < 0)
        log_warn("%s; changed files that rules name may go unnoticed, a SIGHUP does not", err.text);
}
