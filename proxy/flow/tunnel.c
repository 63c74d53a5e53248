#include "proxy/flow/tunnel.h"

#include <errno.h>
#include <string.h>

#include "proxy/flow/steps.h"

void tunnel_bare(const char *host, char out[AUTHORITY_HOST_MAX])
{
    size_t len = strlen(host);

    if (host[0] == '[') {
        host++;
        len -= 2;
    }
    memcpy(out, host, len);
    out[len] = 0;
}

void tunnel_asked(struct tunnel *tunnel, const struct http1_head *head, const uint8_t *base)
{
    const uint8_t *end = base + head->target_at + head->target_len, *at = end;
    char host[sizeof(tunnel->host)];

    if (!http1_authority(head, base, host, sizeof(host)))
        return; /* http1_rules lets none through that has no host and port */
    tunnel_bare(host, tunnel->host);
    while (at[-1] != ':')
        at--;
    for (tunnel->port = 0; at < end; at++)
        tunnel->port = (uint16_t)(tunnel->port * 10 + (*at - '0'));
}

bool tunnel_can_enter(const struct flow *flow)
{
    return !flow->pod.ssl && !flow->upstream.ssl;
}

/* Bytes behind the CONNECT, or behind its answer, go back to be looked at in their turn. */
static int unread(struct leg *leg, const struct pipeline *line)
{
    return leg_unread(leg, span_of(line->data + line->ready, line->len - line->ready));
}

enum flow_state tunnel_enter(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (unread(&flow->pod, &relay->up) < 0 || unread(&flow->upstream, &relay->down) < 0) {
        err_set(&flow->why, -ENOMEM, "a tunnel: out of memory");
        flow->reset = true;
        return FLOW_CLOSING;
    }
    flow->tunnel.requests += relay->requests;
    relay_fini(relay, flow->worker);
    memset(relay, 0, sizeof(*relay));
    flow->facts.where.host[0] = 0;
    flow->facts.ja4[0] = 0;
    flow->version_max = 0;
    flow->facts.visibility = VISIBILITY_UNKNOWN;
    flow->facts.opaque = OPAQUE_NO_REASON;
    return FLOW_MEETING;
}
