#include "proxy/flow/row.h"

#include <stdio.h>
#include <string.h>

#include "proxy/flow/flow.h"
#include "proxy/kernel/stream.h"

/* The upstream's: what crosses the network is what is told. */
static void describe_tls(struct flow_row *row, const SSL *ssl)
{
    const unsigned char *alpn;
    unsigned len;

    if (!ssl || !SSL_is_init_finished(ssl))
        return;
    row->version = SSL_version(ssl) == TLS1_3_VERSION ? "TLS1.3" : "TLS1.2";
    SSL_get0_alpn_selected(ssl, &alpn, &len);
    span_to_text(span_of(alpn, len), row->alpn, sizeof(row->alpn));
}

void flow_row_init(struct flow_row *row, const struct flow *flow)
{
    const struct facts *facts = &flow->facts;
    const char *host = facts->where.host[0] ? facts->where.host : flow->tunnel.host;

    *row = (struct flow_row){
        .process = process_ref(facts->who.process),
        .pod = pod_ref(facts->who.pod),
        .src = facts->where.src,
        .dst = facts->where.dst,
        .cookie = facts->where.socket_cookie,
        .cgroup_id = flow->origin.pod,
        .began_ns = flow->origin.time_ns,
        .tx = flow->pod.rx,
        .rx = flow->pod.tx,
        .route = facts->route,
        .visibility = facts->visibility,
        .opaque = facts->opaque,
        .state = flow_state_name(flow->state),
    };
    snprintf(row->host, sizeof(row->host), "%s", host);
    describe_tls(row, flow->upstream.ssl);
    if (!flow->upstream.ssl && flow->relay.http2)
        strcpy(row->alpn, "h2c");
    if (flow->stream)
        kernel_stream_describe_row(flow->stream, row);
}

void flow_row_fini(struct flow_row *row)
{
    process_unref(&row->process);
    pod_unref(&row->pod);
}
