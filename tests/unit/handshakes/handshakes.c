/* handshakes: which datagrams are told, what the kernel is answered, and how much is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "proxy/enforce/policies.h"
#include "proxy/handshakes/handshakes.h"
#include "sallyport.skel.h"
#include "tests/unit/policy/scene.h"
#include "tests/unit/wire/quic_build.h"

enum { POD = 7 };

/* ---- what it says, and to whom ---- */

static struct {
    int tls, policy, lost;
    char name[64], transport[16];
    uint64_t missed;
    uint32_t judgement; /* 0: none */
    uint64_t judged_ns;
} told;
static struct policy_view *view;

void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event);
void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    (void)producer;
    assert_non_null(*event);
    told.tls += (*event)->kind == FLOW_EVENT_TLS;
    told.policy += (*event)->kind == FLOW_EVENT_POLICY;
    told.lost += (*event)->kind == FLOW_EVENT_LOST;
    if ((*event)->kind == FLOW_EVENT_LOST)
        told.missed = (*event)->lost.count;
    if ((*event)->kind == FLOW_EVENT_TLS) {
        assert_int_equal((*event)->visibility, VISIBILITY_OPAQUE);
        snprintf(told.name, sizeof(told.name), "%s", (*event)->tls.sni ? (*event)->tls.sni : "-");
        snprintf(told.transport, sizeof(told.transport), "%s", (*event)->tls.transport);
    }
    flow_event_free(event);
}

int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
    const struct abi_judged *judged = value;

    (void)fd;
    (void)key;
    (void)flags;
    told.judgement = judged->judgement;
    told.judged_ns = judged->time_ns;
    return 0;
}

struct policy_view *__wrap_policies_view(struct policies *policies, uint64_t cgroup_id);
struct policy_view *__wrap_policies_view(struct policies *policies, uint64_t cgroup_id)
{
    (void)policies;
    assert_int_equal(cgroup_id, POD);
    return view ? policy_view_ref(view) : NULL;
}

static struct handshakes *begin(void)
{
    static struct sallyport_bpf bpf;
    struct handshakes_parts parts = {.bpf = &bpf, .policies = (struct policies *)&bpf};
    struct handshakes *handshakes;
    struct err err;

    memset(&told, 0, sizeof(told));
    assert_int_equal(handshakes_new(&handshakes, &parts, &err), 0);
    return handshakes;
}

/* ---- what comes ---- */

static uint64_t now;
static uint32_t rules;

static struct handshakes_told take(struct handshakes *handshakes, uint64_t cookie,
                                   struct span bytes, uint32_t flags)
{
    struct abi_datagram *record = calloc(1, sizeof(*record));
    const struct handshakes_who who = {.process = NULL};
    struct handshakes_told out;

    assert_non_null(record);
    assert_true(bytes.len <= sizeof(record->bytes));
    *record = (struct abi_datagram){.kind = ABI_DATAGRAM,
                                    .len = (uint32_t)bytes.len,
                                    .pod = POD,
                                    .cookie = cookie,
                                    .time_ns = ++now,
                                    .rules = rules,
                                    .dst = {[10] = 0xff, 0xff, 203, 0, 113, 9},
                                    .dst_port = 443,
                                    .flags = flags};
    memcpy(record->bytes, bytes.data, bytes.len);
    told.judgement = 0;
    handshakes_on_datagram(handshakes, record, &who, &out);
    assert_true(!told.judgement || told.judged_ns == now);
    free(record);
    return out;
}

/* The least of a hello. */
static size_t hello_of(const char *name, uint8_t *out)
{
    size_t len = strlen(name), at = 0;
    const uint8_t front[] = {1, 0, 0, (uint8_t)(2 + 32 + 1 + 4 + 2 + 2 + 9 + len), 3, 3};

    memcpy(out, front, sizeof(front));
    at = sizeof(front);
    memcpy(out + at, "0123456789abcdef0123456789abcdef\0\0\2\x13\1\1\0", 39);
    at += 39;
    memcpy(out + at,
           (uint8_t[]){0, (uint8_t)(9 + len), 0, 0, 0, (uint8_t)(5 + len), 0, (uint8_t)(3 + len), 0,
                       0, (uint8_t)len},
           11);
    memcpy(out + at + 11, name, len);
    return at + 11 + len;
}

