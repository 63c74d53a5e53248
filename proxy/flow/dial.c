/* dial: the upstream leg: connect (begun before accept, as a rule), client handshake with the pod's
 * own SNI, its protocols and what suites.c lets it offer, verification by verify.c. A good upstream
 * leads to open.c, one that is better off without us is passed on (dial_left_alone()). */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proxy/flow/steps.h"
#include "proxy/doors/upstream.h"

int dial_begin(struct flow *flow)
{
    struct leg *leg = &flow->upstream;
    int code = 0;

    if (leg->fd < 0) {
        /* owned by the leg from here on, watched by flow_new() */
        leg->fd = upstream_socket(flow->worker->parts.keeper, &flow->origin, &flow->why);
        code = leg->fd < 0 ? leg->fd : upstream_begin(leg->fd, &flow->origin, &flow->why);
    }
    leg->connecting = code == 0;
    return code;
}

int dial_connected(struct flow *flow)
{
    struct leg *leg = &flow->upstream;
    char address[ADDR_TEXT_MAX];
    int error = 0;
    socklen_t len = sizeof(error);

    if (!leg->connecting)
        return 0;
    if (!leg->writable)
        return -EAGAIN;
    getsockopt(leg->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error)
        return err_sys(&flow->why, -error, "connecting to %s",
                       addr_format(&flow->origin.dst, address));
    leg->connecting = false;
    return 0;
}

static int secure(struct flow *flow)
{
    const char *host = flow->facts.where.host;
    X509_STORE *trust = tls_rules_trust(&flow->tls_rules);
    SSL *ssl = SSL_new(flow->worker->upstream_ctx);

    if (!ssl || leg_secure(&flow->upstream, ssl, false) < 0)
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    if (SSL_set_app_data(ssl, flow) != 1 ||
        !SSL_set1_verify_cert_store(ssl, trust ? trust : flow->credentials->roots))
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    if (host[0] && !SSL_set_tlsext_host_name(ssl, host))
        return err_set(&flow->why, -EINVAL, "'%s' cannot be asked for by TLS", host);
    /* only what the program would have spoken: where it shares nothing with the server, it is to
     * learn so. judge.c has seen to it that we share a version and a suite with the program. */
    if (!suites_offer(ssl, flow->suites))
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    if (flow->version_min >= TLS1_3_VERSION)
        SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
    if (flow->version_max < TLS1_3_VERSION)
        SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    /* only where the pod asks: what is stapled is for it to judge, see open.c */
    if (flow->asks_status && !SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp))
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    if (flow->alpn && SSL_set_alpn_protos(ssl, flow->alpn, (unsigned)flow->alpn_len) != 0)
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    resume_offer(flow, ssl);
    return 0;
}

enum opaque dial_left_alone(const struct dial_failure *failure)
{
    if (failure->verified != X509_V_OK)
        return OPAQUE_NO_REASON;
    if (failure->wants_certificate && (failure->alert || failure->lost))
        return OPAQUE_CLIENT_CERT;
    if ((failure->old || failure->alert == SSL_AD_PROTOCOL_VERSION) &&
        failure->version_min < TLS1_2_VERSION)
        return OPAQUE_OLD_TLS;
    return OPAQUE_NO_REASON;
}

int dial_alert(const struct dial_failure *failure)
{
    if (failure->alert)
        return failure->alert;
    if (failure->verified != X509_V_OK)
        return verify_alert(failure->verified);
    return failure->old ? SSL_AD_PROTOCOL_VERSION : SSL_AD_HANDSHAKE_FAILURE;
}

/* What is asked of us here has proven to be the server of that name: its certificate was verified
 * before. One that was asked by its address alone, and has other names, has proven nothing. */
int dial_choose_certificate(SSL *ssl, void *arg)
{
    struct flow *flow = SSL_get_app_data(ssl);
    const struct client_cert *of_rule = tls_rules_client(&flow->tls_rules);
    char address[ADDR_TEXT_MAX];

    (void)arg;
    flow->wants_certificate = true;
    flow->shown = NULL;
    if (!flow->by_its_names)
        flow->shown =
            of_rule ? of_rule
                    : client_certs_find(flow->credentials->clients, asked_name(flow, address));
    return !flow->shown ||
           SSL_use_cert_and_key(ssl, flow->shown->cert, flow->shown->key, flow->shown->chain, 1);
}

void dial_explain_alert(struct flow *flow)
{
    const char *alert = leg_alert_name(&flow->upstream);

    if (flow->shown)
        err_set(&flow->why, -EPROTO, "the server refused the client certificate for %s: alert '%s'",
                flow->shown->name, alert);
    else if (flow->wants_certificate)
        err_set(&flow->why, -EPROTO,
                "the server wants a client certificate, which is not ours to give: alert '%s'",
                alert);
    else
        err_set(&flow->why, -EPROTO, "the upstream's side: TLS alert '%s'", alert);
}

/* In TLS 1.3 the handshake is done for us before the server has looked at our certificate, or at
 * our having none. Once the pod is open it can be given no alert any more: so it waits for the
 * server's first sign (nearly all send tickets), though not for long. 0: go on; -EAGAIN; or why
 * not. */
