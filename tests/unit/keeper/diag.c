/* diag: what sock_diag tells of connections, as it tells it and as it never should; and what it
 * does tell here. */
#include "proxy/keeper/diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"

/* A datagram as the kernel sends it, written message by message. */
struct dump {
    uint8_t bytes[4096];
    size_t len;
};

static void put(struct dump *dump, const void *data, size_t len)
{
    assert_true(dump->len + NLMSG_ALIGN(len) <= sizeof(dump->bytes));
    memset(dump->bytes + dump->len, 0, NLMSG_ALIGN(len));
    if (len)
        memcpy(dump->bytes + dump->len, data, len);
    dump->len += NLMSG_ALIGN(len);
}

static size_t begin_attr(struct dump *dump, uint16_t type)
{
    struct nlattr attr = {.nla_type = type};
    size_t at = dump->len;

    put(dump, &attr, sizeof(attr));
    return at;
}

static void end_attr(struct dump *dump, size_t at)
{
    uint16_t len = (uint16_t)(dump->len - at);

    memcpy(dump->bytes + at, &len, sizeof(len));
}

static void put_attr(struct dump *dump, uint16_t type, const void *data, size_t len)
{
    size_t at = begin_attr(dump, type);
    uint16_t whole = (uint16_t)(sizeof(struct nlattr) + len);

    put(dump, data, len);
    memcpy(dump->bytes + at, &whole, sizeof(whole));
}

static size_t begin(struct dump *dump, uint16_t type, const void *body, size_t len)
{
    struct nlmsghdr head = {.nlmsg_type = type};
    size_t at = dump->len;

    put(dump, &head, sizeof(head));
    put(dump, body, len);
    return at;
}

static void end(struct dump *dump, size_t at)
{
    uint32_t len = (uint32_t)(dump->len - at);

    memcpy(dump->bytes + at, &len, sizeof(len));
}

struct told {
    const char *src, *dst;
    uint8_t state;
    uint32_t inode;
    uint64_t cgroup;
    uint64_t acked, sent, retransmitted, received;
    uint32_t under_way;
    uint16_t tls;
    size_t info; /* bytes of it; 0: all, as this build knows it */
};

static void put_socket(struct dump *dump, const struct told *told)
{
    struct inet_diag_msg message = {
        .idiag_family = strchr(told->src, ':') ? AF_INET6 : AF_INET,
        .idiag_state = told->state,
        .idiag_inode = told->inode,
        .id = {.idiag_sport = htons(1024), .idiag_dport = htons(443), .idiag_cookie = {7, 1}},
    };
    struct tcp_info info = {
        .tcpi_unacked = told->under_way,
        .tcpi_bytes_acked = told->acked,
        .tcpi_bytes_sent = told->sent,
        .tcpi_bytes_retrans = told->retransmitted,
        .tcpi_bytes_received = told->received,
    };
    size_t at, outer, inner;

    assert_int_equal(inet_pton(message.idiag_family, told->src, message.id.idiag_src), 1);
    assert_int_equal(inet_pton(message.idiag_family, told->dst, message.id.idiag_dst), 1);
    at = begin(dump, SOCK_DIAG_BY_FAMILY, &message, sizeof(message));
    put_attr(dump, INET_DIAG_SHUTDOWN, "", 1);
    put_attr(dump, INET_DIAG_INFO, &info, told->info ? told->info : sizeof(info));
    if (told->cgroup)
        put_attr(dump, INET_DIAG_CGROUP_ID, &told->cgroup, sizeof(told->cgroup));
    if (told->tls) {
        outer = begin_attr(dump, INET_DIAG_ULP_INFO | NLA_F_NESTED);
        put_attr(dump, INET_ULP_INFO_NAME, "tls", 4);
        inner = begin_attr(dump, INET_ULP_INFO_TLS);
        put_attr(dump, TLS_INFO_CIPHER, "\63", 2);
        put_attr(dump, TLS_INFO_VERSION, &told->tls, sizeof(told->tls));
        end_attr(dump, inner);
        end_attr(dump, outer);
    }
    end(dump, at);
}

static void put_code(struct dump *dump, uint16_t type, int32_t code)
{
    end(dump, begin(dump, type, &code, sizeof(code)));
}