/* Its bytes from, to, in an Initial. */
static struct quic_datagram initial(const char *name, const char *dcid, size_t from, size_t to)
{
    struct quic_datagram datagram = {.len = 0};
    uint8_t hello[256], frames[400] = {6, (uint8_t)(0x40 | from >> 8), (uint8_t)from};
    size_t len = hello_of(name, hello);
    struct quic_packet packet = {.version = QUIC_V1,
                                 .dcid = span_of_text(dcid),
                                 .keys = span_of_text(dcid),
                                 .number_len = 2,
                                 .payload = span_of(frames, sizeof(frames))};

    to = to < len ? to : len;
    frames[3] = 0x40;
    frames[4] = (uint8_t)(to - from);
    memcpy(frames + 5, hello + from, to - from);
    quic_append(&datagram, &packet);
    return datagram;
}

static struct handshakes_told take_initial(struct handshakes *handshakes, uint64_t cookie,
                                           const struct quic_datagram *datagram, uint32_t flags)
{
    return take(handshakes, cookie, span_of(datagram->bytes, datagram->len), flags);
}

/* ---- one exchange ---- */

static void tells_a_hello_once(void **state)
{
    CLEANUP(handshakes_free) struct handshakes *handshakes = begin();
    struct quic_datagram whole = initial("a.test", "first one", 0, 300);
    struct quic_datagram retry = initial("a.test", "by a Retry", 0, 300);
    struct quic_datagram other = initial("b.test", "another", 0, 300);

    (void)state;
    assert_true(take_initial(handshakes, 1, &whole, 0).opaque);
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);
    assert_string_equal(told.name, "a.test");
    assert_string_equal(told.transport, "QUICv1");
    take_initial(handshakes, 1, &whole, 0);
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);
    take_initial(handshakes, 1, &retry, 0);
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);
    assert_int_equal(told.tls, 1);
    take_initial(handshakes, 1, &other, 0);
    assert_int_equal(told.tls, 2);
    assert_string_equal(told.name, "b.test");
    take_initial(handshakes, 2, &whole, 0);
    assert_int_equal(told.tls, 3);
}

static void waits_for_all_of_it(void **state)
{
    CLEANUP(handshakes_free) struct handshakes *handshakes = begin();
    struct quic_datagram first = initial("a.test", "first one", 0, 20);
    struct quic_datagram rest = initial("a.test", "first one", 20, 300);

    (void)state;
    take_initial(handshakes, 1, &rest, ABI_DATAGRAM_HELD);
    assert_int_equal(told.judgement, 0);
    take_initial(handshakes, 2, &first, ABI_DATAGRAM_HELD); /* another's */
    assert_int_equal(told.judgement, 0);
    take_initial(handshakes, 1, &first, ABI_DATAGRAM_HELD);
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);
    assert_int_equal(told.tls, 1);
}

static void tells_what_was_not_looked_at(void **state)
{
    CLEANUP(handshakes_free) struct handshakes *handshakes = begin();
    struct quic_datagram whole = initial("a.test", "first one", 0, 300);
    struct abi_datagram *record = calloc(1, sizeof(*record));
    const struct handshakes_who who = {.process = NULL};
    struct handshakes_told out;

    (void)state;
    assert_non_null(record);
    *record = (struct abi_datagram){.len = (uint32_t)whole.len, .pod = POD, .missed = 5};
    memcpy(record->bytes, whole.bytes, whole.len);
    handshakes_on_datagram(handshakes, record, &who, &out);
    assert_int_equal(told.lost, 1);
    assert_int_equal(told.missed, 5);
    assert_int_equal(told.tls, 1);
    free(record);
}

/* ---- under policies ---- */

static const char named[] =
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: q}\nspec:\n"
    "  egress:\n"
    "  - toCIDR: [203.0.113.0/24]\n"
    "    toPorts: [{ports: [{port: '443', protocol: UDP}], serverNames: [a.test]}]\n";

