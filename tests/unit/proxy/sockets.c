/* sockets: when connects and closes are told, whatever comes first, late or never. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/abi.h"
#include "events/flow_event.h"
#include "proxy/handshakes/handshakes.h"
#include "proxy/identity/identity.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/connects.h"
#include "proxy/pods/pods.h"
#include "proxy/dns/resolver.h"
#include "proxy/flow/row.h"
#include "proxy/sockets.h"
#include "proxy/sockets_older.h"

enum { POD = 7, POD_PROCESS = 1234 };

static struct sockets *sockets;
static struct pod pod = {.cgroup_id = POD, .space = (char *)"", .name = (char *)"pod"};
static struct process_life life;
static struct process process = {.pid = POD_PROCESS, .life = &life};
static int flows; /* of the process, as sockets.c counts them */
static char told[4096];
static int closes_told;
static bool done;         /* whether the resolver handled all that sockets sent */
static uint64_t gone_sum; /* of the cookies that were said to be gone */

/* ---- in the place of the bus, the pods, the names and the identity ------------------------------
 */

static void append(const char *text)
{
    size_t len = strlen(told);

    snprintf(told + len, sizeof(told) - len, "%s", text);
}

void bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    char line[256];

    (void)producer;
    assert_non_null(*event);
    closes_told += (*event)->kind == FLOW_EVENT_CLOSE;
    if ((*event)->kind == FLOW_EVENT_CONNECT)
        snprintf(line, sizeof(line), "connect %d %s", (int)(*event)->socket_cookie,
                 route_name((*event)->route));
    else if ((*event)->kind == FLOW_EVENT_POLICY)
        snprintf(line, sizeof(line), "policy %d %s: %s", (int)(*event)->socket_cookie,
                 (*event)->policy, (*event)->decision.reason);
    else
        snprintf(line, sizeof(line), "%s %d %s %d/%d",
                 (*event)->kind == FLOW_EVENT_CLOSE ? "close" : "stats",
                 (int)(*event)->socket_cookie, route_name((*event)->route), (int)(*event)->close.tx,
                 (int)(*event)->close.rx);
    append(line);
    if ((*event)->visibility == VISIBILITY_PRE_EXISTING)
        append(" pre-existing");
    if ((*event)->names_len) {
        append(" ");
        append((*event)->names[0]);
    }
    if ((*event)->error) {
        append(": ");
        append((*event)->error);
    }
    append("\n");
    flow_event_free(event);
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    return cgroup_id == POD ? &pod : NULL;
}

void names_find(struct names *names, uint64_t id, const struct addr *address, uint64_t now_ns,
                struct names_found *out)
{
    (void)names;
    (void)now_ns;
    assert_int_equal(id, POD);
    if (address->ip[15] != 80)
        return;
    out->text[0] = strdup("ebpf.io.");
    out->len = 1;
}

void names_found_fini(struct names_found *found)
{
    while (found->len)
        free(found->text[--found->len]);
}

void handshakes_forget(struct handshakes *handshakes, uint64_t cookie, const struct addr *dst)
{
    (void)handshakes;
    (void)cookie;
    (void)dst;
    fail();
}

/* Of policies: connects.c's test is tests/netns/policy_connect.sh. */
void connects_denied(struct connects *connects, const struct abi_socket *record)
{
    (void)connects;
    (void)record;
    fail();
}

void connects_judge(struct connects *connects, const struct abi_socket *record,
                    const struct process *by, struct connects_judged *out)
{
    (void)connects;
    (void)record;
    (void)by;
    (void)out;
    fail();
}

void connects_tell(struct connects *connects, const struct abi_socket *record, struct process *by,
                   struct pod *of, const struct connects_judged *judged)
{
    (void)connects;
    (void)record;
    (void)by;
    (void)of;
    (void)judged;
    fail();
}

void connects_judged_fini(struct connects_judged *judged)
{
    assert_false(judged->any);
}

struct process *identity_flow_begin(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                    uint64_t id)
{
    (void)identity;
    (void)start_ns;
    (void)id;
    if (pid != POD_PROCESS)
        return NULL;
    flows++;
    return process_ref(&process);
}

struct process *identity_flow_again(struct process *of)
{
    flows++;
    return process_ref(of);
}

