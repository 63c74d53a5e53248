/* load: HTTP/1.1 requests over TLS as a client makes them, one thread, for tests/bench/run.
 *
 *   load ADDRESS PORT NAME CA PATH CONNECTIONS SECONDS keep|close
 *
 * Every connection verifies the server (CA, NAME) and resumes nothing. When each has had one answer
 * it says "ready" and waits for a line on stdin; then it works for SECONDS (0: stays idle), says as
 * JSON what it saw, and waits for another line with its connections still open. `close`: a new
 * connection for each request. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_MAX = 65536, HEAD_MAX = 4096, SAMPLES_MAX = 1 << 22, ERRORS_MAX = 1000, TURN = 64 };

struct client {
    int fd;
    SSL *ssl;
    bool open;   /* TLS is up */
    bool served; /* one answer has come, on this connection or an earlier one */
    size_t sent; /* bytes of the request */
    char head[HEAD_MAX];
    size_t head_len;
    bool in_body;
    uint64_t left; /* bytes of the answer's body */
    uint64_t began_ns;
};

static struct sockaddr_in server;
static const char *name;
static bool keep, resting; /* until the work begins, who has been served waits */
static SSL_CTX *ctx;
static char request[512];
static size_t request_len;
static int poll_fd;
static uint64_t answers, bytes, errors, end_ns;
static uint32_t *samples;
static size_t samples_len;
static char body[READ_MAX];

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void dial(struct client *client)
{
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};

    *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                              .served = client->served};
    if (client->fd < 0)
        die("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    client->began_ns = now_ns();
    if (connect(client->fd, (struct sockaddr *)&server, sizeof(server)) < 0 && errno != EINPROGRESS)
        die("connect");
    client->ssl = SSL_new(ctx);
    if (!client->ssl || !SSL_set_fd(client->ssl, client->fd) || !SSL_set1_host(client->ssl, name) ||
        !SSL_set_tlsext_host_name(client->ssl, name))
        die("TLS");
    SSL_set_connect_state(client->ssl);
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
        die("epoll_ctl");
}

static void hang_up(struct client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
    client->ssl = NULL;
}

static void fail(struct client *client, const char *what)
{
    if (++errors == 1)
        fprintf(stderr, "load: %s (verification: %s)\n", what,
                X509_verify_cert_error_string(SSL_get_verify_result(client->ssl)));
    if (errors > ERRORS_MAX)
        exit(1);
    hang_up(client);
    dial(client);
}

static void begin_request(struct client *client)
{
    client->sent = client->head_len = 0;
    client->in_body = false;
    if (keep)
        client->began_ns = now_ns();
}

static void answered(struct client *client)
{
    uint64_t now = now_ns();

    answers++;
    client->served = true;
    if (samples_len < SAMPLES_MAX)
        samples[samples_len++] = (uint32_t)((now - client->began_ns) / 1000);
    if (!keep) {
        hang_up(client);
        dial(client);
        return;
    }
    begin_request(client);
}

/* What was read; false: no answer as we want them. */
static bool take(struct client *client, const char *data, size_t len)
{
    if (!client->in_body) {
        size_t room = sizeof(client->head) - 1 - client->head_len, n = len < room ? len : room;
        const char *end, *field;

        memcpy(client->head + client->head_len, data, n);
        client->head_len += n;
        client->head[client->head_len] = 0;
        end = strstr(client->head, "\r\n\r\n");
        if (!end)
            return n == len;
        field = strcasestr(client->head, "\r\ncontent-length:");
        if (strncmp(client->head, "HTTP/1.1 200", 12) != 0 || !field)
            return false;
        client->left = strtoull(field + 17, NULL, 10);
        client->in_body = true;
        len -= (size_t)(end + 4 - client->head) - (client->head_len - n);
    }
    if (len > client->left)
        return false;
    client->left -= len;
    bytes += len;
    return true;
}

/* Until it would have to wait. */
static void serve(struct client *client)
{
    for (int turn = 0; turn < TURN; turn++) {
        int n;

        if (!client->open) {
            n = SSL_connect(client->ssl);
            client->open = n == 1;
            if (n == 1)
                continue;
        } else if (client->sent < request_len) {
            if (resting ? client->served : now_ns() >= end_ns)
                return;
            n = SSL_write(client->ssl, request, (int)request_len);
            if (n > 0) {
                client->sent = request_len;
                continue;
            }
        } else {
            n = SSL_read(client->ssl, body, sizeof(body));
            if (n > 0 && !take(client, body, (size_t)n)) {
                fail(client, "no answer as wanted");
                return;
            }
            if (n > 0 && client->in_body && !client->left) {
                answered(client);
                if (!client->open)
                    return;
            }
            if (n > 0)
                continue;
        }
        n = SSL_get_error(client->ssl, n);
        if (n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE)
            return;
        fail(client, "the connection failed");
        return;
    }
    /* others first; edge-triggered, so it must be called again */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};

    epoll_ctl(poll_fd, EPOLL_CTL_MOD, client->fd, &event);
}

static void run_once(void)
{
    struct epoll_event events[256];
    int n = epoll_wait(poll_fd, events, 256, 10);

    for (int i = 0; i < n; i++)
        serve(events[i].data.ptr);
}

static void wait_for_line(void)
{
    char line[16];

    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void set_up(char **argv)
{
    server =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    name = argv[3];
    keep = strcmp(argv[8], "keep") == 0;
    request_len =
        (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", argv[5],
                         name, keep ? "" : "Connection: close\r\n");
    ctx = SSL_CTX_new(TLS_client_method());
    samples = malloc(SAMPLES_MAX * sizeof(*samples));
    poll_fd = epoll_create1(0);
    if (!samples || !ctx || poll_fd < 0 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 ||
        !SSL_CTX_load_verify_locations(ctx, argv[4], NULL))
        die("set-up");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){65536, 65536});
}

int main(int argc, char **argv)
{
    size_t count = argc == 9 ? (size_t)atoi(argv[6]) : 0;
    uint64_t began, seconds = argc == 9 ? strtoull(argv[7], NULL, 10) : 0;
    struct client *clients = calloc(count ? count : 1, sizeof(*clients));

    if (!count || !clients) {
        fprintf(stderr, "load ADDRESS PORT NAME CA PATH CONNECTIONS SECONDS keep|close\n");
        return 2;
    }
    set_up(argv);
    resting = true;
    for (size_t i = 0; i < count; i += 32) { /* not more at once than a backlog takes */
        uint64_t wanted = i + 32 < count ? i + 32 : count;

        for (size_t j = i; j < wanted; j++)
            dial(&clients[j]);
        while (answers < wanted)
            run_once();
    }
    puts("ready");
    fflush(stdout);
    wait_for_line();
    answers = bytes = samples_len = 0;
    resting = seconds == 0;
    began = now_ns();
    end_ns = began + seconds * 1000000000u;
    for (size_t i = 0; i < count && seconds; i++)
        serve(&clients[i]);
    while (seconds && now_ns() < end_ns)
        run_once();
    qsort(samples, samples_len, sizeof(*samples), by_value);
    printf("{\"answers\":%llu,\"bytes\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"p50_us\":%u,"
           "\"p99_us\":%u}\n",
           (unsigned long long)answers, (unsigned long long)bytes, (unsigned long long)errors,
           (double)(now_ns() - began) / 1e9, samples_len ? samples[samples_len / 2] : 0,
           samples_len ? samples[samples_len * 99 / 100] : 0);
    fflush(stdout);
    wait_for_line();
    return 0;
}
