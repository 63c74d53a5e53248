/* dial: the upstream leg: connect (begun before accept, as a rule), client handshake with the pod's
 * own SNI, verification against what the pod trusts. Only a good upstream leads to open.c. */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include "certs/mint.h"
#include "proxy/flow/steps.h"
#include "proxy/upstream.h"

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
    static const unsigned char http1[] = "\x08http/1.1";
    const char *host = flow->facts.where.host;
    SSL *ssl = SSL_new(flow->worker->upstream_ctx);
    X509_VERIFY_PARAM *param;
    char address[ADDR_TEXT_MAX], name[MINT_NAME_SIZE];

    if (!ssl || leg_secure(&flow->upstream, ssl, false) < 0)
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    if (SSL_set_app_data(ssl, flow) != 1)
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (host[0] && !SSL_set_tlsext_host_name(ssl, host))
        return err_set(&flow->why, -EINVAL, "'%s' cannot be asked for by TLS", host);
    /* as the leaf will spell it: without a closing dot. Some clients name an address by SNI, which
     * RFC 6066 section 3 forbids: still an address. */
    if (!mint_name_spell(asked_name(flow, address), name) ||
        (!X509_VERIFY_PARAM_set1_ip_asc(param, name) &&
         !X509_VERIFY_PARAM_set1_host(param, name, 0)))
        return err_set(&flow->why, -EINVAL, "'%s' cannot be checked by TLS", host);
    /* only what the program would have spoken: where it shares nothing with the server, it is to
     * learn so. judge.c has seen to it that we share a version and a suite with the program. */
    if (!suites_offer(ssl, flow->suites))
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    if (flow->version_min >= TLS1_3_VERSION)
        SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
    if (flow->version_max < TLS1_3_VERSION)
        SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    if (flow->offers_alpn && SSL_set_alpn_protos(ssl, http1, sizeof(http1) - 1) != 0)
        return err_set(&flow->why, -ENOMEM, "TLS with the upstream: out of memory");
    return 0;
}

int dial_alert(int upstream_alert, long verify_result)
{
    if (upstream_alert)
        return upstream_alert;
    switch (verify_result) {
    case X509_V_OK: /* a protocol failure, or the connection's */
        return SSL_AD_HANDSHAKE_FAILURE;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return SSL_AD_CERTIFICATE_EXPIRED;
    case X509_V_ERR_CERT_REVOKED:
        return SSL_AD_CERTIFICATE_REVOKED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_INVALID_CA:
        return SSL_AD_UNKNOWN_CA;
    case X509_V_ERR_INVALID_PURPOSE:
        return SSL_AD_UNSUPPORTED_CERTIFICATE;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return SSL_AD_BAD_CERTIFICATE;
    default:
        return SSL_AD_CERTIFICATE_UNKNOWN;
    }
}

int dial_choose_certificate(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    struct flow *flow = SSL_get_app_data(ssl);

    (void)cert;
    (void)key;
    flow->wants_certificate = true;
    return 0;
}

void dial_explain_alert(struct flow *flow)
{
    const char *alert = leg_alert_name(&flow->upstream);

    if (flow->wants_certificate)
        err_set(&flow->why, -EPROTO,
                "the server wants a client certificate, which is not ours to give: alert '%s'",
                alert);
    else
        err_set(&flow->why, -EPROTO, "the upstream's side: TLS alert '%s'", alert);
}

/* In TLS 1.3 the handshake is done for us before the server has looked at our having no
 * certificate. Once the pod is open it can be given no alert any more: so it waits for the server's
 * first sign (nearly all send tickets), though not for long. 0: go on; -EAGAIN; or why not. */
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
    return n < 0 ? err_sys(&flow->why, (int)n, "the upstream's side") : 0;
}

/* The pod learns by an alert what it would have found out itself; nothing of it went upstream. */
static enum flow_state refuse(struct flow *flow, int failure)
{
    long verified = flow->upstream.ssl ? SSL_get_verify_result(flow->upstream.ssl) : X509_V_OK;
    int alert = flow->upstream.alert;
    char address[ADDR_TEXT_MAX];

    if (alert && flow->wants_certificate)
        dial_explain_alert(flow);
    if (verified != X509_V_OK)
        err_set(&flow->why, -EPROTO, "the certificate for %s was refused: %s",
                asked_name(flow, address), X509_verify_cert_error_string(verified));
    report_tls(flow);
    open_refuse(flow, dial_alert(alert ? alert : failure, verified));
    return FLOW_CLOSING;
}

enum flow_state dial(struct flow *flow)
{
    int result = dial_connected(flow);

    if (result == -EAGAIN && flow->timed_out)
        result = err_set(&flow->why, -ETIMEDOUT, "connecting upstream took over 10 s");
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
    if (result < 0) {
        /* a lost connection is a lost connection for the pod, too */
        if (result == -ECONNRESET || result == -EPIPE) {
            report_tls(flow);
            flow->reset = true;
            return FLOW_CLOSING;
        }
        return refuse(flow, 0);
    }
    return FLOW_OPENING;
}