static int await_sign(struct flow *flow)
{
    static const struct timeval most = {.tv_usec = 500000};
    struct leg *leg = &flow->upstream;
    ssize_t n;

    if (!flow->wants_certificate || SSL_version(leg->ssl) < TLS1_3_VERSION)
        return 0;
    if (!flow->rx_opened) {
        flow->rx_opened = leg->rx;
        event_add(&flow->timer, &most);
    }
    n = leg_peek(leg);
    if (n == -EAGAIN)
        return flow->timed_out || leg->rx > flow->rx_opened ? 0 : -EAGAIN;
    if (n == 0) /* hung up: some say so like this that they want a certificate */
        n = -ECONNRESET;
    return n < 0 ? err_sys(&flow->why, (int)n, "the upstream's side") : 0;
}

/* The pod learns by an alert what it would have found out itself; nothing of it went upstream. */
static enum flow_state refuse(struct flow *flow, int alert)
{
    report_tls(flow);
    open_refuse(flow, alert);
    return FLOW_CLOSING;
}

/* The pod's bytes were only looked at, so over a fresh connection they go whole. Not twice in a
 * flow: nothing leads back from there. */
static enum flow_state leave_alone(struct flow *flow, enum opaque why)
{
    flow->why = (struct err){0}; /* nothing of theirs has failed yet */
    facts_set_opaque(&flow->facts, why);
    if (!verdict_unseen_opaque(flow, why))
        return verdict_refused(flow);
    flow->facts.route = ROUTE_PASSTHROUGH;
    report_tls(flow);
    if (flow_redial(flow) == 0)
        return pass_on(flow);
    flow->reset = true;
    return FLOW_CLOSING;
}

/* It may be the session that upstream cannot bear: nothing of the pod's was sent yet. */
static enum flow_state dial_afresh(struct flow *flow)
{
    flow->why = (struct err){0};
    resume_give_up(flow);
    if (flow_redial(flow) == 0)
        return FLOW_DIALLING;
    flow->reset = true;
    return FLOW_CLOSING;
}

static enum flow_state failed(struct flow *flow, int result)
{
    const struct leg *leg = &flow->upstream;
    const struct dial_failure failure = {
        .alert = leg->alert,
        .old = leg->reason == SSL_R_UNSUPPORTED_PROTOCOL,
        .lost = result == -ECONNRESET || result == -EPIPE,
        .verified = SSL_get_verify_result(leg->ssl),
        .wants_certificate = flow->wants_certificate && !flow->shown,
        .version_min = flow->version_min,
    };
    enum opaque why = dial_left_alone(&failure);
    char address[ADDR_TEXT_MAX];

    if (flow->resume.offered && failure.verified == X509_V_OK && !flow->tunnel.host[0])
        return dial_afresh(flow);
    if (why && !flow->tunnel.host[0]) /* there is no second way through another's tunnel */
        return leave_alone(flow, why);
    if (failure.lost) { /* a lost connection is a lost connection for the pod, too */
        report_tls(flow);
        flow->reset = !leg->at_end;
        return FLOW_CLOSING;
    }
    if (failure.verified != X509_V_OK && !verdict_untrusted(flow, failure.verified))
        return verdict_refused(flow);
    if (failure.verified != X509_V_OK)
        err_set(&flow->why, -EPROTO, "the certificate for %s was refused: %s",
                asked_name(flow, address), verify_words(failure.verified, flow->bad_depth));
    else if (failure.alert)
        dial_explain_alert(flow);
    return refuse(flow, dial_alert(&failure));
}

enum flow_state dial(struct flow *flow)
{
    int result = dial_connected(flow);

    if (result == -EAGAIN && flow->timed_out)
        result = err_set(&flow->why, -ETIMEDOUT, "connecting upstream took over 10 s");
    if (result == -EAGAIN || result == 0) {
        int lost = leg_error(&flow->pod);

        if (lost < 0)
            result = err_sys(&flow->why, lost, "the program's side");
    }
    if (result == -EAGAIN)
        return FLOW_DIALLING;
    if (result < 0) {
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (!flow->upstream.ssl && secure(flow) < 0)
        return refuse(flow, SSL_AD_INTERNAL_ERROR);
    result = leg_handshake(&flow->upstream, &flow->why);
    if (result == 0)
        result = await_sign(flow);
    if (result == -EAGAIN && !flow->timed_out)
        return FLOW_DIALLING;
    if (result == -EAGAIN)
        err_set(&flow->why, -ETIMEDOUT, "the upstream's TLS handshake took over 10 s");
    if (result < 0)
        return failed(flow, result);
    resume_learn(flow, flow->upstream.ssl);
    return verdict_session(flow, (uint16_t)SSL_version(flow->upstream.ssl),
                           SSL_CIPHER_standard_name(SSL_get_current_cipher(flow->upstream.ssl)))
               ? FLOW_OPENING
               : verdict_refused(flow);
}
