/* open: the pod leg: a leaf for the asked name, and the server's side of the handshake. Only now is
 * the pod answered, so what it hears is what a good upstream allows. Leads to relay.c. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxy/flow/query.h"
#include "proxy/flow/steps.h"
#include "proxy/passthrough.h"

enum { PORT_DOT = 853 };

void open_refuse(struct flow *flow, int alert)
{
    /* level fatal; the record version that every client takes before it knows better */
    const uint8_t record[] = {21, 3, 3, 0, 2, 2, (uint8_t)alert};
    struct leg *pod = &flow->pod;

    if (pod->ssl) /* OpenSSL has sent its own */
        return;
    if (send(pod->fd, record, sizeof(record), MSG_NOSIGNAL) == (ssize_t)sizeof(record))
        pod->tx += sizeof(record);
}

int open_choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *in, unsigned in_len, void *arg)
{
    const struct flow *flow = SSL_get_app_data(ssl);
    const unsigned char *chosen;
    unsigned len;

    (void)arg;
    (void)in;
    (void)in_len;
    /* upstream was offered what the pod offers. A choice of something else is passed on like any
     * other: what to make of it is for the pod to say. */
    SSL_get0_alpn_selected(flow->upstream.ssl, &chosen, &len);
    if (!len)
        return SSL_TLSEXT_ERR_NOACK;
    if (open_relay_kind(span_of(chosen, len)) == RELAY_HTTP2)
        report_early(flow, true, false);
    *out = chosen;
    *out_len = (unsigned char)len;
    return SSL_TLSEXT_ERR_OK;
}

int open_staple(SSL *ssl, void *arg)
{
    unsigned char *response;

    (void)arg;
    return SSL_get_tlsext_status_ocsp_resp(ssl, &response) > 0 && response ? SSL_TLSEXT_ERR_OK
                                                                           : SSL_TLSEXT_ERR_NOACK;
}

/* The pod asked whether the certificate is revoked: it hears what upstream says of its own, and
 * concludes what it would have concluded, which for some programs is nothing. */
static int staple(struct flow *flow, SSL *ssl, bool *revoked)
{
    const struct session_facts *shown = &flow->resume.shown;
    X509_STORE *trust = tls_rules_trust(&flow->tls_rules);

    *revoked = false;
    if (!flow->asks_status)
        return 0;
    switch (store_use_staple(shown->authority, ssl, flow->upstream.ssl, shown->issuer,
                             trust ? trust : flow->credentials->roots, &flow->why)) {
    case STAPLE_FAILED:
        return -EIO;
    case STAPLE_REVOKED:
        *revoked = true;
        err_set(&flow->why, -EKEYREVOKED,
                "the server's certificate is revoked, says the OCSP response stapled to it");
        return 0;
    default:
        return 0;
    }
}

/* What its rules want of versions holds on this leg, too. */
static bool keep_versions(const struct tls_rules *rules, SSL *ssl)
{
    return (rules->version_min <= TLS1_2_VERSION ||
            SSL_set_min_proto_version(ssl, rules->version_min)) &&
           (!rules->version_max || SSL_set_max_proto_version(ssl, rules->version_max));
}

/* 0, or why not. */
static int secure(struct flow *flow, enum leaf_kind kind)
{
    struct worker *worker = flow->worker;
    SSL *ssl = SSL_new(worker->pod_ctx);
    X509 *upstream = SSL_get1_peer_certificate(flow->upstream.ssl);
    char address[ADDR_TEXT_MAX];
    const struct leaf_order order = {
        .authority = flow->resume.shown.authority,
        .kind = kind,
        .name = flow->by_its_names ? NULL : asked_name(flow, address),
        .upstream = upstream,
    };
    bool revoked;
    int result;

    if (!ssl || leg_secure(&flow->pod, ssl, true) < 0)
        result = err_set(&flow->why, -ENOMEM, "TLS with the program: out of memory");
    else if (SSL_set_app_data(ssl, flow) != 1 || !keep_versions(&flow->tls_rules, ssl))
        result = err_set(&flow->why, -ENOMEM, "TLS with the program: out of memory");
    else
        result = store_use_leaf(worker->parts.store, ssl, &order, &flow->why);
    if (result == 0)
        result = staple(flow, ssl, &revoked);
    if (result == 0 && !resume_bind(flow, ssl, revoked))
        result = err_set(&flow->why, -ENOMEM, "TLS with the program: out of memory");
    X509_free(upstream);
    if (result < 0)
        SSL_free(TAKE(flow->pod.ssl));
    return result;
}

