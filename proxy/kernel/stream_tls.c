/* stream_tls: the handshake of a connection that goes past the proxy: what of it is in the clear,
 * and what its program tells the kernel of the keys. */
#include <event2/event.h>
#include <linux/tls.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "events/flow_event.h"
#include "proxy/flow/row.h"
#include "proxy/kernel/stream_own.h"
#include "proxy/wire/flight.h"
#include "proxy/wire/hello.h"

enum {
    BEGINNING_MAX = 32 << 10, /* of a side: what the kernel hands up of handshakes, and more */
    RECORD_HEADER = 5,
    RECORD_DATA = 23,
    /* TLS 1.3's Finished, encrypted, by the length of its hash (RFC 8446 section 4.4.4) */
    FINISHED_SHA256 = 4 + 32 + 1 + 16,
    FINISHED_SHA384 = 4 + 48 + 1 + 16,
    KEYS_SECONDS = 10, /* so long after the server's hello they are waited for, by a busy machine */
};

/* What a side says first. */
struct beginning {
    uint8_t *data;
    size_t len;
    bool read;                     /* its hello was, or cannot be */
    uint8_t header[RECORD_HEADER]; /* of the record at hand */
    size_t header_len, left;
    unsigned sealed; /* records that somebody encrypted, and that are no end of a handshake */
};

struct stream_tls {
    struct beginning up, down;
    struct event *due;
    bool begun, told, keyed;
    uint16_t version, cipher; /* chosen; 0: not seen */
    const char *cipher_name;  /* NULL: not known */
    char alpn[32];
    bool resumed;
    X509 *certificate; /* the server's; NULL: it was not seen */
};

static bool have(struct stream *stream)
{
    if (!stream->tls)
        stream->tls = calloc(1, sizeof(*stream->tls));
    return stream->tls;
}

static bool keep(struct beginning *at, struct span bytes)
{
    size_t room = BEGINNING_MAX - at->len;

    if (!at->data)
        at->data = malloc(BEGINNING_MAX);
    if (!at->data)
        return false;
    if (bytes.len > room)
        bytes.len = room;
    memcpy(at->data + at->len, bytes.data, bytes.len);
    at->len += bytes.len;
    return true;
}

static void is_read(struct beginning *at)
{
    at->read = true;
    free(at->data);
    at->data = NULL;
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    stream_tls_tell(arg);
}

/* The handshake will be over soon, with or without keys for the kernel. */
static void await_keys(struct flow *flow)
{
    static const struct timeval patience = {.tv_sec = KEYS_SECONDS};
    struct stream_tls *tls = flow->stream->tls;

    if (!tls->due)
        tls->due = evtimer_new(flow->worker->base, on_due, flow);
    if (tls->due)
        event_add(tls->due, &patience);
}

static void read_client(struct flow *flow, struct beginning *at)
{
    struct hello hello;
    enum hello_status status =
        hello_parse(span_of(at->data, at->len), flow->worker->scratch, &hello);

    if (status == HELLO_PARTIAL && at->len < BEGINNING_MAX)
        return;
    if (status == HELLO_DONE) {
        if (!peek_note_asked(flow, &hello))
            flow->facts.where.host[0] = 0;
        if (!flow->stream->opening.accepted)
            verdict_hello(flow);
    }
    is_read(at);
}

static void read_certificate(struct stream_tls *tls, struct span bytes)
{
    const unsigned char *at = bytes.data;

    ERR_clear_error();
    tls->certificate = bytes.len ? d2i_X509(NULL, &at, (long)bytes.len) : NULL;
    ERR_clear_error();
}

static void read_server(struct flow *flow, struct beginning *at)
{
    struct stream_tls *tls = flow->stream->tls;
    struct flight flight;
    bool over = flight_read(span_of(at->data, at->len), flow->worker->scratch, &flight) ||
                at->len == BEGINNING_MAX;

    if (flight.hello && !tls->cipher) {
        tls->version = flight.version;
        tls->cipher = flight.cipher;
        tls->cipher_name = suites_name(flight.cipher);
        span_to_text(flight.alpn, tls->alpn, sizeof(tls->alpn));
        await_keys(flow);
    }
    if (!over)
        return;
    tls->resumed = flight.resumed;
    read_certificate(tls, flight.certificate);
    is_read(at);
    if (!flight.hello)
        await_keys(flow);
}

static void record_begins(struct beginning *at)
{
    at->header_len = 0;
    at->left = (size_t)at->header[3] << 8 | at->header[4];
    if (at->header[0] == RECORD_DATA && at->left != FINISHED_SHA256 && at->left != FINISHED_SHA384)
        at->sealed++;
}

static void walk(struct beginning *at, struct span bytes)
{
    while (bytes.len) {
        size_t most = at->left ? at->left : RECORD_HEADER - at->header_len;
        size_t take = most < bytes.len ? most : bytes.len;

        if (at->left) {
            at->left -= take;
        } else {
            memcpy(at->header + at->header_len, bytes.data, take);
            at->header_len += take;
            if (at->header_len == RECORD_HEADER)
                record_begins(at);
        }
        bytes = span_of(bytes.data + take, bytes.len - take);
    }
}

void stream_tls_skip(struct flow *flow, bool up, uint64_t len)
{
    struct stream_tls *tls = flow->stream->tls;
    struct beginning *at = tls ? up ? &tls->up : &tls->down : NULL;

    if (at)
        at->left -= len < at->left ? len : at->left;
}