void identity_flow_end(struct identity *identity, struct process **of)
{
    (void)identity;
    flows--;
    process_unref(of);
}

bool resolver_is_done(const struct resolver *resolver, uint64_t cookie, const struct addr *server)
{
    (void)resolver;
    (void)cookie;
    assert_int_equal(server->port, 53);
    return done;
}

void resolver_forget(struct resolver *resolver, uint64_t cookie, const struct addr *server)
{
    (void)resolver;
    assert_int_equal(server->port, 53);
    gone_sum += cookie;
}

uint64_t identity_wall_ns(const struct identity *identity, uint64_t boot_ns)
{
    (void)identity;
    return boot_ns;
}

/* ---- helpers ------------------------------------------------------------------------------------
 */

static struct addr to_port(uint16_t port)
{
    struct addr addr = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2}, .port = port};

    addr.ip[15] = (uint8_t)port;
    return addr;
}

/* A record of the kernel's: port 443 and 53 are looked into, the latter is UDP. */
static struct abi_socket record_of(enum abi_record_kind kind, uint64_t cookie, uint16_t port)
{
    struct addr dst = to_port(port);
    struct abi_socket record = {
        .kind = kind,
        .pid = POD_PROCESS,
        .pod = POD,
        .cookie = cookie,
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
        .dst_port = port,
        .protocol = port == 53 ? IPPROTO_UDP : IPPROTO_TCP,
        .flags = port == 443 || port == 53 ? ABI_SOCKET_STEERED : 0,
    };

    memcpy(record.dst, dst.ip, sizeof(record.dst));
    return record;
}

static void connects(uint64_t cookie, uint16_t port)
{
    struct abi_socket record = record_of(ABI_SOCKET_CONNECT, cookie, port);

    sockets_on_record(sockets, &record);
}

static void closes(uint64_t cookie, uint16_t port, uint64_t tx, uint64_t rx, uint16_t error)
{
    struct abi_socket record = record_of(ABI_SOCKET_CLOSE, cookie, port);

    record.tx = tx;
    record.rx = rx;
    record.error = error;
    sockets_on_record(sockets, &record);
}

static void accepted(uint64_t cookie, uint16_t port)
{
    struct origin origin = {.cookie = cookie, .dst = to_port(port)};

    sockets_accepted(sockets, &origin, &process, &pod);
}

static void flow_done(uint64_t cookie, uint16_t port, const char *error)
{
    struct sockets_flow *flow = malloc(sizeof(*flow));

    assert_non_null(flow);
    *flow = (struct sockets_flow){.cookie = cookie,
                                  .dst = to_port(port),
                                  .route = ROUTE_PROXY,
                                  .visibility = VISIBILITY_TERMINATED,
                                  .tx = 1,
                                  .rx = 2};
    snprintf(flow->error, sizeof(flow->error), "%s", error);
    sockets_flow_done(sockets, &flow);
}

static int step(void)
{
    sockets_collect(sockets);
    return sockets_step(sockets);
}

static void expect_told(const char *want)
{
    assert_string_equal(told, want);
    told[0] = 0;
}

static int begin(void **state)
{
    struct err err;

    (void)state;
    told[0] = 0;
    gone_sum = 0;
    atomic_init(&pod.refs, 1);
    atomic_init(&process.refs, 1);
    atomic_init(&life.refs, 1);
    atomic_init(&life.exited, false);
    return sockets_new(&sockets, &(struct sockets_parts){0}, &err);
}

static int end(void **state)
{
    (void)state;
    sockets_free(&sockets);
    assert_int_equal(flows, 0);
    assert_int_equal(atomic_load(&pod.refs), 1);
    assert_int_equal(atomic_load(&process.refs), 1);
    return 0;
}

/* ---- tests --------------------------------------------------------------------------------------
 */

static void what_is_not_looked_into_is_told_as_the_kernel_says(void **state)
{
    (void)state;
    connects(1, 80);
    connects(2, 81);
    expect_told("connect 1 direct ebpf.io.\nconnect 2 direct\n");
    closes(2, 81, 5, 6, ECONNRESET);
    closes(1, 80, 3, 4, 0);
    expect_told("close 2 direct 5/6: Connection reset by peer\nclose 1 direct 3/4 ebpf.io.\n");
    closes(1, 80, 9, 9, 0); /* once */
    assert_int_equal(step(), -1);
    expect_told("");
}

