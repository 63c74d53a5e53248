/* admin: what is answered to which bytes; and over real sockets, how little a client may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "proxy/telemetry/admin.h"

static const char *reason; /* why it is not ready */

static void metrics(void *arg, struct buffer *out)
{
    (void)arg;
    buffer_text(out, "things 7\n");
}

static const char *not_ready(void *arg)
{
    (void)arg;
    return reason;
}

static const struct admin_pages pages = {.metrics = metrics, .not_ready = not_ready};

#define HOST "Host: a\r\n\r\n"

static void answers(void **state)
{
    static const struct {
        const char *request, *why;
        const char *begins, *ends; /* NULL: more bytes are needed */
    } rows[] = {
        {"GET /metrics HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 200 OK\r\n", "\r\n\r\nthings 7\n"},
        {"GET /metrics?name[]=x HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 200 ", "things 7\n"},
        {"GET /metrics HTTP/1.0\r\n\r\n", NULL, "HTTP/1.1 200 ", "things 7\n"},
        {"HEAD /metrics HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 200 ",
         "Content-Length: 9\r\nConnection: close\r\n\r\n"},
        {"GET /livez HTTP/1.1\r\n" HOST, "draining", "HTTP/1.1 200 ", "\r\n\r\nalive\n"},
        {"GET /readyz HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 200 ", "\r\n\r\nready\n"},
        {"GET /readyz HTTP/1.1\r\n" HOST, "draining", "HTTP/1.1 503 ", "\r\n\r\ndraining\n"},
        {"GET / HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 404 ", "404 Not Found\n"},
        {"GET /metrics/ HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 404 ", "\n"},
        {"GET //metrics HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 404 ", "\n"},
        {"GET http://a/metrics HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 404 ", "\n"},
        {"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n" HOST, NULL,
         "HTTP/1.1 405 Method Not Allowed\r\n", "Allow: GET, HEAD\r\n\r\n405 Method Not Allowed\n"},
        {"OPTIONS * HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 405 ", "\n"},
        {"CONNECT a:1 HTTP/1.1\r\n" HOST, NULL, "HTTP/1.1 405 ", "\n"},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NULL, "HTTP/1.1 400 ", "\n"},
        {"GET /metrics HTTP/1.1\r\nA: b\nC: d\r\n" HOST, NULL, "HTTP/1.1 400 ", "\n"},
        {"GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" HOST, NULL,
         "HTTP/1.1 400 ", "\n"},
        {"", NULL, NULL, NULL},
        {"GET /metr", NULL, NULL, NULL},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n", NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};
        bool complete;

        reason = rows[i].why;
        complete = admin_answer(span_of_text(rows[i].request), &pages, &out);
        assert_int_equal(complete, rows[i].begins != NULL);
        if (!complete) {
            assert_int_equal(out.len, 0);
            continue;
        }
        buffer_append(&out, "", 1);
        if (strncmp(out.data, rows[i].begins, strlen(rows[i].begins)) != 0 ||
            out.len - 1 < strlen(rows[i].ends) ||
            strcmp(out.data + out.len - 1 - strlen(rows[i].ends), rows[i].ends) != 0)
            fail_msg("%s\n%s", rows[i].request, out.data);
    }
}

static void a_head_has_an_end(void **state)
{
    CLEANUP(buffer_fini) struct buffer out = {0};
    char head[ADMIN_HEAD_MAX] = "GET /metrics HTTP/1.1\r\nA: ";

    (void)state;
    memset(head + strlen(head), 'a', sizeof(head) - strlen(head));
    assert_false(admin_answer(span_of(head, sizeof(head) - 1), &pages, &out));
    assert_true(admin_answer(span_of(head, sizeof(head)), &pages, &out));
    assert_memory_equal(out.data, "HTTP/1.1 431 ", 13);
}

/* ---- over sockets ---- */

static struct event_base *base;
static uint16_t port;

static struct admin *serve(void)
{
    struct admin *admin = NULL;
    struct err err = {0};
    char address[32];

    base = event_base_new();
    for (port = 20000 + (uint16_t)(getpid() % 20000); !admin && port < 50000; port += 7) {
        snprintf(address, sizeof(address), "127.0.0.1:%u", port);
        if (admin_new(&admin, base, address, &pages, &err) == 0)
            return admin;
        assert_int_equal(err.code, -EADDRINUSE);
        assert_non_null(strstr(err.text, "another program, perhaps another agent, listens at"));
    }
    fail_msg("no port is free");
    return NULL;
}

static int client(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void turn(int ms)
{
    struct timeval wait = {.tv_usec = ms * 1000};

    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
}

/* Runs the loop until the server has closed; returns what came. */
static size_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;

    for (;;) {
        n = recv(fd, out + len, size - len - 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        if (n > 0)
            len += (size_t)n;
        else
            turn(1);
    }
    out[len] = 0;
    return len;
}

static void a_second_one_is_told_that_the_first_is_there(void **state)
{
    struct admin *admin = serve(), *second = NULL;
    char address[32];
    struct err err;

    (void)state;
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    assert_int_equal(admin_new(&second, base, address, &pages, &err), -EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(err.text, address));
    admin_free(&admin);
    event_base_free(base);
}

static void answers_however_it_is_cut(void **state)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\n" HOST;
    struct admin *admin = serve();
    int fd = client();
    char text[1024];

    (void)state;
    for (const char *at = request; *at; at++) {
        assert_int_equal(send(fd, at, 1, 0), 1);
        turn(1);
    }
    read_all(fd, text, sizeof(text));
    assert_non_null(strstr(text, "things 7\n"));
    close(fd);
    admin_free(&admin);
    event_base_free(base);
}

/* Clients that connect and say nothing, far more than there may be: each later one is served. */
static void the_oldest_goes_for_the_latest(void **state)
{
    static const char request[] = "GET /livez HTTP/1.1\r\n" HOST;
    struct admin *admin = serve();
    int silent[2 * ADMIN_CONNECTIONS], fd;
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
        silent[i] = client();
        turn(1);
    }
    fd = client();
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    read_all(fd, text, sizeof(text));
    assert_non_null(strstr(text, "alive\n"));
    close(fd);
    assert_int_equal(recv(silent[0], text, 1, MSG_DONTWAIT), 0); /* the first had to go */
    assert_int_equal(recv(silent[2 * ADMIN_CONNECTIONS - 1], text, 1, MSG_DONTWAIT), -1);
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
        close(silent[i]);
    admin_free(&admin);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(a_head_has_an_end),
        cmocka_unit_test(a_second_one_is_told_that_the_first_is_there),
        cmocka_unit_test(answers_however_it_is_cut),
        cmocka_unit_test(the_oldest_goes_for_the_latest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
