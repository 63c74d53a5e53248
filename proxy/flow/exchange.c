#include "proxy/flow/exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <strings.h>

#include "certs/fit.h"
#include "proxy/flow/carried.h"
#include "proxy/flow/inspection.h"
#include "proxy/flow/steps.h"
#include "proxy/wire/authority.h"

struct span exchange_path(struct span target)
{
    const uint8_t *scheme, *end;

    if (!target.len)
        return target;
    scheme = target.data[0] == '/' ? NULL : memmem(target.data, target.len, "://", 3);
    if (scheme) {
        size_t skip = (size_t)(scheme - target.data) + 3;

        while (skip < target.len && target.data[skip] != '/' && target.data[skip] != '?')
            skip++;
        if (skip == target.len || target.data[skip] == '?') /* a slash behind it is the query's */
            return BYTES("/");
        target = span_of(target.data + skip, target.len - skip);
    }
    end = memchr(target.data, '?', target.len);
    return end ? span_of(target.data, (size_t)(end - target.data)) : target;
}

/* ---- the verdict ---- */

enum { HOST_MAX = AUTHORITY_HOST_MAX };

/* Without the brackets of an IPv6 address and one closing dot. */
static const char *bare(const char *host, char out[HOST_MAX])
{
    size_t len = strlen(host);

    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (len && host[len - 1] == '.') {
        len--;
    }
    if (!span_to_text(span_of(host, len), out, HOST_MAX))
        out[0] = 0;
    return out;
}

static bool same_address(const char *a, const char *b)
{
    uint8_t x[16], y[16];

    return inet_pton(AF_INET6, a, x) == 1 && inet_pton(AF_INET6, b, y) == 1 &&
           memcmp(x, y, sizeof(x)) == 0;
}

/* No wildcards, and nothing for a host that is too long to be one. */
static bool same_host(const char *name, const char *host)
{
    char a[HOST_MAX], b[HOST_MAX];

    bare(name, a);
    bare(host, b);
    return a[0] && (strcasecmp(a, b) == 0 || same_address(a, b));
}

void exchange_name(const struct flow *flow, struct facts_request *request,
                   char scratch[ADDR_TEXT_MAX])
{
    const X509 *cert = !flow->facts.where.host[0] && flow->upstream.ssl
                           ? SSL_get0_peer_certificate(flow->upstream.ssl)
                           : NULL;
    char host[HOST_MAX];

    request->name = asked_name(flow, scratch);
    request->fits = cert && request->host && fit_name(cert, bare(request->host, host)) != FIT_NOT;
}

/* An upstream that has several names could take a request for one that nobody was asked about. A
 * connection in the clear has no name, and CONNECT asks for another connection. */
static bool outside(const struct facts *facts, const struct facts_request *request)
{
    bool connect = span_equal(request->method, BYTES("CONNECT")) && !request->upgrade.len;

    return facts->visibility == VISIBILITY_TERMINATED && request->name && request->host &&
           !connect && !request->fits && !same_host(request->name, request->host);
}

/* Where a pseudo-header says whom it is for, Host must not say another (RFC 9113 section 8.3.1):
 * which of them upstream believes is not for us to guess. */
static bool contradicts(const struct facts_request *request)
{
    struct authority_parts host;
    struct span text;

    if (!request->name || !request->host)
        return false;
    text = facts_find_field(request->fields, request->fields_len, "host");
    return text.data && (!authority_parse(text, &host) || !same_host(host.host, request->host));
}

struct exchange_decision exchange_judge(const struct facts *facts,
                                        const struct facts_request *request)
{
    if (contradicts(request))
        return (struct exchange_decision){VERDICT_DENY, 400, "Host is not :authority"};
    if (outside(facts, request))
        return (struct exchange_decision){VERDICT_DENY, 421,
                                          "the authority is not whom the connection is with"};
    return (struct exchange_decision){.verdict = VERDICT_ALLOW};
}

/* ---- what is told ---- */

/* When what is being told was said. */
static uint64_t when(const struct flow *flow)
{
    return flow->said_ns ? flow->said_ns : clock_ns();
}

static const char *copy(struct flow_event *event, struct span text)
{
    return text.data ? flow_event_text(event, text) : NULL;
}

static struct flow_event_header *copy_fields(struct flow_event *event,
                                             const struct facts_field *fields, size_t fields_len,
                                             size_t *len)
{
    struct flow_event_header *headers = flow_event_headers(event, fields_len);

    *len = headers ? fields_len : 0;
    for (size_t i = 0; i < *len; i++) {
        headers[i].key = flow_event_text(event, fields[i].name);
        headers[i].value = report_text(event, fields[i].value);
    }
    return headers;
}

static const char *copy_host(struct flow_event *event, const struct flow *flow, const char *host)
{
    if (host)
        return flow_event_text(event, span_of_text(host));
    return flow->facts.where.host[0] ? flow_event_text(event, span_of_text(flow->facts.where.host))
                                     : NULL;
}

void exchange_begin(struct flow *flow, struct exchange *exchange,
                    const struct facts_request *request)
{
    struct flow_event *event = report_new(flow, FLOW_EVENT_HTTP);

    *exchange = (struct exchange){.event = event, .sent_ns = when(flow)};
    if (!event) {
        report_emit(flow, &exchange->event);
        return;
    }
    exchange->carried = carried_new(flow, request);
    event->http.host = copy_host(event, flow, request->host);
    event->http.method = copy(event, request->method);
    event->http.url = report_text(event, request->url);
    event->http.path = report_text(event, request->path);
    event->http.protocol = request->protocol;
    event->http.stream = request->stream;
    event->http.request_headers =
        copy_fields(event, request->fields, request->fields_len, &event->http.request_headers_len);
}