static void one_socket_may_have_several_destinations(void **state)
{
    (void)state;
    connects(1, 80);
    connects(1, 81);
    closes(1, 81, 1, 1, 0);
    step();
    closes(1, 80, 2, 2, 0);
    step();
    expect_told("connect 1 direct ebpf.io.\nconnect 1 direct\nclose 1 direct 1/1\n"
                "close 1 direct 2/2 ebpf.io.\n");
}

static void a_flow_done_before_the_program_closes(void **state)
{
    (void)state;
    connects(1, 443);
    accepted(1, 443);
    flow_done(1, 443, "refused");
    assert_int_equal(step(), -1);
    expect_told("connect 1 proxy\n");
    closes(1, 443, 10, 20, ECONNRESET);
    assert_int_equal(step(), -1);
    expect_told("close 1 proxy 10/20: refused\n");
}

static void a_program_that_closes_before_its_flow_is_done(void **state)
{
    (void)state;
    connects(1, 443);
    accepted(1, 443);
    closes(1, 443, 10, 20, 0);
    assert_in_range(step(), 1, 500);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "");
    assert_int_equal(step(), -1);
    expect_told("close 1 proxy 10/20\n");
}

/* The program has asked for the errno before the kernel's record could have it. */
static void a_refused_connect_says_so_at_least(void **state)
{
    struct origin origin = {.cookie = 1, .dst = to_port(443)};

    (void)state;
    connects(1, 443);
    sockets_refused(sockets, &origin, -ECONNREFUSED);
    closes(1, 443, 0, 0, 0);
    step();
    expect_told("connect 1 proxy\nclose 1 proxy 0/0: Connection refused\n");
}

/* Its SYN was never sent on to us; but of what came to be a flow, that knows what happened. */
static void a_connect_that_failed_says_how(void **state)
{
    (void)state;
    connects(1, 443);
    connects(2, 443);
    closes(1, 443, 0, 0, ECONNREFUSED);
    closes(2, 443, 0, 0, ECONNRESET);
    sockets_collect(sockets);
    accepted(2, 443);
    flow_done(2, 443, "");
    sockets_collect(sockets);
    expect_told("connect 1 proxy\nconnect 2 proxy\n");
    assert_int_equal(sockets_step(sockets), -1);
    expect_told("close 1 proxy 0/0: Connection refused\nclose 2 proxy 0/0\n");
}

static void a_flow_is_waited_for_half_a_second(void **state)
{
    struct abi_socket record = record_of(ABI_SOCKET_CLOSE, 1, 443);

    (void)state;
    connects(1, 443);
    accepted(1, 443);
    record.time_ns -= 400 * 1000000ull;
    sockets_on_record(sockets, &record);
    assert_in_range(step(), 1, 100);
    expect_told("connect 1 proxy\n");
    connects(2, 443);
    accepted(2, 443);
    record = record_of(ABI_SOCKET_CLOSE, 2, 443);
    record.time_ns -= 500 * 1000000ull;
    sockets_on_record(sockets, &record);
    assert_in_range(step(), 1, 100); /* the first one's time goes on */
    expect_told("connect 2 proxy\nclose 2 proxy 0/0\n");
    flow_done(2, 443, ""); /* too late: nobody is there any more */
    assert_in_range(step(), 1, 100);
    expect_told("");
}

/* The accepted connection is handled after the release was read and before it is told. */
static void an_accept_between_collect_and_step_is_waited_for(void **state)
{
    (void)state;
    connects(1, 443);
    closes(1, 443, 10, 20, 0);
    sockets_collect(sockets);
    accepted(1, 443);
    assert_in_range(sockets_step(sockets), 1, 500);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "");
    step();
    expect_told("close 1 proxy 10/20\n");
}

/* Its connection may be in the queue still, and nobody has looked. */
static void what_is_released_after_collect_waits_for_the_next_step(void **state)
{
    (void)state;
    connects(1, 443);
    sockets_collect(sockets);
    closes(1, 443, 10, 20, 0);
    assert_int_equal(sockets_step(sockets), -1);
    expect_told("connect 1 proxy\n");
    step();
    expect_told("close 1 proxy 10/20\n");
}

