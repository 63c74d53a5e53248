/* report: a flow's events, made from its facts. The only file of this folder that knows what the
 * sinks want to hear. */
#include <openssl/err.h>
#include <string.h>

#include "base/clock.h"
#include "events/verdict.h"
#include "policy/jwt.h"
#include "proxy/flow/finding.h"
#include "proxy/flow/steps.h"
#include "proxy/kernel/stream.h"

uint64_t report_now(const struct flow *flow)
{
    return flow->said_ns ? flow->said_ns + clock_wall_ahead_ns() : flow_event_now();
}

struct flow_event *report_new(const struct flow *flow, enum flow_event_kind kind)
{
    const struct facts *facts = &flow->facts;
    struct flow_event *event = flow_event_new(kind, facts->who.process, facts->who.pod);

    if (!event)
        return NULL;
    event->time_ns = report_now(flow);
    event->src = facts->where.src;
    event->dst = facts->where.dst;
    event->socket_cookie = facts->where.socket_cookie;
    event->route = facts->route;
    event->visibility = facts->visibility;
    event->opaque = facts->opaque;
    event->client_refused = flow->refused;
    return event;
}

void report_emit(const struct flow *flow, struct flow_event **event)
{
    struct process *process = flow->facts.who.process;

    if (*event && !(*event)->process && process) /* known only since it began */
        (*event)->process = process_ref(process);
    bus_emit(flow->worker->producer, event);
}

static const char *why(const struct flow *flow, struct flow_event *event)
{
    return flow->why.text[0] ? flow_event_text(event, span_of_text(flow->why.text)) : NULL;
}

/* What the program's TLS is, as far as it was seen. */
static void note_tls(const struct flow *flow, struct sockets_flow *done)
{
    const SSL_CIPHER *cipher = flow->pod.ssl ? SSL_get_current_cipher(flow->pod.ssl) : NULL;

    if (flow->stream) {
        done->tls = kernel_stream_agreed(flow->stream, &done->tls_version, &done->tls_cipher);
        return;
    }
    done->tls = flow->version_max != 0;
    if (cipher) {
        done->tls_version = (uint16_t)SSL_version(flow->pod.ssl);
        done->tls_cipher = SSL_CIPHER_standard_name(cipher);
    } else if (flow->version_max < TLS1_2_VERSION) {
        done->tls_version = flow->version_max; /* or less: what is passed on says no more */
    }
}

void report_done(struct flow *flow)
{
    struct sockets_flow *done = flow->done;

    *done = (struct sockets_flow){
        .cookie = flow->origin.cookie,
        .dst = flow->origin.dst,
        .src_port = flow->origin.src.port,
        .route = flow->facts.route,
        .visibility = flow->facts.visibility,
        .opaque = flow->facts.opaque,
        .tx = flow->pod.rx,
        .rx = flow->pod.tx,
        .goes_on = flow->goes_on,
    };

    if (!done->tx && !done->rx) /* nothing passed, so nothing passed unread */
        done->visibility = VISIBILITY_UNKNOWN;

    note_tls(flow, done);
    done->refused = flow->refused;
    snprintf(done->error, sizeof(done->error), "%s", flow->why.text);
    sockets_flow_done(flow->worker->parts.sockets, &flow->done);
}

void report_early(const struct flow *flow, bool http2, bool undecided)
{
    struct sockets_flow *early = malloc(sizeof(*early));

    if (!early)
        return; /* another connection tells it */
    *early = (struct sockets_flow){
        .cookie = flow->origin.cookie,
        .dst = flow->origin.dst,
        .src_port = flow->origin.src.port,
        .route = flow->facts.route,
        .early = true,
        .http2 = http2,
        .undecided = undecided,
    };
    sockets_flow_done(flow->worker->parts.sockets, &early);
}

/* "TLSv1.3" as OpenSSL says it, "TLS1.3" as we do. */
static const char *version(struct flow_event *event, const SSL *ssl)
{
    const char *name = SSL_get_version(ssl);
    char text[16];

    if (strncmp(name, "TLSv", 4) != 0)
        return NULL;
    snprintf(text, sizeof(text), "TLS%.8s", name + 4);
    return flow_event_text(event, span_of_text(text));
}

static const char *name_text(struct flow_event *event, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = NULL;
    char *data;
    long len;

    event->incomplete |= !bio;
    /* RFC 2253, so that no name of a stranger's can look like two */
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_get_mem_data(bio, &data);
        text = flow_event_text(event, span_of(data, len > 0 ? (size_t)len : 0));
    }
    BIO_free(bio);
    return text;
}