/* Its program goes on to encrypt what it sends by itself: the kernel did not take them. */
static void doubt_keys(struct flow *flow)
{
    const struct stream *stream = flow->stream;
    struct stream_tls *tls = stream->tls;

    if (!tls->keyed)
        return;
    tls->keyed = tls->told = false;
    if (flow->facts.visibility == VISIBILITY_KTLS &&
        !(stream->opening.accepted ? stream->down : stream->up).heard)
        flow->facts.visibility = VISIBILITY_UNKNOWN;
}

void stream_tls_feed(struct flow *flow, bool up, struct span bytes)
{
    struct stream *stream = flow->stream;
    bool own = up != stream->opening.accepted;
    struct beginning *at;
    unsigned sealed;

    if (stream->kind == STREAM_MEETING)
        stream->kind = STREAM_TLS;
    if (!have(stream))
        return;
    at = up ? &stream->tls->up : &stream->tls->down;
    stream->tls->begun = true;
    sealed = at->sealed;
    walk(at, bytes);
    if (own && at->sealed != sealed)
        doubt_keys(flow);
    /* a client encrypts what it says; of a server that may be its handshake, keys come behind it */
    if (up && own && at->sealed && !stream->tls->keyed)
        stream_tls_tell(flow);
    if (at->read || !keep(at, bytes))
        return;
    if (up)
        read_client(flow, at);
    else
        read_server(flow, at);
}

/* TLS 1.3's suites are named by the cipher alone. */
static const char *suite_of(uint16_t cipher)
{
    switch (cipher) {
    case TLS_CIPHER_AES_GCM_128:
        return suites_name(0x1301);
    case TLS_CIPHER_AES_GCM_256:
        return suites_name(0x1302);
    case TLS_CIPHER_CHACHA20_POLY1305:
        return suites_name(0x1303);
    }
    return NULL;
}

void stream_tls_keys(struct flow *flow, const struct abi_ktls *record)
{
    struct stream_tls *tls = have(flow->stream) ? flow->stream->tls : NULL;

    if (!tls || tls->keyed)
        return;
    tls->keyed = true;
    tls->told = false; /* that it cannot be read was told too early */
    if (!tls->version)
        tls->version = record->version;
    if (!tls->cipher_name && record->version == TLS_1_3_VERSION)
        tls->cipher_name = suite_of(record->cipher);
    if (!flow->version_max)
        flow->version_max = record->version;
    if (!tls->begun || flow->stream->kind == STREAM_RAW)
        return; /* it is plain text, or was accepted by a kernel that will show it; or nobody reads
                   on, behind words of another protocol */
    flow->facts.visibility = VISIBILITY_KTLS;
    flow->facts.opaque = OPAQUE_NO_REASON;
    stream_tls_tell(flow);
}

/* Its program encrypts it. */
static void note_unseen(struct flow *flow)
{
    if (flow->stream->kind == STREAM_RAW && !flow->stream->denied)
        return; /* behind words of another protocol: it is opaque for these */
    facts_set_opaque(&flow->facts, OPAQUE_OWN_TLS);
    if (!flow->stream->opening.accepted && verdict_unseen_opaque(flow, OPAQUE_OWN_TLS) &&
        flow->stream->denied)
        verdict_unexplained(flow, "its program encrypts it", NULL);
}

void stream_tls_tell(struct flow *flow)
{
    struct stream_tls *tls = flow->stream->tls;
    bool ktls = flow->facts.visibility == VISIBILITY_KTLS;

    if (!tls || tls->told || !(tls->begun || (tls->keyed && ktls)))
        return;
    tls->told = true;
    if (tls->due)
        event_del(tls->due);
    if (!ktls)
        note_unseen(flow);
    else if (!flow->stream->opening.accepted && tls->version && tls->cipher_name)
        verdict_session(flow, tls->version, tls->cipher_name);
    report_tls(flow);
}

static const char *version_name(uint16_t version)
{
    static const char *const names[] = {"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"};

    return version > 0x0300 && version <= 0x0304 ? names[version - 0x0301] : NULL;
}

void kernel_stream_describe_row(const struct stream *stream, struct flow_row *row)
{
    const struct stream_tls *tls = stream->tls;

    if (tls)
        row->version = version_name(tls->version);
    if (tls)
        snprintf(row->alpn, sizeof(row->alpn), "%s", tls->alpn);
    if (stream->kind == STREAM_HTTP2 && !row->alpn[0])
        strcpy(row->alpn, tls ? "h2" : "h2c");
    if (stream->unread) {
        row->visibility = VISIBILITY_OPAQUE;
        row->opaque = OPAQUE_UNKNOWN;
    }
}

bool kernel_stream_agreed(const struct stream *stream, uint16_t *version, const char **cipher)
{
    const struct stream_tls *tls = stream->tls;

    *version = 0;
    *cipher = NULL;
    if (!tls || !tls->begun)
        return false;
    *version = tls->version;
    *cipher = tls->cipher_name;
    return true;
}

void kernel_stream_describe_tls(const struct stream *stream, struct flow_event *event)
{
    const struct stream_tls *tls = stream->tls;

    if (!tls)
        return;
    event->tls.version = version_name(tls->version);
    if (tls->cipher_name)
        event->tls.cipher = tls->cipher_name;
    event->tls.resumed = tls->resumed;
    if (tls->alpn[0])
        event->tls.alpn = flow_event_text(event, span_of_text(tls->alpn));
    if (tls->certificate)
        report_certificate(event, tls->certificate);
}

void stream_tls_free(struct stream_tls **tls)
{
    struct stream_tls *gone = TAKE(*tls);

    if (!gone)
        return;
    if (gone->due)
        event_free(gone->due);
    X509_free(gone->certificate);
    free(gone->up.data);
    free(gone->down.data);
    free(gone);
}