static void a_connect_whose_record_is_read_after_its_accept_is_told_once(void **state)
{
    (void)state;
    accepted(1, 443);
    connects(1, 443);
    flow_done(1, 443, "");
    closes(1, 443, 10, 20, 0);
    step();
    expect_told("connect 1 proxy\nclose 1 proxy 10/20\n");
}

/* The ring was full: what our side of the connection counted is all there is. */
static void a_connection_the_kernel_said_nothing_of_ends_with_its_flow(void **state)
{
    (void)state;
    accepted(1, 443);
    expect_told("connect 1 proxy\n");
    flow_done(1, 443, "");
    step(); /* released here */
    step();
    expect_told("close 1 proxy 1/2\n");
    closes(1, 443, 10, 20, 0);
    step();
    expect_told("");
}

static void a_close_without_its_connect_is_not_told(void **state)
{
    (void)state;
    closes(1, 80, 1, 1, 0);
    step();
    expect_told("");
}

static void datagrams_tell_their_counts_and_who_is_gone(void **state)
{
    struct abi_socket stats = record_of(ABI_SOCKET_STATS, 1, 53);

    (void)state;
    connects(1, 53);
    stats.tx = 30;
    stats.rx = 40;
    sockets_on_record(sockets, &stats);
    expect_told("connect 1 proxy\nstats 1 proxy 30/40\n");
    done = true;
    assert_int_equal(gone_sum, 0);
    closes(1, 53, 31, 41, 0);
    assert_int_equal(gone_sum, 1);
    expect_told("stats 1 proxy 31/41\nclose 1 proxy 31/41\n"); /* at once */
    done = false;
    connects(2, 53);
    closes(2, 53, 32, 42, 0);
    expect_told("connect 2 proxy\n");
    assert_int_equal(gone_sum, 1);
    step(); /* after a drain */
    expect_told("stats 2 proxy 32/42\nclose 2 proxy 32/42\n");
    assert_int_equal(gone_sum, 3);
}

static void refused_quic_says_so(void **state)
{
    struct abi_socket record = record_of(ABI_SOCKET_CONNECT, 1, 443);

    (void)state;
    record.protocol = IPPROTO_UDP;
    record.flags = ABI_SOCKET_REFUSED;
    sockets_on_record(sockets, &record);
    assert_non_null(strstr(told, "connect 1 direct: QUIC is refused"));
}

/* Closes that were lost are told when their process is gone, as soon as there are very many. */
static void lost_closes_are_swept_up(void **state)
{
    enum { MANY = 4096 }; /* SWEEP_MIN */

    (void)state;
    for (uint64_t i = 1; i < MANY; i++) {
        connects(i, 80);
        told[0] = 0;
    }
    atomic_store(&life.exited, true);
    step();
    step();
    expect_told("");
    connects(MANY, 80);
    step(); /* sees that there are too many */
    closes_told = 0;
    step();
    told[0] = 0;
    assert_int_equal(closes_told, MANY);
    assert_int_equal(flows, 0);
}

static void take_down_tells_all_that_is_open(void **state)
{
    (void)state;
    connects(1, 80);
    connects(2, 443);
    accepted(2, 443);
    closes(2, 443, 5, 6, 0);
    connects(3, 443);
    accepted(3, 443);
    flow_done(3, 443, "");
    told[0] = 0;
    sockets_finish(sockets);
    assert_non_null(strstr(told, "close 1 direct 0/0 ebpf.io.\n"));
    assert_non_null(strstr(told, "close 2 proxy 5/6\n"));
    assert_non_null(strstr(told, "close 3 proxy 1/2\n"));
    assert_int_equal(flows, 0);
}

#define with(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* ---- connections that are older than their pod ---- */

static void meets(uint64_t cookie, uint16_t port, const struct policy_verdict *verdict, bool reset)
{
    struct sockets_older older = {
        .dst = to_port(port),
        .cookie = cookie,
        .tx = 7,
        .tls = cookie == 5 ? 0x0304 : 0,
        .route = ROUTE_DIRECT,
        .visibility = VISIBILITY_PRE_EXISTING,
        .untold = cookie == 7,
        .process = identity_flow_begin(NULL, POD_PROCESS, 0, POD),
        .pod = &pod,
        .verdict = verdict,
        .reset = reset,
    };

    sockets_meet(sockets, &older);
}

