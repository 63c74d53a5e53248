#include "proxy/flow/tap.h"

#include "events/quote.h"
#include "proxy/capture/capture.h"
#include "proxy/flow/steps.h"

struct tap {
    struct tap *next;
    struct capture *capture;    /* a reference */
    uint32_t seq[TAP_SIDE_MAX]; /* of the next byte */
    bool begun;
    bool midway; /* it was asked for when bytes had passed already: there is no SYN to show */
};

/* ---- whose they are ---- */

static void release(struct tap **tap)
{
    struct tap *gone = TAKE(*tap);

    *tap = gone->next;
    capture_unref(&gone->capture);
    free(gone);
}

static bool has(const struct flow *flow, const struct capture *capture)
{
    const struct tap *tap = flow->taps;

    while (tap && tap->capture != capture)
        tap = tap->next;
    return tap;
}

/* Takes capture. Without memory whoever asked has nothing of this flow. */
static void add(struct flow *flow, struct capture *capture)
{
    struct tap *tap = has(flow, capture) ? NULL : calloc(1, sizeof(*tap));

    if (!tap) {
        capture_unref(&capture);
        return;
    }
    tap->capture = capture;
    tap->midway = flow->relay.said;
    tap->next = flow->taps;
    flow->taps = tap;
}

void tap_look(struct flow *flow)
{
    struct capture_table *table = flow->worker->parts.captures;
    struct capture *wanted[CAPTURES_MAX];
    struct tap **at = &flow->taps;
    unsigned len;

    while (*at)
        if (atomic_load(&(*at)->capture->over))
            release(at);
        else
            at = &(*at)->next;
    len = table ? capture_table_find(table, flow->facts.who.pod, wanted) : 0;
    while (len)
        add(flow, wanted[--len]);
}

/* ---- bytes ---- */

static void put(struct tap *tap, const struct flow *flow, enum tap_side who, unsigned flags,
                struct span payload, struct span comment)
{
    const struct facts_where *where = &flow->facts.where;
    enum tap_side other = who == TAP_PROGRAM ? TAP_SERVER : TAP_PROGRAM;
    const struct pcapng_packet packet = {
        .time_ns = clock_read_ns(CLOCK_REALTIME),
        .src = who == TAP_PROGRAM ? where->src : where->dst,
        .dst = who == TAP_PROGRAM ? where->dst : where->src,
        .seq = tap->seq[who],
        .ack = flags & PCAPNG_ACK ? tap->seq[other] : 0,
        .flags = (uint8_t)flags,
        .payload = payload,
        .comment = comment,
    };

    capture_packet(tap->capture, &packet);
    tap->seq[who] += (uint32_t)payload.len + (flags & (PCAPNG_SYN | PCAPNG_FIN) ? 1 : 0);
}

static const struct span nothing = {0};

/* Who speaks to whom: a comment of the first packet. Strangers' texts: quoted, where odd. */
static void describe(const struct flow *flow, struct buffer *out)
{
    const struct process *process = flow->facts.who.process;
    const struct pod *pod = flow->facts.who.pod;

    buffer_text(out, "pod ");
    if (pod && pod->space[0]) {
        quote_text(out, span_of_text(pod->space));
        buffer_text(out, "/");
    }
    quote_text(out, span_of_text(pod ? pod->name : ""));
    if (process) {
        buffer_text(out, ", process ");
        quote_text(out, span_of_text(process->binary));
        buffer_format(out, " pid %u", process->pid);
    }
    if (flow->facts.where.host[0]) {
        buffer_text(out, ", TLS to ");
        quote_text(out, span_of_text(flow->facts.where.host));
    }
}

/* With the first bytes, when all is known that there is to say about it. */
static void begin(struct tap *tap, const struct flow *flow, struct buffer *comment)
{
    describe(flow, comment);
    if (comment->failed)
        comment->len = 0;
    tap->begun = true;
    if (tap->midway)
        return;
    put(tap, flow, TAP_PROGRAM, PCAPNG_SYN, nothing, span_of(comment->data, comment->len));
    put(tap, flow, TAP_SERVER, PCAPNG_SYN | PCAPNG_ACK, nothing, nothing);
    put(tap, flow, TAP_PROGRAM, PCAPNG_ACK, nothing, nothing);
    comment->len = 0; /* said */
}

static void put_bytes(struct tap *tap, const struct flow *flow, enum tap_side who,
                      struct span payload)
{
    CLEANUP(buffer_fini) struct buffer comment = {0};

    if (!tap->begun)
        begin(tap, flow, &comment);
    while (payload.len) {
        size_t len = payload.len < PCAPNG_PAYLOAD_MAX ? payload.len : PCAPNG_PAYLOAD_MAX;

        put(tap, flow, who, PCAPNG_PSH | PCAPNG_ACK, span_of(payload.data, len),
            span_of(comment.data, comment.len));
        comment.len = 0;
        payload = span_of(payload.data + len, payload.len - len);
    }
}

void tap_bytes(struct flow *flow, enum tap_side who, const uint8_t *data, size_t len)
{
    for (struct tap *tap = flow->taps; tap; tap = tap->next)
        if (tap->capture->kind == CAPTURE_PCAP)
            put_bytes(tap, flow, who, span_of(data, len));
}

void tap_end(struct flow *flow)
{
    while (flow->taps) {
        struct tap *tap = flow->taps;

        if (tap->begun && flow->reset) {
            put(tap, flow, TAP_SERVER, PCAPNG_RST | PCAPNG_ACK, nothing, nothing);
        } else if (tap->begun) {
            put(tap, flow, TAP_PROGRAM, PCAPNG_FIN | PCAPNG_ACK, nothing, nothing);
            put(tap, flow, TAP_SERVER, PCAPNG_FIN | PCAPNG_ACK, nothing, nothing);
            put(tap, flow, TAP_PROGRAM, PCAPNG_ACK, nothing, nothing);
        }
        release(&flow->taps);
    }
}

/* ---- keys ---- */

static void on_key(const SSL *ssl, const char *line)
{
    const struct flow *flow = SSL_get_app_data(ssl);

    for (struct tap *tap = flow ? flow->taps : NULL; tap; tap = tap->next)
        capture_line(tap->capture, line);
}

void tap_look_all(struct worker *worker)
{
    bool keys = atomic_load(&worker->parts.captures->keys);

    SSL_CTX_set_keylog_callback(worker->pod_ctx, keys ? on_key : NULL);
    SSL_CTX_set_keylog_callback(worker->upstream_ctx, keys ? on_key : NULL);
    for (struct flow *flow = worker->flows; flow; flow = flow->next)
        tap_look(flow);
}