/* What was agreed is what is spoken: bytes that are no HTTP are refused, not passed unread. */
enum relay_kind open_relay_kind(struct span agreed)
{
    static const struct {
        const char *protocol;
        enum relay_kind kind;
    } known[] = {
        {"", RELAY_UNDECIDED},
        {"dot", RELAY_DNS},
        {"http/1.1", RELAY_HTTP},
        {"http/1.0", RELAY_HTTP},
        {"h2", RELAY_HTTP2},
        {"grpc-exp", RELAY_HTTP2}, /* by another name, of gRPC libraries */
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (span_equal(agreed, span_of_text(known[i].protocol)))
            return known[i].kind;
    return RELAY_RAW;
}

/* Both handshakes are done: what was agreed is told, and relayed from here on. What was offered has
 * had its say, and can be long (64 kB), on a connection that lives for hours. */
static enum flow_state agreed(struct flow *flow)
{
    const unsigned char *chosen;
    enum relay_kind kind;
    unsigned len;

    SSL_get0_alpn_selected(flow->pod.ssl, &chosen, &len);
    kind = open_relay_kind(span_of(chosen, len));
    if (kind == RELAY_UNDECIDED && asked_port(flow) == PORT_DOT)
        kind = RELAY_DNS; /* few name servers and programs agree on "dot" */
    if (kind == RELAY_RAW) {
        facts_set_opaque(&flow->facts, OPAQUE_OTHER_PROTOCOL);
        if (!verdict_unseen_opaque(flow, OPAQUE_OTHER_PROTOCOL)) {
            report_tls(flow);
            return verdict_refused(flow);
        }
    }
    report_tls(flow);
    flow->why = (struct err){0}; /* a revocation is told; what fails from here on is not that */
    free(TAKE(flow->alpn));
    SSL_set_alpn_protos(flow->upstream.ssl, NULL, 0);
    relay_init(&flow->relay, kind);
    if (kind == RELAY_DNS)
        query_init(flow);
    return FLOW_RELAYING;
}

/* The program refused our certificate: what its policies say of that, and whether to spare it the
 * next time. Nothing of it has gone on. */
static enum flow_state refused(struct flow *flow)
{
    const struct facts_who *who = &flow->facts.who;
    char address[ADDR_TEXT_MAX];

    if (who->pod && who->process && verdict_learns(flow))
        passthrough_learn(flow->worker->parts.passthrough, who->pod->cgroup_id,
                          who->process->binary, asked_name(flow, address));
    return verdict_unseen(flow, "the program refused our certificate") ? FLOW_CLOSING
                                                                       : verdict_refused(flow);
}

enum flow_state open_pod(struct flow *flow)
{
    static const struct timeval soon = {.tv_usec = 10000};
    enum leaf_kind kind = flow->needs_rsa ? LEAF_RSA : LEAF_ECDSA;
    int result = 0;

    if (!flow->pod.ssl) { /* the key first: waiting for it is to cost nothing */
        result = store_ready(flow->worker->parts.store, kind, &flow->why);
        if (result == 0)
            result = secure(flow, kind);
    }
    if (result == -EAGAIN && !flow->timed_out) {
        event_add(&flow->again, &soon);
        return FLOW_OPENING;
    }
    if (result < 0) {
        if (result == -EAGAIN)
            err_set(&flow->why, -ETIMEDOUT, "making an RSA key took over 10 s");
        report_tls(flow);
        open_refuse(flow, SSL_AD_INTERNAL_ERROR);
        return FLOW_CLOSING;
    }
    result = leg_handshake(&flow->pod, &flow->why);
    if (result == -EAGAIN && !flow->timed_out)
        return FLOW_OPENING;
    if (result == 0) {
        leg_acknowledge(&flow->pod); /* its Finished: a server's session tickets would */
        return agreed(flow);
    }
    if (result == -EAGAIN)
        err_set(&flow->why, -ETIMEDOUT, "the program's TLS handshake took over 10 s");
    else if (refusal_note(flow))
        ;
    else if (flow->pod.alert)
        err_set(&flow->why, -EPROTO, "the program's side: TLS alert '%s'",
                leg_alert_name(&flow->pod));
    else
        err_wrap(&flow->why, "the program's side");
    report_tls(flow);
    flow->reset = result == -ECONNRESET && !flow->pod.at_end;
    return flow->refused ? refused(flow) : FLOW_CLOSING;
}
