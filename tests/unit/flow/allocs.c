/* allocs: one whole connection, from the accepted socket to its close, with the n-th allocation
 * refused, for every n there is: on the worker that carries it, and on the thread that tells of it.
 *
 * A real worker, store and bus; a program and an origin over loopback. Each connection ends in a
 * right answer or in a failure that its program can see; the next one works; every event is told
 * whole or counted as lost; the sanitizers watch memory. */
#include "tests/unit/flow/allocs_bed.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"

enum { FOREVER = 1 << 30 };

static unsigned connections;
static unsigned went_on; /* of them, where sessions go on */

/* ---- a program ----------------------------------------------------------------------------------
 */

enum outcome {
    RIGHT,
    FAILED, /* and the program can see that */
    WRONG,  /* it believes something that is not so */
    HUNG,
};

static const char *const outcomes[] = {"right", "failed", "wrong", "hung"};

static bool begins_like(struct span bytes, struct span of)
{
    return bytes.len <= of.len && memcmp(bytes.data, of.data, bytes.len) == 0;
}

static bool is_refusal(const struct scenario *now, struct span got)
{
    return now->refusal_len && got.len == now->refusal_len && begins_like(now->refusal, got);
}

static enum outcome exchange(struct peer *peer, const struct scenario *now, const struct talk *talk,
                             bool until_close)
{
    uint8_t got[8192];
    size_t len = 0;

    if (!peer_write(peer, talk->request))
        return FAILED;
    while (!peer->ended && (len < talk->answer.len || until_close || now->unheard) &&
           !is_refusal(now, span_of(got, len)))
        len += peer_read(peer, got + len, sizeof(got) - len);
    if (peer->hung)
        return HUNG;
    if (!now->unheard && span_equal(span_of(got, len), talk->answer) &&
        (!until_close || peer->ended_well))
        return RIGHT;
    if (begins_like(span_of(got, len), talk->answer))
        return until_close && len && peer->ended_well && len < talk->answer.len ? WRONG : FAILED;
    return now->refusal.len && begins_like(now->refusal, span_of(got, len)) ? FAILED : WRONG;
}

static bool speaks_as_agreed(const struct peer *peer, const struct scenario *now)
{
    const unsigned char *chosen;
    unsigned len;

    SSL_get0_alpn_selected(peer->ssl, &chosen, &len);
    return now->alpn ? len && memcmp(chosen, now->alpn + 1, len) == 0 : !len;
}

static enum outcome secure(struct peer *peer, const struct scenario *now)
{
    char host[64];

    /* a leaf of its own */
    snprintf(host, sizeof(host), "n%u.example.com", now->again ? 0 : connections);
    peer->ssl = SSL_new(now->untouched ? direct_ctx : program_ctx);
    SSL_set_fd(peer->ssl, peer->fd);
    SSL_set_tlsext_host_name(peer->ssl, host);
    SSL_set1_host(peer->ssl, host);
    if (now->alpn)
        SSL_set_alpn_protos(peer->ssl, (const unsigned char *)now->alpn,
                            (unsigned)strlen(now->alpn));
    if (now->again && session)
        SSL_set_session(peer->ssl, session);
    if (SSL_connect(peer->ssl) != 1)
        return SSL_get_error(peer->ssl, -1) == SSL_ERROR_WANT_READ ? HUNG : FAILED;
    if (now->unheard && !now->refusal.len)
        return WRONG; /* such an origin was to be refused */
    return speaks_as_agreed(peer, now) ? RIGHT : WRONG;
}

static enum outcome converse(struct peer *peer, const struct scenario *now)
{
    enum outcome outcome = now->tls ? secure(peer, now) : RIGHT;
    struct pollfd ticket = {.fd = peer->fd, .events = POLLIN};