static const struct policy_verdict resets = {
    .verdict = VERDICT_DENY,
    .action = POLICY_RESET,
    .policy = &(const struct policy){.id = (char *)"shop/cart"},
    .place = &(const struct policy_place){.rule = (char *)"spec"},
    .reason = "it is old",
};

static void an_older_connection_is_told_once(void **state)
{
    (void)state;
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_NEW);
    meets(1, 80, NULL, false);
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_MET);
    meets(1, 80, NULL, false); /* its pod was registered again */
    expect_told("connect 1 direct pre-existing ebpf.io.\n");
    closes(1, 80, 10, 20, ECONNRESET);
    expect_told("close 1 direct 10/20 pre-existing ebpf.io.: Connection reset by peer\n");
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_NEW);
}

static void an_older_connection_is_reset_once(void **state)
{
    (void)state;
    meets(1, 81, NULL, false);
    meets(1, 81, &resets, true);
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_KNOWN);
    expect_told("connect 1 direct pre-existing\n"
                "policy 1 shop/cart: it is old pre-existing\n");
    closes(1, 81, 10, 20, ECONNABORTED);
    expect_told("close 1 direct 10/20 pre-existing: reset, as it was connected before its pod was "
                "registered\n");
}

static void what_an_agent_before_told_of_ends_here(void **state)
{
    (void)state;
    meets(7, 81, NULL, false);
    expect_told("");
    closes(7, 81, 10, 20, 0);
    expect_told("close 7 direct 10/20 pre-existing\n");
}

static void others_are_known_by_whatever_destination(void **state)
{
    (void)state;
    connects(1, 80);
    connects(1, 443);
    connects(3, 443);
    assert_int_equal(sockets_know(sockets, 1), SOCKETS_KNOWN);
    assert_int_equal(sockets_know(sockets, 2), SOCKETS_NEW);
    assert_int_equal(sockets_know(sockets, 3), SOCKETS_KNOWN);
    told[0] = 0;
}

static void note_row(void *arg, const struct flow_row *row)
{
    char line[64];

    (void)arg;
    snprintf(line, sizeof(line), "%d %s %s %d %s\n", (int)row->cookie, row->state,
             visibility_name(row->visibility), (int)row->tx, row->version ? row->version : "");
    append(line);
}

/* Those that come to us are flows, or will be; datagrams are none. */
static void rows_are_of_open_connections_that_are_no_flows(void **state)
{
    (void)state;
    connects(1, 80);
    connects(2, 443);
    connects(3, 53);
    connects(4, 81);
    closes(4, 81, 0, 0, 0);
    meets(5, 81, NULL, false);
    meets(6, 81, &resets, true);
    told[0] = 0;
    sockets_each_row(sockets, note_row, NULL);
    expect_told("1 open  0 \n5 open pre-existing 7 TLS1.3\n6 reset pre-existing 7 \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(what_is_not_looked_into_is_told_as_the_kernel_says),
        with(one_socket_may_have_several_destinations),
        with(a_flow_done_before_the_program_closes),
        with(a_program_that_closes_before_its_flow_is_done),
        with(a_connect_that_failed_says_how),
        with(a_refused_connect_says_so_at_least),
        with(a_flow_is_waited_for_half_a_second),
        with(an_accept_between_collect_and_step_is_waited_for),
        with(what_is_released_after_collect_waits_for_the_next_step),
        with(a_connect_whose_record_is_read_after_its_accept_is_told_once),
        with(a_connection_the_kernel_said_nothing_of_ends_with_its_flow),
        with(a_close_without_its_connect_is_not_told),
        with(datagrams_tell_their_counts_and_who_is_gone),
        with(refused_quic_says_so),
        with(lost_closes_are_swept_up),
        with(take_down_tells_all_that_is_open),
        with(an_older_connection_is_told_once),
        with(an_older_connection_is_reset_once),
        with(what_an_agent_before_told_of_ends_here),
        with(others_are_known_by_whatever_destination),
        with(rows_are_of_open_connections_that_are_no_flows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
