/* peek: what does the pod say first? Looked at with MSG_PEEK, never consumed, so that a flow we
 * pass on is passed on whole. Leads to judge.c. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/flow/steps.h"
#include "proxy/wire/http1.h"
#include "proxy/wire/http2_preface.h"
#include "proxy/wire/ja4.h"

enum { DNS_PORT = 53 };

/* A DNS message has no mark of its own. It begins with its length, which may look like the
 * beginning of anything: what only looks like it goes to query.c, which knows. */
static enum peek_kind otherwise(uint16_t port, enum peek_kind kind)
{
    return port == DNS_PORT ? PEEK_DNS : kind;
}

static enum peek_kind in_the_clear(struct span seen)
{
    int http1 = http1_looks_like_request(seen), http2 = http2_looks_like_preface(seen);

    if (http2 == 1)
        return PEEK_HTTP2;
    if (http1 == 1)
        return PEEK_HTTP;
    return http1 == 0 && http2 == 0 ? PEEK_OPAQUE : PEEK_WAIT;
}

enum peek_kind peek_step(struct span seen, uint16_t port, bool timed_out, uint8_t *scratch,
                         struct hello *hello)
{
    enum peek_kind kind;

    if (seen.len) {
        switch (hello_parse(seen, scratch, hello)) {
        case HELLO_DONE:
            return PEEK_TLS;
        case HELLO_PARTIAL:
            break;
        case HELLO_NOT_TLS:
            kind = in_the_clear(seen);
            if (kind == PEEK_WAIT)
                break;
            return kind == PEEK_OPAQUE ? otherwise(port, kind) : kind;
        case HELLO_INVALID:
            return otherwise(port, PEEK_OPAQUE);
        }
    }
    return timed_out ? otherwise(port, PEEK_SILENT) : PEEK_WAIT;
}

/* Who speaks first decides: an upstream that does, or that ends before anything was said, makes the
 * flow an opaque relay; but one of HTTP/2 may, and waits for the pod all the same. -EAGAIN: nobody
 * has spoken; or which leg is lost is in flow->why. */
static int nobody_speaks(struct flow *flow)
{
    int result = leg_error(&flow->pod);
    uint8_t begun[HTTP2_FRAME_HEADER];

    if (result < 0)
        return err_sys(&flow->why, result, "the program's side");
    if (flow->upstream.connecting || !(flow->upstream.readable || flow->upstream.stash))
        return -EAGAIN;
    result = (int)leg_look(&flow->upstream, begun, sizeof(begun));
    if (result > 0 && !flow->upstream.hung_up &&
        http2_looks_like_settings(span_of(begun, (size_t)result)) != 0)
        return -EAGAIN;
    if (result == -EAGAIN || result >= 0)
        return result < 0 ? result : 0;
    return err_sys(&flow->why, result, "the upstream's side");
}

static bool sha256(struct span bytes, uint8_t digest[JA4_DIGEST])
{
    return EVP_Digest(bytes.data, bytes.len, digest, NULL, EVP_sha256(), NULL) == 1;
}

/* Without memory the pod would be answered as if it had not offered what it did. */
static int note_alpn(struct flow *flow, struct span offer)
{
    free(flow->alpn);
    flow->alpn = offer.len ? malloc(offer.len) : NULL;
    flow->alpn_len = flow->alpn ? offer.len : 0;
    if (flow->alpn)
        memcpy(flow->alpn, offer.data, offer.len);
    else if (offer.len)
        return err_set(&flow->why, -ENOMEM, "no memory for what the program offers to speak");
    return 0;
}

bool peek_note_asked(struct flow *flow, const struct hello *hello)
{
    flow->version_min = hello->version_min;
    flow->version_max = hello->version_max;
    (void)ja4_of(hello, sha256, flow->facts.ja4); /* without memory, or too long: not told */
    return span_to_text(hello->server_name, flow->facts.where.host, sizeof(flow->facts.where.host));
}

/* What the steps to come need of a hello. Name and protocols are copied: spans die with the
 * worker's buffers. 0, or why not. */
static int note_hello(struct flow *flow, const struct hello *hello)
{
    if (!peek_note_asked(flow, hello)) {
        facts_set_opaque(&flow->facts, OPAQUE_ODD_NAME);
        return 0;
    }
    flow->asks_status = hello->status;
    flow->needs_rsa = !hello_takes_p256(hello);
    flow->suites = suites_shared(hello->ciphers);
    facts_set_opaque(&flow->facts, judge_unopenable(hello));
    if (flow->facts.opaque)
        return 0;
    flow->facts.visibility = VISIBILITY_TERMINATED;
    return note_alpn(flow, hello->alpn);
}

/* Nothing comes that would say more: the time is up, the program has ended, or there is no room. */
static bool all_said(const struct flow *flow, ssize_t seen)
{
    return flow->timed_out || (flow->pod.hung_up && seen > 0) ||
           seen == sizeof(flow->worker->peeked);
}

static enum flow_state reads(struct flow *flow, enum relay_kind speaks)
{
    flow->speaks = speaks;
    flow->facts.visibility = VISIBILITY_PLAINTEXT;
    return FLOW_JUDGING;
}

enum flow_state peek(struct flow *flow)
{
    struct worker *worker = flow->worker;
    struct hello hello = {0};
    ssize_t n = leg_look(&flow->pod, worker->peeked, sizeof(worker->peeked));
    int result = dial_connected(flow);

    if (result < 0 && result != -EAGAIN) { /* as an unsteered connect would have failed */
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (n < 0 && n != -EAGAIN) {
        err_sys(&flow->why, (int)n, "the program's side");
        flow->reset = true;
        return FLOW_CLOSING;
    }
    if (n == 0) { /* nothing said and the end already sent: a probe, or who only listens */
        facts_set_opaque(&flow->facts, OPAQUE_SILENT);
        flow->mute = true;
        return FLOW_JUDGING;
    }
    switch (peek_step(span_of(worker->peeked, n < 0 ? 0 : (size_t)n), asked_port(flow),
                      all_said(flow, n), worker->scratch, &hello)) {
    case PEEK_WAIT:
        result = nobody_speaks(flow);
        if (result == 0) {
            facts_set_opaque(&flow->facts, OPAQUE_SERVER_FIRST);
            return FLOW_JUDGING;
        }
        flow->reset = result != -EAGAIN;
        return flow->reset ? FLOW_CLOSING : FLOW_MEETING;
    case PEEK_TLS:
        flow->reset = note_hello(flow, &hello) < 0;
        return flow->reset ? FLOW_CLOSING : FLOW_JUDGING;
    case PEEK_HTTP:
        return reads(flow, RELAY_HTTP);
    case PEEK_HTTP2:
        return reads(flow, RELAY_HTTP2);
    case PEEK_DNS:
        return reads(flow, RELAY_DNS);
    case PEEK_SILENT:
        facts_set_opaque(&flow->facts, OPAQUE_SILENT);
        return FLOW_JUDGING;
    case PEEK_OPAQUE:
        break;
    }
    facts_set_opaque(&flow->facts, OPAQUE_UNKNOWN);
    return FLOW_JUDGING;
}