    if (outcome == RIGHT && now->again && poll(&ticket, 1, WAIT_SECONDS * 1000) != 1)
        return HUNG;
    for (size_t i = 0; outcome == RIGHT && i < EXCHANGES && now->talks[i].request.len; i++)
        outcome =
            exchange(peer, now, &now->talks[i],
                     now->until_close && (i + 1 == EXCHANGES || !now->talks[i + 1].request.len));
    return outcome;
}

static void wait_until_gone(void)
{
    uint64_t late = clock_ns() + WAIT_SECONDS * UINT64_C(1000000000);

    while (worker_load(worker) && clock_ns() < late)
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static enum outcome connection(const struct scenario *now)
{
    struct sockaddr_in at;
    socklen_t at_len = sizeof(at);
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct origin where = {.cookie = ++connections};
    enum outcome outcome;

    getsockname(listener, (struct sockaddr *)&at, &at_len);
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&at, at_len), 0);
    peer_prepare(peer.fd);
    where.dst = (struct addr){.ip = {[10] = 0xff, 0xff, 203, 0, 113, 10}, .port = now->port};
    worker_give(worker, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), -1, &where,
                process_ref(&process), &pod, credentials);
    outcome = converse(&peer, now);
    if (now->again && outcome == RIGHT) {
        SSL_SESSION_free(session);
        session = SSL_get1_session(peer.ssl);
        went_on += (unsigned)SSL_session_reused(peer.ssl);
    }
    peer_close(&peer);
    wait_until_gone();
    return worker_load(worker) ? HUNG : outcome;
}

/* ---- every allocation
 * ---------------------------------------------------------------------------- */

enum { UNHEARD_EACH = 40, UNHEARD_STRIDE = 3 };

struct refusals {
    const char *name;
    enum failing_kind who;
    bool ours;         /* of our own allocations only */
    unsigned long len; /* how many, from the n-th on */
    /* every n so far, then in strides: of one where something is to be refused, in short ones;
     * every n in a full run */
    unsigned long each, stride;
    bool next; /* each time the next connection is tried, too */
};

/* The worker has no flow, and waits. */
static void let_go_of_buffers(void)
{
    while (worker->spare_len)
        free(worker->spare[--worker->spare_len]);
}

/* Whether n was beyond the last one. */
static bool refuse(const struct scenario *now, const struct refusals *how, unsigned long n)
{
    enum outcome whole = now->unheard ? FAILED : RIGHT, outcome;
    bool refused_any, must_work;

    let_go_of_buffers();
    failing_ours = how->ours;
    failing_begin(how->who, n, how->len);
    outcome = connection(now);
    if (how->who == FAILING_EVENTS)
        bus_flush(bus);
    refused_any = failing_end();
    must_work = !refused_any || how->who == FAILING_EVENTS;
    if (site.fault)
        fail_msg("%s, %s, n = %lu: %s", now->name, how->name, n, site.fault);
    if (outcome >= WRONG || (must_work && outcome != whole))
        fail_msg("%s, %s, n = %lu: %s", now->name, how->name, n, outcomes[outcome]);
    if (how->next && connection(now) != whole)
        fail_msg("%s, %s, after n = %lu", now->name, how->name, n);
    return !refused_any;
}

static void refuse_each(const struct scenario *now, const struct refusals *how)
{
    bool closely = now->unheard && how->len == 1;
    unsigned long each = closely && how->each < UNHEARD_EACH ? UNHEARD_EACH : how->each;
    unsigned long stride = closely ? UNHEARD_STRIDE : how->stride;
    bool full = getenv("SALLYPORT_FULL");
    unsigned long n = 1, tried = 1;

    for (; !refuse(now, how, n); tried++)
        n += full || n < each ? 1 : stride;
    print_message("  %s, %s: %lu of %lu\n", now->name, how->name, tried, n);
}

/* ---- what was told
 * ------------------------------------------------------------------------------- */

