/* sockets_bed: a table of sockets with nobody around it: what it tells is gathered as text, and
 * time, processes, names and the resolver are as the test says. */
#pragma once

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

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

static inline void append(const char *text)
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

static inline struct addr to_port(uint16_t port)
{
    struct addr addr = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2}, .port = port};

    addr.ip[15] = (uint8_t)port;
    return addr;
}

/* A record of the kernel's: port 443 and 53 are looked into, the latter is UDP. */
static inline struct abi_socket record_of(enum abi_record_kind kind, uint64_t cookie, uint16_t port)
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

static inline void connects(uint64_t cookie, uint16_t port)
{
    struct abi_socket record = record_of(ABI_SOCKET_CONNECT, cookie, port);

    sockets_on_record(sockets, &record);
}

static inline void closes(uint64_t cookie, uint16_t port, uint64_t tx, uint64_t rx, uint16_t error)
{
    struct abi_socket record = record_of(ABI_SOCKET_CLOSE, cookie, port);

    record.tx = tx;
    record.rx = rx;
    record.error = error;
    sockets_on_record(sockets, &record);
}

static inline void accepted(uint64_t cookie, uint16_t port)
{
    struct origin origin = {.cookie = cookie, .dst = to_port(port)};

    sockets_accepted(sockets, &origin, &process, &pod);
}

static inline void flow_done(uint64_t cookie, uint16_t port, const char *error)
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

static inline int step(void)
{
    sockets_collect(sockets);
    return sockets_step(sockets);
}

static inline void expect_told(const char *want)
{
    assert_string_equal(told, want);
    told[0] = 0;
}

static inline int begin(void **state)
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

static inline int end(void **state)
{
    (void)state;
    sockets_free(&sockets);
    assert_int_equal(flows, 0);
    assert_int_equal(atomic_load(&pod.refs), 1);
    assert_int_equal(atomic_load(&process.refs), 1);
    return 0;
}

#define with(test) cmocka_unit_test_setup_teardown(test, begin, end)