static const char *time_text(struct flow_event *event, const ASN1_TIME *time)
{
    char text[32];
    struct tm tm;

    if (!ASN1_TIME_to_tm(time, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
        return NULL;
    return flow_event_text(event, span_of_text(text));
}

static const char *digest_text(struct flow_event *event, const X509 *cert)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned len = 0;

    if (!X509_digest(cert, EVP_sha256(), digest, &len)) {
        event->incomplete = true;
        return NULL;
    }
    for (unsigned i = 0; i < len; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
    return flow_event_text(event, span_of_text(text));
}

/* Empties OpenSSL's queue: what a certificate was asked for may be of no use in it, too. */
static bool ran_out_of_memory(void)
{
    bool any = false;
    unsigned long code;

    while ((code = ERR_get_error()))
        any |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return any;
}

void report_certificate(struct flow_event *event, const X509 *cert)
{
    ERR_clear_error();
    event->tls.subject = name_text(event, X509_get_subject_name(cert));
    event->tls.issuer = name_text(event, X509_get_issuer_name(cert));
    event->tls.not_after = time_text(event, X509_get0_notAfter(cert));
    event->tls.sha256 = digest_text(event, cert);
    event->incomplete |= ran_out_of_memory();
}

/* What crossed the network is what is told: the upstream's side, not ours with the program. */
static void fill_tls(struct flow_event *event, SSL *ssl, const struct client_cert *shown)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    const unsigned char *alpn;
    unsigned alpn_len;

    if (cipher && SSL_is_init_finished(ssl)) {
        event->tls.version = version(event, ssl);
        event->tls.cipher = flow_event_text(event, span_of_text(SSL_CIPHER_standard_name(cipher)));
        event->tls.resumed = SSL_session_reused(ssl);
    }
    ERR_clear_error();
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    if (alpn_len)
        event->tls.alpn = flow_event_text(event, span_of(alpn, alpn_len));
    if (cert)
        report_certificate(event, cert);
    if (shown)
        event->tls.client_certificate = name_text(event, X509_get_subject_name(shown->cert));
    event->incomplete |= ran_out_of_memory();
}

void report_tls(const struct flow *flow)
{
    struct flow_event *event = report_new(flow, FLOW_EVENT_TLS);

    if (event) {
        if (flow->facts.where.host[0])
            event->tls.sni = flow_event_text(event, span_of_text(flow->facts.where.host));
        if (flow->facts.ja4[0])
            event->tls.ja4 = flow_event_text(event, span_of_text(flow->facts.ja4));
        if (flow->upstream.ssl)
            fill_tls(event, flow->upstream.ssl, flow->shown);
        if (flow->stream)
            kernel_stream_describe_tls(flow->stream, event);
        event->error = why(flow, event);
        verdict_onto(flow, event);
    }
    report_emit(flow, &event);
}

const char *report_text(struct flow_event *event, struct span text)
{
    char *copy = text.data ? (char *)flow_event_text(event, text) : NULL; /* the event's own */

    if (copy)
        jwt_mask(copy);
    return copy;
}

static const char *copied(struct flow_event *event, const char *text)
{
    return text ? flow_event_text(event, span_of_text(text)) : NULL;
}

void report_finding(const struct flow *flow, const struct finding *finding)
{
    struct flow_event *event = report_new(flow, FLOW_EVENT_POLICY);
    const struct token *token = finding->token.account[0] ? &finding->token : NULL;

    if (event) {
        flow_event_set_verdict(event, finding->point, &finding->verdict);
        event->decision.host = report_text(event, span_of_text(finding->host));
        event->decision.method = report_text(event, span_of_text(finding->method));
        event->decision.path = report_text(event, span_of_text(finding->path));
        event->decision.pattern = copied(event, finding->pattern);
        event->decision.direction = finding->direction;
        event->decision.sha256 = finding->sha256[0] ? copied(event, finding->sha256) : NULL;
        event->decision.offset = finding->offset;
        event->decision.token_namespace = token ? copied(event, token->space) : NULL;
        event->decision.token_service_account = token ? copied(event, token->account) : NULL;
        event->decision.token_pod = token && token->pod[0] ? copied(event, token->pod) : NULL;
    }
    report_emit(flow, &event);
}

void report_policy(const struct flow *flow, enum policy_point point,
                   const struct policy_verdict *verdict, const struct facts_request *request)
{
    struct flow_event *event = report_new(flow, FLOW_EVENT_POLICY);

    if (event) {
        flow_event_set_verdict(event, point, verdict);
        if (flow->facts.where.host[0])
            event->decision.name = flow_event_text(event, span_of_text(flow->facts.where.host));
        if (request) {
            event->decision.host = report_text(event, span_of_text(request->host));
            event->decision.method = report_text(event, request->method);
            event->decision.path = report_text(event, request->path);
        }
    }
    report_emit(flow, &event);
}
