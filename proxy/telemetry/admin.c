#include "proxy/telemetry/admin.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "proxy/wire/http1.h"

enum { AT_ONCE = 16, BACKLOG = 256 };

struct connection {
    TAILQ_ENTRY(connection) all;
    struct admin *admin;
    int fd;
    struct event *readable, *writable, *late;
    char in[ADMIN_HEAD_MAX];
    size_t in_len;
    struct buffer out; /* the answer; empty: the request is not complete */
    size_t sent;
};

struct admin {
    struct event_base *base;
    struct admin_pages pages;
    int fd;
    struct event *on_client;
    TAILQ_HEAD(, connection) connections; /* the oldest first */
    unsigned len;
};

/* ---- what is answered ---- */

#define TEXT "text/plain; charset=utf-8"

/* head_only: the length is told, the body is not sent. */
static void respond(struct buffer *out, const char *status, const char *type, const char *more,
                    struct span body, bool head_only)
{
    buffer_format(out,
                  "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                  "Connection: close\r\n%s\r\n",
                  status, type, body.len, more);
    if (!head_only)
        buffer_append(out, body.data, body.len);
}

static void refuse(struct buffer *out, const char *status, const char *more)
{
    CLEANUP(buffer_fini) struct buffer body = {0};

    buffer_format(&body, "%s\n", status);
    respond(out, status, TEXT, more, span_of(body.data, body.len), false);
}

static void answer_metrics(const struct admin_pages *pages, bool head_only, struct buffer *out)
{
    CLEANUP(buffer_fini) struct buffer body = {0};

    pages->metrics(pages->arg, &body);
    if (body.failed)
        refuse(out, "503 Service Unavailable", "");
    else
        respond(out, "200 OK", "text/plain; version=0.0.4; charset=utf-8", "",
                span_of(body.data, body.len), head_only);
}

static void answer_ready(const struct admin_pages *pages, bool head_only, struct buffer *out)
{
    CLEANUP(buffer_fini) struct buffer body = {0};
    const char *why = pages->not_ready(pages->arg);

    buffer_format(&body, "%s\n", why ? why : "ready");
    respond(out, why ? "503 Service Unavailable" : "200 OK", TEXT, "", span_of(body.data, body.len),
            head_only);
}

static void answer_path(struct span path, const struct admin_pages *pages, bool head_only,
                        struct buffer *out)
{
    if (span_equal(path, BYTES("/metrics")))
        answer_metrics(pages, head_only, out);
    else if (span_equal(path, BYTES("/livez")))
        respond(out, "200 OK", TEXT, "", BYTES("alive\n"), head_only);
    else if (span_equal(path, BYTES("/readyz")))
        answer_ready(pages, head_only, out);
    else
        refuse(out, "404 Not Found", "");
}

static void answer_head(const struct http1_head *head, const uint8_t *base,
                        const struct admin_pages *pages, struct buffer *out)
{
    struct span method = span_of(base + head->method_at, head->method_len);
    struct span path = span_of(base + head->target_at, head->target_len);
    const uint8_t *query = memchr(path.data, '?', path.len);
    bool head_only = span_equal(method, BYTES("HEAD"));

    if (query)
        path.len = (size_t)(query - path.data);
    if (head_only || span_equal(method, BYTES("GET")))
        answer_path(path, pages, head_only, out);
    else
        refuse(out, "405 Method Not Allowed", "Allow: GET, HEAD\r\n");
}

bool admin_answer(struct span bytes, const struct admin_pages *pages, struct buffer *out)
{
    CLEANUP(http1_free) struct http1 *request = http1_new(HTTP1_REQUEST);
    size_t consumed;

    if (!request) {
        refuse(out, "503 Service Unavailable", "");
        return true;
    }
    switch (http1_feed(request, bytes, &consumed)) {
    case HTTP1_MORE:
        if (bytes.len < ADMIN_HEAD_MAX)
            return false;
        refuse(out, "431 Request Header Fields Too Large", "");
        return true;
    case HTTP1_HEAD:
        answer_head(http1_head(request), bytes.data, pages, out);
        return true;
    default:
        refuse(out, "400 Bad Request", "");
        return true;
    }
}

/* ---- connections ---- */

static void drop(struct connection *connection)
{
    struct admin *admin = connection->admin;

    TAILQ_REMOVE(&admin->connections, connection, all);
    admin->len--;
    if (connection->readable)
        event_free(connection->readable);
    if (connection->writable)
        event_free(connection->writable);
    if (connection->late)
        event_free(connection->late);
    buffer_fini(&connection->out);
    fd_close(&connection->fd);
    free(connection);
}

/* Reads what there is of the request: false when the client has left. Behind its answer, what it
 * still says is taken and thrown away: to close on it would be a reset, which can cost the client
 * the answer. */