static void expect_whole(const char *line)
{
    static const char
        *const http[] = {"\"host\":",     "\"method\":",          "\"url\":", "\"path\":",
                         "\"protocol\":", "\"request_headers\":", NULL},
               *const tls[] = {"\"sni\":",    "\"version\":",   "\"cipher\":", "\"subject\":",
                               "\"issuer\":", "\"not_after\":", "\"sha256\":", NULL},
               *const dns[] = {"\"names\":", "\"qtypes\":", NULL},
               *const grpc[] = {"\"host\":",     "\"service\":",     "\"method\":",
                                "\"protocol\":", "\"status_name\":", NULL},
               *const ws[] = {"\"host\":",     "\"url\":",          "\"path\":",
                              "\"protocol\":", "\"close_reason\":", NULL},
               *const none[] = {NULL};
    const char *const *wanted = none;

    if (strstr(line, SECRET))
        fail_msg("a secret was told: %s", line);
    if (strstr(line, "\"error\":") || strstr(line, "\"passthrough\""))
        return;
    if (strncmp(line, "{\"process_http\"", 15) == 0)
        wanted = http;
    else if (strncmp(line, "{\"process_tls\"", 14) == 0)
        wanted = tls;
    else if (strncmp(line, "{\"process_dns\"", 14) == 0)
        wanted = dns;
    else if (strncmp(line, "{\"process_grpc\"", 15) == 0)
        wanted = grpc;
    else if (strncmp(line, "{\"process_websocket\"", 20) == 0)
        wanted = ws;
    for (; *wanted; wanted++)
        if (!strstr(line, *wanted))
            fail_msg("%s is missing in %s", *wanted, line);
}

static unsigned long count_lost(const char *line)
{
    const char *count = strstr(line, "\"count\":\"");

    assert_non_null(count);
    return strtoul(count + 9, NULL, 10);
}

static void every_event_is_told_whole_or_counted(void)
{
    FILE *file = fdopen(dup(sinks[0].fd), "r");
    char *line = NULL;
    size_t size = 0;
    static unsigned long lost_before; /* and not told then */
    unsigned long told = 0, lost = 0;

    assert_non_null(file);
    bus_flush(bus);
    rewind(file);
    while (getline(&line, &size, file) > 0) {
        if (strncmp(line, "{\"lost_events\"", 14) == 0) {
            lost += count_lost(line);
            continue;
        }
        told++;
        expect_whole(line);
    }
    free(line);
    fclose(file);
    print_message("  %lu told, %lu lost\n", told, lost);
    assert_int_equal(told + lost + sinks[0].lost, emitted + lost_before);
    lost_before = sinks[0].lost;
    emitted = 0;
    for (size_t i = 0; i < ARRAY_SIZE(sinks); i++)
        if (ftruncate(sinks[i].fd, 0) < 0 || lseek(sinks[i].fd, 0, SEEK_SET) < 0)
            fail();
}

/* ---- what is said
 * -------------------------------------------------------------------------------- */

#define TEN(x) x x x x x x x x x x
#define BODY   TEN(TEN("twenty-two letters; ok"))
#define GET                                                                                        \
    "GET /at?a=b HTTP/1.1\r\nHost: www.example.com\r\nAuthorization: Bearer " SECRET "\r\n"        \
    "Referer: http://user:" SECRET "@www.example.com/\r\n\r\n"
#define OK       "HTTP/1.1 200 OK\r\n"
#define BAD      "HTTP/1.1 400 Bad Request\r\n"
#define CHUNKED  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
#define HTTP1    "\x08http/1.1"
#define WEB      "application/grpc-web\r\nContent-Length: "
#define UPGRADE  "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define QUESTION "\0\x19id\1\0\0\1\0\0\0\0\0\0\4ebpf\2io\0\0\1\0\1"
#define RECORD   "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xcb\0\x71\x0a"
#define ANSWER   "\0\x29id\x81\x80\0\1\0\1\0\0\0\0\4ebpf\2io\0\0\1\0\1" RECORD