static void append(void *arg, const struct diag_socket *socket)
{
    char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX], *text = arg;
    size_t len = strlen(text);

    snprintf(text + len, 512 - len, "%s > %s %u %llx %llu %llu %llu/%llu %s%x\n",
             addr_format(&socket->src, src), addr_format(&socket->dst, dst), socket->state,
             (unsigned long long)socket->cookie, (unsigned long long)socket->inode,
             (unsigned long long)socket->cgroup, (unsigned long long)socket->tx,
             (unsigned long long)socket->rx, socket->begun_here ? "ours " : "",
             socket->tls_version);
}

static void says_what_is_connected(void **state)
{
    static const struct {
        const char *name;
        struct told told;
        const char *said;
    } cases[] = {
        {"IPv4",
         {.src = "192.0.2.2", .dst = "203.0.113.10", .state = 1, .inode = 9, .cgroup = 77},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 9 77 0/0 0\n"},
        {"IPv6",
         {.src = "2001:db8::1", .dst = "2001:db8::2", .state = 8, .inode = 9},
         "[2001:db8::1]:1024 > [2001:db8::2]:443 8 100000007 9 0 0/0 0\n"},
        {"IPv4 by a socket of IPv6",
         {.src = "::ffff:192.0.2.2", .dst = "::ffff:203.0.113.10", .state = 1},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 0 0 0/0 0\n"},
        {"it sent the SYN that was acknowledged, and a request twice",
         {.src = "192.0.2.2",
          .dst = "203.0.113.10",
          .state = 1,
          .acked = 101,
          .sent = 200,
          .retransmitted = 100,
          .received = 5000},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 0 0 100/5000 ours 0\n"},
        {"the other side sent the SYN",
         {.src = "192.0.2.2", .dst = "203.0.113.10", .state = 1, .acked = 100, .sent = 100},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 0 0 100/0 0\n"},
        {"so it cannot be told while something is under way",
         {.src = "192.0.2.2",
          .dst = "203.0.113.10",
          .state = 1,
          .acked = 101,
          .sent = 100,
          .under_way = 1},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 0 0 100/0 0\n"},
        {"nor once a FIN was acknowledged",
         {.src = "192.0.2.2", .dst = "203.0.113.10", .state = 5, .acked = 101, .sent = 100},
         "192.0.2.2:1024 > 203.0.113.10:443 5 100000007 0 0 100/0 0\n"},
        {"whoever waits for an answer to a SYN",
         {.src = "192.0.2.2", .dst = "203.0.113.10", .state = 2},
         "192.0.2.2:1024 > 203.0.113.10:443 2 100000007 0 0 0/0 ours 0\n"},
        {"an older kernel's information is shorter",
         {.src = "192.0.2.2",
          .dst = "203.0.113.10",
          .state = 1,
          .acked = 101,
          .sent = 100,
          .info = 8},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 0 0 0/0 0\n"},
        {"the kernel encrypts",
         {.src = "192.0.2.2", .dst = "203.0.113.10", .state = 1, .tls = 0x0304},
         "192.0.2.2:1024 > 203.0.113.10:443 1 100000007 0 0 0/0 304\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dump dump = {.len = 0};
        char said[512] = "";
        struct err err;
        bool done;

        print_message("  %s\n", cases[i].name);
        put_socket(&dump, &cases[i].told);
        assert_int_equal(diag_take(span_of(dump.bytes, dump.len), append, said, &done, &err), 0);
        assert_string_equal(said, cases[i].said);
        assert_false(done);
    }
}

static const struct told one = {
    .src = "192.0.2.2", .dst = "203.0.113.10", .state = 1, .cgroup = 7, .tls = 0x0304};

static void goes_on_until_all_is_told(void **state)
{
    static const struct {
        const char *name;
        uint16_t type;
        int32_t code;
        int result;
        bool done;
    } cases[] = {
        {"the end", NLMSG_DONE, 0, 0, true},
        {"the end of one that failed", NLMSG_DONE, -EINTR, -EINTR, true},
        {"a refusal", NLMSG_ERROR, -ENOENT, -ENOENT, false},
        {"a refusal that says nothing", NLMSG_ERROR, 0, -EBADMSG, false},
        {"one that is none", NLMSG_DONE, 17, -EBADMSG, true},
        {"something else", NLMSG_NOOP, -EPERM, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dump dump = {.len = 0};
        char said[512] = "";
        struct err err;
        bool done;

        print_message("  %s\n", cases[i].name);
        put_socket(&dump, &one);
        put_code(&dump, cases[i].type, cases[i].code);
        assert_int_equal(diag_take(span_of(dump.bytes, dump.len), append, said, &done, &err),
                         cases[i].result);
        assert_int_equal(done, cases[i].done);
        assert_true(said[0]);
    }
}

static void what_is_cut_says_no_more_than_there_is(void **state)
{
    struct dump dump = {.len = 0};

    (void)state;
    put_socket(&dump, &one);
    for (size_t len = 0; len <= dump.len; len++) {
        uint8_t *exact = malloc(len + 1);
        char said[512] = "";
        struct err err;
        bool done;

        assert_non_null(exact);
        memcpy(exact, dump.bytes, len);
        assert_int_equal(diag_take(span_of(exact, len), append, said, &done, &err), 0);
        assert_int_equal(said[0] != 0, len == dump.len);
        free(exact);
    }
}

static void says_how_ending_one_went(void **state)
{
    struct dump dump = {.len = 0};

    (void)state;
    assert_int_equal(diag_take_end(span_of(dump.bytes, 0)), -EBADMSG);
    put_code(&dump, NLMSG_ERROR, 0);
    assert_int_equal(diag_take_end(span_of(dump.bytes, dump.len)), 0);
    dump.len = 0;
    put_code(&dump, NLMSG_ERROR, -EOPNOTSUPP);
    assert_int_equal(diag_take_end(span_of(dump.bytes, dump.len)), -EOPNOTSUPP);
    assert_int_equal(diag_take_end(span_of(dump.bytes, dump.len - 2)), -EBADMSG);
}

/* ---- the kernel's own
 * ----------------------------------------------------------------------------
 */

struct pair {
    int here, there;
    uint64_t cookie;
    bool found, begun_here;
    size_t others; /* of the other side */
    struct diag_socket socket;
};

static void look(void *arg, const struct diag_socket *socket)
{
    struct pair *pair = arg;
    uint64_t there;
    socklen_t len = sizeof(there);

    assert_int_equal(getsockopt(pair->there, SOL_SOCKET, SO_COOKIE, &there, &len), 0);
    if (socket->cookie == pair->cookie) {
        pair->found = true;
        pair->socket = *socket;
    }
    pair->others += socket->cookie == there && !socket->begun_here;
}

static void tells_a_connection_of_ours_and_its_other_side(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEANUP(fd_close) int listener = socket(AF_INET, SOCK_STREAM, 0);
    CLEANUP(fd_close) int fd = diag_open();
    struct pair pair = {.here = socket(AF_INET, SOCK_STREAM, 0)};
    socklen_t len = sizeof(at), cookie_len = sizeof(pair.cookie);
    struct diag_request request;
    uint8_t answer[32768];
    struct err err;
    bool done = false;

    (void)state;
    if (fd < 0) {
        print_message("SKIP: no sock_diag here\n");
        skip();
    }
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(pair.here, (struct sockaddr *)&at, sizeof(at)), 0);
    pair.there = accept(listener, NULL, NULL);
    assert_int_equal(send(pair.here, "some", 4, 0), 4);
    assert_int_equal(recv(pair.there, answer, 4, MSG_WAITALL), 4);
    assert_int_equal(getsockopt(pair.here, SOL_SOCKET, SO_COOKIE, &pair.cookie, &cookie_len), 0);
    diag_ask_all(&request, AF_INET);
    assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
    while (!done) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);

        assert_true(n > 0);
        assert_int_equal(diag_take(span_of(answer, (size_t)n), look, &pair, &done, &err), 0);
    }
    assert_true(pair.found);
    assert_int_equal(pair.socket.dst.port, ntohs(at.sin_port));
    assert_int_equal(pair.socket.tx, 4); /* without the SYN */
    assert_true(pair.socket.begun_here);
    assert_true(pair.socket.inode);
    assert_int_equal(pair.others, 1);
    close(pair.here);
    close(pair.there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_connected),
        cmocka_unit_test(goes_on_until_all_is_told),
        cmocka_unit_test(what_is_cut_says_no_more_than_there_is),
        cmocka_unit_test(says_how_ending_one_went),
        cmocka_unit_test(tells_a_connection_of_ours_and_its_other_side),
    };

    return cmocka_run_group_tests_name("keeper/diag", tests, NULL, NULL);
}