static bool read_some(struct connection *connection)
{
    bool answered = connection->out.len > 0;
    char ignored[4096];
    char *to = answered ? ignored : connection->in + connection->in_len;
    size_t size = answered ? sizeof(ignored) : sizeof(connection->in) - connection->in_len;
    ssize_t n = recv(connection->fd, to, size, 0);

    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    if (answered)
        return true;
    connection->in_len += (size_t)n;
    admin_answer(span_of(connection->in, connection->in_len), &connection->admin->pages,
                 &connection->out);
    return !connection->out.failed;
}

static bool write_some(struct connection *connection)
{
    ssize_t n = send(connection->fd, connection->out.data + connection->sent,
                     connection->out.len - connection->sent, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)n;
    if (connection->sent == connection->out.len)
        shutdown(connection->fd, SHUT_WR);
    return true;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;
    bool stays = !(what & EV_READ) || read_some(connection);

    (void)fd;
    if (stays && connection->sent < connection->out.len)
        stays = write_some(connection);
    if (stays && connection->sent < connection->out.len)
        stays = event_add(connection->writable, NULL) == 0;
    if (!stays)
        drop(connection);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    drop(arg);
}

/* Takes fd, also where there is no memory: then the client is sent away. */
static void begin(struct admin *admin, int fd)
{
    static const struct timeval patience = {.tv_sec = ADMIN_PATIENCE_S};
    struct connection *connection = calloc(1, sizeof(*connection));

    if (!connection) {
        close(fd);
        return;
    }
    connection->admin = admin;
    connection->fd = fd;
    TAILQ_INSERT_TAIL(&admin->connections, connection, all);
    admin->len++;
    connection->readable = event_new(admin->base, fd, EV_READ | EV_PERSIST, on_ready, connection);
    connection->writable = event_new(admin->base, fd, EV_WRITE, on_ready, connection);
    connection->late = evtimer_new(admin->base, on_late, connection);
    if (!connection->readable || !connection->writable || !connection->late ||
        event_add(connection->readable, NULL) < 0 || event_add(connection->late, &patience) < 0)
        drop(connection);
}

/* A few a turn: who connects in a loop does not keep the control loop from its work. */
static void on_client(evutil_socket_t listener, short what, void *arg)
{
    struct admin *admin = arg;

    (void)what;
    for (int i = 0; i < AT_ONCE; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && admin->len) {
            drop(TAILQ_FIRST(&admin->connections)); /* else the queue would stay readable */
            continue;
        }
        if (fd < 0)
            return;
        if (admin->len == ADMIN_CONNECTIONS)
            drop(TAILQ_FIRST(&admin->connections));
        begin(admin, fd);
    }
}

/* ---- the listener ---- */

static int listen_at(struct admin *admin, const char *address, struct err *err)
{
    struct sockaddr_storage where;
    int len = sizeof(where), on = 1;

    if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&where, &len) < 0)
        return err_set(err, -EINVAL, "'%s' is no address and port, such as 127.0.0.1:9470",
                       address);
    admin->fd = socket(where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (admin->fd < 0)
        return err_sys(err, -errno, "%s", address);
    setsockopt(admin->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(admin->fd, (struct sockaddr *)&where, (socklen_t)len) < 0 ||
        listen(admin->fd, BACKLOG) < 0) {
        if (errno == EADDRINUSE)
            return err_set(err, -EADDRINUSE,
                           "another program, perhaps another agent, listens at %s; choose another "
                           "address and port, or '' for none",
                           address);
        return err_sys(err, -errno, "%s", address);
    }
    return 0;
}

int admin_new(struct admin **out, struct event_base *base, const char *address,
              const struct admin_pages *pages, struct err *err)
{
    CLEANUP(admin_free) struct admin *admin = calloc(1, sizeof(*admin));
    int result;

    if (!admin)
        return err_set(err, -ENOMEM, "no memory for the admin address");
    TAILQ_INIT(&admin->connections);
    admin->base = base;
    admin->pages = *pages;
    admin->fd = -1;
    result = listen_at(admin, address, err);
    if (result < 0)
        return result;
    admin->on_client = event_new(base, admin->fd, EV_READ | EV_PERSIST, on_client, admin);
    if (!admin->on_client || event_add(admin->on_client, NULL) < 0)
        return err_set(err, -ENOMEM, "no memory for the admin address");
    *out = TAKE(admin);
    return 0;
}

void admin_free(struct admin **admin)
{
    struct admin *gone = TAKE(*admin);

    if (!gone)
        return;
    while (!TAILQ_EMPTY(&gone->connections))
        drop(TAILQ_FIRST(&gone->connections));
    if (gone->on_client)
        event_free(gone->on_client);
    fd_close(&gone->fd);
    free(gone);
}