static const struct scenario
    get = {"GET, body until the end",
           SITE_GOOD,
           443,
           .tls = true,
           .alpn = HTTP1,
           .until_close = true,
           .talks = {{BYTES(GET), BYTES(OK "\r\n" BODY)}},
           .refusal = BYTES("HTTP/1.1 502 ")},
    post = {"POST twice, chunked",
            SITE_GOOD,
            443,
            .tls = true,
            .talks = {{BYTES("POST / HTTP/1.1\r\nHost: www.example.com\r\n" CHUNKED),
                       BYTES(OK CHUNKED)},
                      {BYTES(GET), BYTES(OK "Content-Length: 2\r\n\r\nok")}},
            .refusal = BYTES("HTTP/1.1 502 ")},
    demanded = {"GET, by a certificate of ours",
                SITE_DEMANDS,
                443,
                .tls = true,
                .until_close = true,
                .talks = {{BYTES(GET), BYTES(OK "\r\n" BODY)}},
                .refusal = BYTES("HTTP/1.1 502 ")},
    again = {"GET, in a session that goes on",
             SITE_GOOD,
             443,
             .tls = true,
             .again = true,
             .alpn = HTTP1,
             .talks = {{BYTES(GET), BYTES(OK "Content-Length: 2\r\n\r\nok")}},
             .refusal = BYTES("HTTP/1.1 502 ")},
    unknown_ca = {"an unknown authority's",
                  SITE_UNKNOWN_CA,
                  443,
                  .tls = true,
                  .unheard = true,
                  .talks = {{BYTES(GET), BYTES("")}}},
    wrong_name = {"another name's", SITE_WRONG_NAME, 443,
                  .tls = true,      .unheard = true, .talks = {{BYTES(GET), BYTES("")}}},
    untouched = {"passed on untouched",
                 SITE_GOOD,
                 443,
                 .tls = true,
                 .untouched = true,
                 .alpn = "\12acme-tls/1",
                 .until_close = true,
                 .talks = {{BYTES("some"), BYTES("thing" BODY)}}},
    other = {"another protocol, as bytes",
             SITE_GOOD,
             443,
             .tls = true,
             .alpn = "\4imap",
             .talks = {{BYTES("a1 NOOP\r\n"), BYTES("a1 OK\r\n")},
                       {BYTES("some"), BYTES("thing" BODY)}}},
    plain = {"plain GET, body until the end",
             SITE_PLAIN,
             80,
             .until_close = true,
             .talks = {{BYTES(GET), BYTES(OK "\r\n" BODY)}},
             .refusal = BYTES("HTTP/1.1 502 ")},
    carried = {"a call and a WebSocket", SITE_PLAIN, 80,
               .talks = {{BYTES("POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: " WEB "6\r\n\r\n"
                                "\0\0\0\0\1a"),
                          BYTES(OK "Content-Type: " WEB "27\r\n\r\n\0\0\0\0\1a\x80\0\0\0\20"
                                   "grpc-status: 0\r\n")},
                         {BYTES("GET / HTTP/1.1\r\nHost: a\r\n" UPGRADE "Sec-WebSocket-Key: "
                                "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
                          BYTES("HTTP/1.1 101 Fine\r\n" UPGRADE "Sec-WebSocket-Accept: "
                                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\1a\x88\3\3\xe8z")}},
               .refusal = BYTES("HTTP/1.1 502 ")},
    tunnel = {"CONNECT", SITE_PLAIN, 8080, .until_close = true,
              .talks = {{BYTES("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), BYTES(OK "\r\n")},
                        {BYTES("\1some"), BYTES("thing")}}},
    refused_request = {"two lengths",
                       SITE_PLAIN,
                       80,
                       .unheard = true,
                       .talks = {{BYTES("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                                        "Content-Length: 2\r\n\r\n"),
                                  BYTES("")}},
                       .refusal = BYTES(BAD)},
    denied = {"a request that no rule allows",
              SITE_PLAIN,
              8443,
              .unheard = true,
              .talks = {{BYTES("GET /admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
                         BYTES("")}},
              .refusal = BYTES("HTTP/1.1 403 ")},
    unread = {"what cannot be read where rules read", SITE_PLAIN, 8443, .unheard = true,
              .talks = {{BYTES("\1some"), BYTES("")}}},
    lookup = {"DNS",
              SITE_PLAIN,
              53,
              .talks = {{BYTES(QUESTION), BYTES(ANSWER)}, {BYTES(QUESTION), BYTES(ANSWER)}},
              .refusal = BYTES("\0\x19id\x81"),
              .refusal_len = sizeof(QUESTION) - 1}; /* REFUSED: its policies cannot be asked */

/* ---- the tests
 * ----------------------------------------------------------------------------------- */

static void try(const struct scenario *now)
{
    static const struct refusals refusals[] = {
        {"one of ours", FAILING_WORKER, .ours = true, .len = 1, .each = FOREVER, .next = true},
        {"three of ours", FAILING_WORKER, .ours = true, .len = 3, .each = FOREVER},
        {"ours from there on", FAILING_WORKER, .ours = true, .len = FOREVER, .each = FOREVER},
        {"one", FAILING_WORKER, .len = 1, .stride = 101},
        {"eight", FAILING_WORKER, .len = 8, .stride = 101},
        {"all from there on", FAILING_WORKER, .len = FOREVER, .stride = 101},
        {"one, telling", FAILING_EVENTS, .len = 1, .each = FOREVER},
        {"all, telling", FAILING_EVENTS, .len = FOREVER, .each = FOREVER},
    };

    site.scenario = now;
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
        refuse_each(now, &refusals[i]);
    assert_int_equal(connection(now), now->unheard ? FAILED : RIGHT);
    assert_true(!now->again || went_on);
    every_event_is_told_whole_or_counted();
}

/* First of all, before anything that is made once could be made: each of these fails once. */
static void the_first_connection_of_all(void **state)
{
    static const struct refusals telling = {"one, telling", FAILING_EVENTS, .len = 1,
                                            .each = FOREVER},
                                 one = {"one", FAILING_WORKER, .len = 1, .each = 2000,
                                        .stride = 17};

    (void)state;
    site.scenario = &get;
    refuse_each(&get, &telling);
    refuse_each(&get, &one);
    assert_int_equal(connection(&get), RIGHT);
    every_event_is_told_whole_or_counted();
}

#define TRY(scenario)                                                                              \
    static void each_allocation_of_##scenario(void **state)                                        \
    {                                                                                              \
        (void)state;                                                                               \
        try(&scenario);                                                                            \
    }

TRY(get)
TRY(post)
TRY(demanded)
TRY(again)
TRY(unknown_ca)
TRY(wrong_name)
TRY(untouched)
TRY(other)
TRY(plain)
TRY(carried)
TRY(tunnel)
TRY(refused_request)
TRY(denied)
TRY(unread)
TRY(lookup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_connection_of_all),
        cmocka_unit_test(each_allocation_of_get),
        cmocka_unit_test(each_allocation_of_post),
        cmocka_unit_test(each_allocation_of_demanded),
        cmocka_unit_test(each_allocation_of_again),
        cmocka_unit_test(each_allocation_of_unknown_ca),
        cmocka_unit_test(each_allocation_of_wrong_name),
        cmocka_unit_test(each_allocation_of_untouched),
        cmocka_unit_test(each_allocation_of_other),
        cmocka_unit_test(each_allocation_of_plain),
        cmocka_unit_test(each_allocation_of_carried),
        cmocka_unit_test(each_allocation_of_tunnel),
        cmocka_unit_test(each_allocation_of_refused_request),
        cmocka_unit_test(each_allocation_of_denied),
        cmocka_unit_test(each_allocation_of_unread),
        cmocka_unit_test(each_allocation_of_lookup),
    };

    if (!failing_init())
        return 1;
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, begin, end);
}