/* What the kernel hears; 0: nothing, so that where it holds the exchange that goes on being so. */
static void answers_by_the_name(void **state)
{
    CLEANUP(handshakes_free) struct handshakes *handshakes = begin();
    struct quic_datagram good = initial("a.test", "first one", 0, 300);
    struct quic_datagram bad = initial("evil.test", "another", 0, 300);
    struct quic_datagram half = initial("a.test", "first one", 0, 20);
    struct quic_datagram odd = good;
    struct scene scene = {0};

    (void)state;
    scene_read(&scene, named);
    scene_begin(&scene, NULL);
    view = scene.view;
    odd.bytes[300] ^= 1;

    take_initial(handshakes, 1, &good, ABI_DATAGRAM_HELD);
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);
    take_initial(handshakes, 1, &odd, ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN); /* nobody reads it */
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);
    assert_true(take_initial(handshakes, 1, &bad, ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN).said[0]);
    assert_int_equal(told.judgement, ABI_JUDGED_DENIED);
    assert_int_equal(told.tls, 2);
    take_initial(handshakes, 1, &bad,
                 ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN); /* on its way by then */
    assert_int_equal(told.judgement, ABI_JUDGED_DENIED);
    take_initial(handshakes, 1, &good, ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN);
    assert_int_equal(told.judgement, ABI_JUDGED_DENIED);
    rules++;
    take_initial(handshakes, 1, &good, ABI_DATAGRAM_HELD);
    assert_int_equal(told.judgement, ABI_JUDGED_OPEN);

    assert_true(take_initial(handshakes, 2, &odd, ABI_DATAGRAM_HELD).said[0]);
    assert_int_equal(told.judgement, ABI_JUDGED_DENIED);
    assert_false(take_initial(handshakes, 3, &odd, 0).opaque); /* no rule asks */
    assert_int_equal(told.judgement, 0);
    for (int i = 1; i < ABI_HELLOS_MAX; i++) {
        take_initial(handshakes, 4, &half, ABI_DATAGRAM_HELD);
        assert_int_equal(told.judgement, 0);
    }
    take_initial(handshakes, 4, &half, ABI_DATAGRAM_HELD);
    assert_int_equal(told.judgement, ABI_JUDGED_DENIED);

    take_initial(handshakes, 5, &good, ABI_DATAGRAM_HELD);
    half = initial("evil.test", "another", 0, 20);
    take_initial(handshakes, 5, &half, ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN);
    assert_int_equal(told.judgement, 0);
    take_initial(handshakes, 5, &odd,
                 ABI_DATAGRAM_HELD | ABI_DATAGRAM_OPEN); /* opens nothing again */
    assert_int_equal(told.judgement, 0);
    view = NULL;
    scene_end(&scene);
}

/* ---- how much ---- */

static void keeps_what_a_pod_may_have(void **state)
{
    CLEANUP(handshakes_free) struct handshakes *handshakes = begin();
    struct quic_datagram first = initial("a.test", "first one", 0, 20);
    struct quic_datagram rest = initial("a.test", "first one", 20, 300);

    (void)state;
    for (uint64_t cookie = 1; cookie <= 65; cookie++)
        take_initial(handshakes, cookie, &first, 0);
    take_initial(handshakes, 1, &rest, 0); /* made way, and so makes another */
    assert_int_equal(told.tls, 0);
    take_initial(handshakes, 65, &rest, 0);
    assert_int_equal(told.tls, 1);
    handshakes_forget(handshakes, 64,
                      &(struct addr){.ip = {[10] = 0xff, 0xff, 203, 0, 113, 9}, .port = 443});
    take_initial(handshakes, 64, &rest, 0);
    assert_int_equal(told.tls, 1);
    take_initial(handshakes, 63, &rest, 0);
    assert_int_equal(told.tls, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_a_hello_once),           cmocka_unit_test(waits_for_all_of_it),
        cmocka_unit_test(tells_what_was_not_looked_at), cmocka_unit_test(answers_by_the_name),
        cmocka_unit_test(keeps_what_a_pod_may_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
