/* load: requests over TLS as a client makes them, one thread, for tests/bench/run.
 *
 *   load ADDRESS PORT NAME CA PATH CONNECTIONS SECONDS keep|close|STREAMS|messages
 *
 * Every connection verifies the server (CA, NAME) and resumes nothing. When each has had one answer
 * it says "ready" and waits for a line on stdin; then it works for SECONDS (0: stays idle), says as
 * JSON what it saw, and waits for another line with its connections still open. `close`: a new
 * connection for each request. A number: HTTP/2, so many requests at once on a connection.
 * `messages`: HTTP/2, one stream a connection on which the server sends back what it got; a message
 * is an answer. The rest is HTTP/1.1. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 22, ERRORS_MAX = 1000 };

struct load load;
static struct sockaddr_in server;
static SSL_CTX *ctx;
static char request[512];
static size_t request_len;
static int poll_fd;
static uint32_t *samples;
static size_t samples_len;
static char body[READ_MAX];

uint64_t now_ns(void)
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
    if (!client->ssl || !SSL_set_fd(client->ssl, client->fd) ||
        !SSL_set1_host(client->ssl, load.name) || !SSL_set_tlsext_host_name(client->ssl, load.name))
        die("TLS");
    SSL_set_connect_state(client->ssl);
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
        die("epoll_ctl");
}

static void hang_up(struct client *client)
{
    http2_close(client);
    SSL_free(client->ssl);
    close(client->fd);
    client->ssl = NULL;
}

void load_failed(struct client *client, const char *what)
{
    if (++load.errors == 1)
        fprintf(stderr, "load: %s (verification: %s)\n", what,
                X509_verify_cert_error_string(SSL_get_verify_result(client->ssl)));
    if (load.errors > ERRORS_MAX)
        exit(1);
    hang_up(client);
    dial(client);
}

static void begin_request(struct client *client)
{
    client->sent = client->head_len = 0;
    client->in_body = false;
    if (load.keep)
        client->began_ns = now_ns();
}

void load_answered(struct client *client, uint64_t began_ns)
{
    uint64_t took = now_ns() - began_ns;

    load.answers++;
    client->served = true;
    if (samples_len < SAMPLES_MAX)
        samples[samples_len++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
}

bool load_goes_on(const struct client *client)
{
    return load.resting ? !client->served : now_ns() < load.end_ns;
}

static void answered(struct client *client)
{
    load_answered(client, client->began_ns);
    if (!load.keep) {
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
    load.bytes += len;
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
            if (n == 1 && load.streams)
                http2_open(client);
            if (n == 1)
                continue;
        } else if (load.streams) {
            if (!http2_serve(client))
                return;
            continue;
        } else if (client->sent < request_len) {
            if (!load_goes_on(client))
                return;
            n = SSL_write(client->ssl, request, (int)request_len);
            if (n > 0) {
                client->sent = request_len;
                continue;
            }
        } else {
            n = SSL_read(client->ssl, body, sizeof(body));
            if (n > 0 && !take(client, body, (size_t)n)) {
                load_failed(client, "no answer as wanted");
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
        load_failed(client, "the connection failed");
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
    load.name = argv[3];
    load.path = argv[5];
    load.keep = strcmp(argv[8], "keep") == 0;
    load.messages = strcmp(argv[8], "messages") == 0;
    load.streams = load.messages ? 1 : (unsigned)atoi(argv[8]);
    request_len =
        (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
                         load.path, load.name, load.keep ? "" : "Connection: close\r\n");
    ctx = SSL_CTX_new(TLS_client_method());
    samples = malloc(SAMPLES_MAX * sizeof(*samples));
    poll_fd = epoll_create1(0);
    if (!samples || !ctx || poll_fd < 0 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 ||
        !SSL_CTX_load_verify_locations(ctx, argv[4], NULL))
        die("set-up");
    if (load.streams && SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\2h2", 3) != 0)
        die("ALPN");
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
        fprintf(stderr,
                "load ADDRESS PORT NAME CA PATH CONNECTIONS SECONDS keep|close|STREAMS|messages\n");
        return 2;
    }
    set_up(argv);
    load.resting = true;
    for (size_t i = 0; i < count; i += 32) { /* not more at once than a backlog takes */
        uint64_t wanted = i + 32 < count ? i + 32 : count;

        for (size_t j = i; j < wanted; j++)
            dial(&clients[j]);
        while (load.answers < wanted)
            run_once();
    }
    puts("ready");
    fflush(stdout);
    wait_for_line();
    load.answers = load.bytes = 0;
    samples_len = 0;
    load.resting = seconds == 0;
    began = now_ns();
    load.end_ns = began + seconds * 1000000000u;
    for (size_t i = 0; i < count && seconds; i++)
        serve(&clients[i]);
    while (seconds && now_ns() < load.end_ns)
        run_once();
    qsort(samples, samples_len, sizeof(*samples), by_value);
    printf("{\"answers\":%llu,\"bytes\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f}\n",
           (unsigned long long)load.answers, (unsigned long long)load.bytes,
           (unsigned long long)load.errors, (double)(now_ns() - began) / 1e9,
           samples_len ? samples[samples_len / 2] / 1e3 : 0,
           samples_len ? samples[samples_len * 99 / 100] / 1e3 : 0);
    fflush(stdout);
    wait_for_line();
    return 0;
}
