/* load_http2: load's requests as streams of HTTP/2 connections, or messages to and fro on one
 * stream.
 *
 * As h2load does: all that waits is written at once, and windows are so large that none is waited
 * for. */
#include "load.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_MAX = 65536, WINDOW = (1 << 30) - 1, PREFIX = 5 };

struct http2 {
    nghttp2_session *session;
    unsigned begun;     /* streams, or the message, without an answer yet */
    int32_t talk;       /* the stream of the messages */
    size_t owed, heard; /* bytes of the message */
    uint64_t sent_ns;
    const char *fault;
    uint8_t out[OUT_MAX];
    size_t len;
};

static void *stamp(uint64_t ns)
{
    return (void *)(uintptr_t)ns;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct client *client = arg;

    (void)session, (void)frame, (void)flags;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0 &&
        (value_len != 3 || memcmp(value, "200", 3) != 0))
        client->http2->fault = "an answer that is not 200";
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg)
{
    struct client *client = arg;
    struct http2 *http2 = client->http2;

    (void)session, (void)flags, (void)id, (void)data;
    load.bytes += len;
    if (!load.messages)
        return 0;
    http2->heard += len;
    if (http2->heard > MESSAGE)
        http2->fault = "more than was sent";
    if (http2->heard == MESSAGE) {
        http2->heard = 0;
        http2->begun--;
        load_answered(client, http2->sent_ns);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct client *client = arg;

    if (load.messages || error) {
        client->http2->fault = "a stream that ended before its time";
        return 0;
    }
    client->http2->begun--;
    load_answered(client, (uintptr_t)nghttp2_session_get_stream_user_data(session, id));
    return 0;
}

/* A message of gRPC: no compression, its length, zeroes. */
static ssize_t next_of_message(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                               uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    static const uint8_t message[MESSAGE] = {0, 0, 0, 0, MESSAGE - PREFIX};
    struct http2 *http2 = ((struct client *)arg)->http2;
    size_t n = http2->owed < size ? http2->owed : size;

    (void)session, (void)id, (void)flags, (void)source;
    if (!n)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(out, message + (MESSAGE - http2->owed), n);
    http2->owed -= n;
    return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void begin(struct client *client)
{
    struct http2 *http2 = client->http2;
    const nghttp2_nv fields[] = {
        field(":method", load.messages ? "POST" : "GET"), field(":scheme", "https"),
        field(":authority", load.name), field(":path", load.path), field("user-agent", "load"),
        /* messages alone: */
        field("te", "trailers"), field("content-type", "application/grpc")};
    const nghttp2_data_provider messages = {.read_callback = next_of_message};

    http2->begun++;
    if (load.messages) {
        http2->owed = MESSAGE;
        http2->sent_ns = now_ns();
    }
    if (http2->talk)
        nghttp2_session_resume_data(http2->session, http2->talk);
    else if (load.messages)
        http2->talk = nghttp2_submit_request(http2->session, NULL, fields, 7, &messages, NULL);
    else if (nghttp2_submit_request(http2->session, NULL, fields, 5, NULL, stamp(now_ns())) < 0)
        http2->fault = "no more streams on this connection";
}

void http2_open(struct client *client)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    struct http2 *http2 = calloc(1, sizeof(*http2));
    nghttp2_session_callbacks *callbacks = NULL;
    const unsigned char *chosen = NULL;
    unsigned chosen_len = 0;

    if (!http2 || nghttp2_session_callbacks_new(&callbacks) < 0)
        abort();
    SSL_get0_alpn_selected(client->ssl, &chosen, &chosen_len);
    if (chosen_len != 2 || memcmp(chosen, "h2", 2) != 0)
        http2->fault = "the server would not have HTTP/2";
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    client->http2 = http2;
    if (nghttp2_session_client_new(&http2->session, callbacks, client) < 0 ||
        nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings, 2) < 0 ||
        nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0, WINDOW) < 0)
        abort();
    nghttp2_session_callbacks_del(callbacks);
}

void http2_close(struct client *client)
{
    if (client->http2)
        nghttp2_session_del(client->http2->session);
    free(client->http2);
    client->http2 = NULL;
}

/* > 0, or what SSL_write() says. */
static int flush(struct client *client)
{
    struct http2 *http2 = client->http2;
    const uint8_t *piece;
    ssize_t n = 1;
    int written;

    while (http2->len <= OUT_MAX / 2 &&
           (n = nghttp2_session_mem_send(http2->session, &piece)) > 0) {
        memcpy(http2->out + http2->len, piece, (size_t)n);
        http2->len += (size_t)n;
    }
    if (n < 0)
        http2->fault = nghttp2_strerror((int)n);
    if (!http2->len)
        return 1;
    written = SSL_write(client->ssl, http2->out, (int)http2->len);
    if (written > 0)
        http2->len = 0; /* without partial writes it takes all */
    return written;
}

bool http2_serve(struct client *client)
{
    static uint8_t in[READ_MAX];
    struct http2 *http2 = client->http2;
    int n, heard = 0, error;
    ssize_t taken = 0;

    while (!http2->fault && http2->begun < (load.resting ? 1 : load.streams) &&
           load_goes_on(client))
        begin(client);
    n = http2->fault ? 1 : flush(client);
    while (!http2->fault && n > 0 && heard < TURN &&
           (n = SSL_read(client->ssl, in, sizeof(in))) > 0) {
        taken = nghttp2_session_mem_recv(http2->session, in, (size_t)n);
        if (taken < 0)
            http2->fault = nghttp2_strerror((int)taken);
        heard++;
    }
    if (http2->fault) {
        load_failed(client, http2->fault);
        return false;
    }
    error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(client->ssl, n);
    if (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return heard > 0;
    load_failed(client, "the connection failed");
    return false;
}