void exchange_inspect(struct flow *flow, struct exchange *exchange,
                      const struct facts_request *request)
{
    const struct facts_request none = {0};

    exchange->blind = !inspection_new(&exchange->inspection, flow, request ? request : &none);
}

bool exchange_looks(const struct exchange *exchange, bool up)
{
    return exchange->carried || exchange->blind ||
           (exchange->inspection && inspection_wants(exchange->inspection, up));
}

static bool goes_on(struct flow *flow, const struct exchange *exchange, enum inspected inspected)
{
    if (exchange->blind)
        verdict_blind(flow);
    if (inspected != INSPECTED_FINE)
        verdict_onto(flow, exchange->event);
    return !exchange->blind && inspected != INSPECTED_STOP;
}

static void tell(struct flow *flow, struct exchange *exchange)
{
    if (exchange->event) /* else it was told, or is lost and counted */
        report_emit(flow, &exchange->event);
}

void exchange_refused(struct flow *flow, struct exchange *exchange,
                      const struct exchange_decision *decision)
{
    struct flow_event *event = exchange->event;

    if (!event) {
        if (!flow->why.text[0])
            err_set(&flow->why, -EPROTO, "%s", decision->reason);
        inspection_free(&exchange->inspection);
        return;
    }
    if (event->verdict != VERDICT_DENY) /* whoever allowed it has not done that */
        event->policy = event->rule = NULL;
    event->verdict = decision->verdict;
    event->http.code = decision->code;
    event->error = flow_event_text(event, span_of_text(decision->reason));
    tell(flow, exchange);
    carried_free(&exchange->carried);
    inspection_free(&exchange->inspection);
}

/* The body has not gone by yet: what its head says of it. */
static uint64_t announced(const struct facts_answer *answer)
{
    struct span text = facts_find_field(answer->fields, answer->fields_len, "content-length");
    uint64_t length = 0;

    for (size_t i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        length = length * 10 + (uint64_t)(text.data[i] - '0');
    return length;
}

void exchange_answered(struct flow *flow, struct exchange *exchange,
                       const struct facts_answer *answer)
{
    struct flow_event *event = exchange->event;

    if (event) {
        event->http.code = answer->code;
        event->http.latency_ns = when(flow) - exchange->sent_ns;
        event->http.response_headers = copy_fields(event, answer->fields, answer->fields_len,
                                                   &event->http.response_headers_len);
        event->http.response_bytes = answer->body ? announced(answer) : 0;
    }
    tell(flow, exchange);
    carried_answered(&exchange->carried, answer);
    if (exchange->inspection)
        inspection_answered(exchange->inspection, answer);
}

bool exchange_body(struct flow *flow, struct exchange *exchange, bool up, struct span bytes)
{
    enum inspected inspected = INSPECTED_FINE;

    if (up && exchange->event)
        exchange->event->http.request_bytes += bytes.len;
    if (exchange->inspection)
        inspected = inspection_body(flow, exchange->inspection, up, bytes);
    if (exchange->carried && inspected != INSPECTED_STOP) /* what is stopped is not told either */
        carried_body(exchange->carried, up, bytes);
    return goes_on(flow, exchange, inspected);
}

void exchange_skipped(struct flow *flow, struct exchange *exchange, bool up, uint64_t len)
{
    if (up && exchange->event)
        exchange->event->http.request_bytes += len;
    if (exchange->inspection &&
        inspection_skipped(flow, exchange->inspection, up) != INSPECTED_FINE)
        verdict_onto(flow, exchange->event);
    if (exchange->carried)
        carried_skipped(exchange->carried, up, len);
}

bool exchange_body_ended(struct flow *flow, struct exchange *exchange, bool up)
{
    enum inspected inspected = INSPECTED_FINE;

    if (exchange->inspection)
        inspected = inspection_end(flow, exchange->inspection, up);
    return goes_on(flow, exchange, inspected);
}

void exchange_rest(struct exchange *rest, struct exchange *from)
{
    inspection_free(&rest->inspection);
    *rest = (struct exchange){.inspection = TAKE(from->inspection), .blind = from->blind};
}

bool exchange_aside(struct flow *flow, struct exchange *exchange, bool up, struct span bytes)
{
    enum inspected inspected = INSPECTED_FINE;

    if (exchange->inspection)
        inspected = inspection_aside(flow, exchange->inspection, up, bytes);
    return goes_on(flow, exchange, inspected);
}

bool exchange_trailers(struct flow *flow, struct exchange *exchange, bool up,
                       const struct facts_field *fields, size_t len)
{
    bool goes = true;

    if (exchange->carried)
        carried_trailers(exchange->carried, up, fields, len);
    for (size_t i = 0; exchange_looks(exchange, up) && goes && i < len; i++)
        goes = exchange_aside(flow, exchange, up, fields[i].name) &&
               exchange_aside(flow, exchange, up, BYTES(": ")) &&
               exchange_aside(flow, exchange, up, fields[i].value) &&
               exchange_aside(flow, exchange, up, BYTES("\r\n"));
    return goes;
}

void exchange_end(struct flow *flow, struct exchange *exchange, const char *error)
{
    struct flow_event *event = exchange->event;

    if (event && error)
        event->error = flow_event_text(event, span_of_text(error));
    tell(flow, exchange);
    if (exchange->carried)
        carried_end(flow, &exchange->carried, when(flow) - exchange->sent_ns, error);
    inspection_free(&exchange->inspection);
    *exchange = (struct exchange){0};
}
