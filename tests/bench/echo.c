/* echo: an origin of HTTP/2 over TLS that sends back each stream's bytes as they come, for
 * tests/bench/run.
 *
 *   echo PORT KEY CERT ADDRESS...
 *
 * A few connections, one thread; a connection is served until its bytes are at their end. */
#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_MAX = 64, OUT_MAX = 65536, HELD_MAX = 65535 };

struct connection {
    SSL *ssl; /* NULL: a listener */
    nghttp2_session *session;
};
struct stream { /* what came and has not gone back; the window is no larger */
    uint8_t held[HELD_MAX];
    size_t len;
    bool ended;
};

static struct pollfd fds[FDS_MAX];
static struct connection connections[FDS_MAX];
static nfds_t fds_len;
static nghttp2_session_callbacks *callbacks;
static SSL_CTX *ctx;

static void die(const char *what)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static ssize_t give_back(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct stream *stream = source->ptr;
    size_t n = stream->len < size ? stream->len : size;

    (void)session, (void)id, (void)arg;
    memcpy(out, stream->held, n);
    stream->len -= n;
    memmove(stream->held, stream->held + n, stream->len);
    if (stream->ended && !stream->len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (!n)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)n;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    const nghttp2_nv fields[] = {
        {(uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE},
        {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, NGHTTP2_NV_FLAG_NONE}};
    int32_t id = frame->hd.stream_id;
    struct stream *stream = id ? nghttp2_session_get_stream_user_data(session, id) : NULL;

    (void)arg;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        nghttp2_data_provider body = {.read_callback = give_back};

        stream = body.source.ptr = calloc(1, sizeof(*stream));
        if (!stream || nghttp2_session_set_stream_user_data(session, id, stream) < 0 ||
            nghttp2_submit_response(session, id, fields, 2, &body) < 0)
            die("a stream");
    }
    if (stream && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        stream->ended = true;
        nghttp2_session_resume_data(session, id);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)flags, (void)arg;
    if (!stream || len > HELD_MAX - stream->len)
        return NGHTTP2_ERR_CALLBACK_FAILURE; /* a client that does not read what it asked for */
    memcpy(stream->held + stream->len, data, len);
    stream->len += len;
    nghttp2_session_resume_data(session, id);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    (void)error, (void)arg;
    free(nghttp2_session_get_stream_user_data(session, id));
    return 0;
}

static int choose(SSL *ssl, const unsigned char **out, unsigned char *len,
                  const unsigned char *offer, unsigned offer_len, void *arg)
{
    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)out, len, (const unsigned char *)"\2h2", 3,
                                 offer, offer_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void add(int fd, struct connection connection)
{
    if (fds_len == FDS_MAX)
        die("too many connections");
    fds[fds_len] = (struct pollfd){.fd = fd, .events = POLLIN};
    connections[fds_len++] = connection;
}

static void hang_up(nfds_t at)
{
    nghttp2_session_del(connections[at].session);
    SSL_free(connections[at].ssl);
    close(fds[at].fd);
    fds[at] = fds[--fds_len];
    connections[at] = connections[fds_len];
}

static bool flush(struct connection *connection)
{
    static uint8_t out[OUT_MAX];
    const uint8_t *piece;
    size_t len;
    ssize_t n;

    do {
        len = 0;
        while (len <= OUT_MAX / 2 &&
               (n = nghttp2_session_mem_send(connection->session, &piece)) > 0) {
            memcpy(out + len, piece, (size_t)n);
            len += (size_t)n;
        }
        if (len && SSL_write(connection->ssl, out, (int)len) <= 0)
            return false;
    } while (len);
    return true;
}

static bool serve(struct connection *connection)
{
    static uint8_t in[OUT_MAX];

    do {
        int n = SSL_read(connection->ssl, in, sizeof(in));

        if (n <= 0 || nghttp2_session_mem_recv(connection->session, in, (size_t)n) < 0)
            return false;
    } while (SSL_pending(connection->ssl));
    return flush(connection);
}

static void welcome(int listener)
{
    const nghttp2_settings_entry streams = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100};
    const int on = 1, fd = accept(listener, NULL, NULL);
    struct connection connection = {.ssl = SSL_new(ctx)};

    if (fd < 0 || !connection.ssl || !SSL_set_fd(connection.ssl, fd))
        die("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (SSL_accept(connection.ssl) != 1) { /* somebody looked whether we are there */
        SSL_free(connection.ssl);
        close(fd);
        return;
    }
    if (nghttp2_session_server_new(&connection.session, callbacks, NULL) < 0 ||
        nghttp2_submit_settings(connection.session, NGHTTP2_FLAG_NONE, &streams, 1) < 0)
        die("a session");
    add(fd, connection);
    if (!flush(&connections[fds_len - 1]))
        hang_up(fds_len - 1);
}

static void listen_at(const char *address, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    const int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0)
        die(address);
    add(fd, (struct connection){0});
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "echo PORT KEY CERT ADDRESS...\n");
        return 2;
    }
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, argv[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[2], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 || nghttp2_session_callbacks_new(&callbacks) < 0)
        die("set-up");
    SSL_CTX_set_alpn_select_cb(ctx, choose, NULL);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    for (int i = 4; i < argc; i++)
        listen_at(argv[i], argv[1]);
    for (;;) {
        nfds_t seen = fds_len;

        if (poll(fds, seen, -1) < 0)
            die("poll");
        while (seen-- > 0) { /* downwards: who hangs up is replaced by one that was seen already */
            if (fds[seen].revents && !connections[seen].ssl)
                welcome(fds[seen].fd);
            else if (fds[seen].revents && !serve(&connections[seen]))
                hang_up(seen);
        }
    }
}
