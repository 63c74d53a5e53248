/* query_bed: a program that asks and a server that answers, at the two ends of a flow of DNS
 * messages; the relay between them is the real one. */
#pragma once

#include "proxy/flow/query.h"

#include <errno.h>
#include <sys/socket.h>

#include "proxy/flow/steps.h"
#include "proxy/dns/names.h"
#include "tests/unit/dns/asked.h"
#include "tests/unit/dns/policed.h"

static struct worker *worker;
static struct flow flow;
static struct pod pod = {.cgroup_id = 7, .tls_read = true};
static int program, server;

/* ---- in the place of the worker's and the dial's ---- */

uint8_t *worker_buffer_get(struct worker *at, size_t *size)
{
    (void)at;
    *size = WORKER_BUFFER;
    return malloc(WORKER_BUFFER);
}

uint8_t *worker_buffer_grow(struct worker *at, uint8_t *buffer, size_t len, size_t *size)
{
    (void)at;
    (void)len;
    *size *= 2;
    return realloc(buffer, *size);
}

void worker_buffer_put(struct worker *at, uint8_t *buffer, size_t size)
{
    (void)at;
    (void)size;
    free(buffer);
}

int dial_connected(struct flow *at)
{
    (void)at;
    return 0;
}

void dial_explain_alert(struct flow *at)
{
    (void)at;
}

/* ---- a program, a server, and the flow between them ---- */

static inline int make_leg(struct leg *leg)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    leg_init(leg, worker);
    leg->fd = pair[0];
    return pair[1];
}

static inline int begin(void **state)
{
    (void)state;
    atomic_init(&pod.refs, 1);
    told[0] = 0;
    worker = calloc(1, sizeof(*worker));
    if (!worker || names_new(&worker->parts.names, NULL) < 0)
        return -1;
    memset(&flow, 0, sizeof(flow));
    flow.worker = worker;
    flow.state = FLOW_RELAYING;
    flow.facts.who.pod = &pod;
    flow.facts.visibility = VISIBILITY_PLAINTEXT;
    program = make_leg(&flow.pod);
    server = make_leg(&flow.upstream);
    relay_init(&flow.relay, RELAY_DNS);
    query_init(&flow);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    relay_fini(&flow.relay, worker);
    leg_fini(&flow.pod, false);
    leg_fini(&flow.upstream, false);
    names_free(&worker->parts.names);
    free(worker);
    fd_close(&program);
    fd_close(&server);
    return 0;
}

/* As often as edges may tell. */
static inline enum flow_state run(void)
{
    enum flow_state next = FLOW_RELAYING;

    for (int i = 0; i < 8 && next == FLOW_RELAYING; i++) {
        flow.pod.readable = flow.pod.writable = true;
        flow.upstream.readable = flow.upstream.writable = true;
        next = relay(&flow);
    }
    return next;
}

static inline void write_all(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static inline void say(int fd, struct span message)
{
    const uint8_t length[] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};

    write_all(fd, length, sizeof(length));
    write_all(fd, message.data, message.len);
}

static inline void expect_bytes(int fd, struct span wanted)
{
    static uint8_t got[65536];

    assert_int_equal(recv(fd, got, wanted.len, MSG_WAITALL), wanted.len);
    assert_memory_equal(got, wanted.data, wanted.len);
}

static inline void expect(int fd, struct span wanted)
{
    const uint8_t length[] = {(uint8_t)(wanted.len >> 8), (uint8_t)wanted.len};

    expect_bytes(fd, span_of(length, sizeof(length)));
    expect_bytes(fd, wanted);
}

static inline void expect_nothing(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static inline void expect_end(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

#define QUESTION BYTES(QUERY("id", IO, A))
#define ADDRESS  BYTES(ANSWER("id", IO, A, ONE) IP4("\x0a"))

static inline void ask(struct span question)
{
    say(program, question);
    assert_int_equal(run(), FLOW_RELAYING);
    expect(server, question);
}
