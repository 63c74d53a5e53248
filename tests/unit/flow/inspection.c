/* What of a request and its body goes on, and what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "events/bus.h"
#include "proxy/flow/inspection.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/flow/steps.h"
#include "tests/unit/policy/scene.h"

static struct sink sink;
static struct bus *bus;
static struct worker worker;

#define FIELD(key, text)                                                                           \
    {                                                                                              \
        BYTES(key), BYTES(text)                                                                    \
    }
#define CARD "4111111111111111"
#define ZIPPED                                                                                     \
    BYTES("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x54\x48\x4e\x2c\x4a\xb1\x52\x30\x31\x44"   \
          "\x05\x7a\x00\x47\x00\x85\x12\x19\x00\x00\x00")
#define DENY(more)  "inspect: {bodies: [{patterns: [payment-card], action: deny" more "}]}"
#define ALERT(more) "inspect: {bodies: [{patterns: [payment-card], action: alert" more "}]}"
#define HAS         " the request has payment-card in its body\n"
#define ONLY(size)  " only the first " size " of the request's body are looked at\n"
#define UNSEEN(why) " the request's body cannot be looked at: " why "\n"

static const struct {
    const char *name, *spec;
    struct facts_field fields[2];
    struct span pieces[3];
    bool stops;
    const char *told;
} rows[] = {
    {"nothing in it", DENY(""), .pieces = {BYTES("name=jane")}, .told = ""},
    {"a card", DENY(""), .pieces = {BYTES("card=" CARD " and")}, .stops = true, .told = "deny" HAS},
    {"a card in pieces", DENY(""), .pieces = {BYTES("41111111"), BYTES("11111"), BYTES("111")},
     .stops = true, .told = "deny" HAS},
    {"the other way", DENY(", direction: response"), .pieces = {BYTES(CARD)}, .told = ""},
    {"two are told", ALERT(""), .pieces = {BYTES(CARD " " CARD " ")},
     .told = "alert" HAS "alert" HAS},
    {"one that monitors", "mode: monitor\n  " DENY(""), .pieces = {BYTES(CARD " ")},
     .told = "alert" HAS},
    {"encoded", DENY(""), .fields = {FIELD("Content-Encoding", "gzip")}, .pieces = {ZIPPED},
     .stops = true, .told = "deny" HAS},
    {"encoded, by the second field", DENY(""),
     .fields = {FIELD("content-encoding", ""), FIELD("content-encoding", "gzip")},
     .pieces = {ZIPPED}, .stops = true, .told = "deny" HAS},
    {"encoded twice, it says", DENY(""),
     .fields = {FIELD("content-encoding", "gzip"), FIELD("content-encoding", "gzip")},
     .pieces = {ZIPPED}, .stops = true,
     .told = "deny" UNSEEN("a body that is not encoded as it says")},
    {"an encoding that nobody knows, told", ALERT(""), .fields = {FIELD("content-encoding", "x")},
     .pieces = {BYTES(CARD " ")}, .told = "alert" UNSEEN("an encoding that is not known")},
    {"an encoding that nobody knows", DENY(""), .fields = {FIELD("content-encoding", "x")},
     .stops = true, .told = "deny" UNSEEN("an encoding that is not known")},
    {"a call's second message", DENY(""), .fields = {FIELD("content-type", "application/grpc")},
     .pieces = {BYTES("\0\0\0\0\2hi\0\0\0\0\x11"), BYTES(CARD), BYTES(" ")}, .stops = true,
     .told = "deny" HAS},
    {"a card in two messages is none", DENY(""),
     .fields = {FIELD("content-type", "application/grpc")},
     .pieces = {BYTES("\0\0\0\0\x08"
                      "41111111\0\0\0\0\x08"),
                BYTES("11111111")},
     .told = ""},
    {"a message that is compressed by nothing", DENY(""),
     .fields = {FIELD("content-type", "application/grpc")}, .pieces = {BYTES("\1\0\0\0\2hi")},
     .stops = true, .told = "deny" UNSEEN("an encoding that is not known")},

    {"as long as may be", DENY(", maxBytes: 4"), .pieces = {BYTES("ab"), BYTES("cd")}, .told = ""},
    {"longer", DENY(", maxBytes: 4"), .pieces = {BYTES("ab"), BYTES("cd"), BYTES("e")},
     .stops = true, .told = "deny" ONLY("4 bytes")},
    {"longer, by its head", DENY(", maxBytes: 1Ki"), .fields = {FIELD("Content-Length", "1025")},
     .stops = true, .told = "deny" ONLY("1 KiB")},
    {"not longer, by its head", DENY(", maxBytes: 1Ki"),
     .fields = {FIELD("Content-Length", "1024")}, .told = ""},
    {"longer than any number", DENY(", maxBytes: 1024Gi"),
     .fields = {FIELD("Content-Length", "99999999999999999999999")}, .stops = true,
     .told = "deny" ONLY("1024 GiB")},
    {"encoded, its length says nothing", DENY(", maxBytes: 30"),
     .fields = {FIELD("Content-Length", "99"), FIELD("Content-Encoding", "gzip")}, .told = ""},
    {"what begins within is seen", DENY(", maxBytes: 4"), .pieces = {BYTES("x" CARD " ")},
     .stops = true, .told = "deny" HAS},
    {"what begins behind is not", ALERT(", maxBytes: 4"), .pieces = {BYTES("abcd " CARD " ")},
     .told = "alert" ONLY("4 bytes")},
    {"longer, only told", ALERT(", maxBytes: 4"), .fields = {FIELD("Content-Length", "10")},
     .pieces = {BYTES("abcde"), BYTES("fgh"), BYTES("ij")}, .told = "alert" ONLY("4 bytes")},
    {"longer, as a policy will have it", "onNoVisibility: alert\n  " DENY(", maxBytes: 4"),
     .pieces = {BYTES("abcde"), BYTES("fghij")}, .told = "alert" ONLY("4 bytes")},
    {"every message is as long as may be", DENY(", maxBytes: 2"),
     .fields = {FIELD("content-type", "application/grpc"), FIELD("content-length", "14")},
     .pieces = {BYTES("\0\0\0\0\2hi\0\0\0\0\2hi")}, .told = ""},
    {"two messages are longer", ALERT(", maxBytes: 1"),
     .fields = {FIELD("content-type", "application/grpc")},
     .pieces = {BYTES("\0\0\0\0\2hi\0\0\0\0\2hi")}, .told = "alert" ONLY("1 bytes")},
    {"bounds of two",
     "inspect: {bodies: [{patterns: [email], maxBytes: 2}, {patterns: "
     "[payment-card], action: deny, maxBytes: 4}]}",
     .pieces = {BYTES("abc"), BYTES("defgh")}, .stops = true,
     .told = "alert" ONLY("2 bytes") "deny" ONLY("4 bytes")},
};

/* Its head, and its body as far as it goes. */
static bool stops(struct flow *flow, size_t row)
{
    CLEANUP(inspection_free) struct inspection *inspection = NULL;
    struct facts_request request = {
        .method = BYTES("POST"), .url = BYTES("/up"), .fields = rows[row].fields};
    size_t n = 0;

    while (request.fields_len < 2 && rows[row].fields[request.fields_len].name.data)
        request.fields_len++;
    if (inspection_head(flow, &request) == INSPECTED_STOP)
        return true;
    assert_true(inspection_new(&inspection, flow, &request));
    assert_non_null(inspection);
    for (; n < 3 && rows[row].pieces[n].data; n++)
        if (inspection_body(flow, inspection, true, rows[row].pieces[n]) == INSPECTED_STOP)
            return true;
    return inspection_end(flow, inspection, true) == INSPECTED_STOP;
}

static void member(const char *line, const char *name, char *out, size_t size)
{
    char key[32];
    const char *at;

    snprintf(key, sizeof(key), "\"%s\":\"", name);
    at = strstr(line, key);
    assert_non_null(at);
    at += strlen(key);
    assert_true(span_to_text(span_of(at, strcspn(at, "\"")), out, size));
}

/* Every decision that was told, a line each. */
static void told(char *out, size_t size)
{
    char line[4096], verdict[16], reason[256];
    FILE *file = fdopen(dup(sink.fd), "r");
    size_t used = 0;

    out[0] = 0;
    bus_flush(bus);
    rewind(file);
    while (fgets(line, sizeof(line), file)) {
        member(line, "verdict", verdict, sizeof(verdict));
        member(line, "reason", reason, sizeof(reason));
        used += (size_t)snprintf(out + used, size - used, "%s %s\n", verdict, reason);
    }
    fclose(file);
    assert_int_equal(ftruncate(sink.fd, 0), 0);
    lseek(sink.fd, 0, SEEK_SET);
}

static void goes_on_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct flow flow = {.worker = &worker};
        struct scene scene = {0};
        char yaml[1024], text[2048];

        print_message("  %s\n", rows[i].name);
        snprintf(yaml, sizeof(yaml),
                 "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: cart}\n"
                 "spec:\n  %s\n",
                 rows[i].spec);
        scene_read(&scene, yaml);
        scene_begin(&scene, NULL);
        flow.verdicts.scope = scene.scope;
        assert_int_equal(stops(&flow, i), rows[i].stops);
        told(text, sizeof(text));
        assert_string_equal(text, rows[i].told);
        flow.verdicts.scope = NULL;
        inspection_plan_unref(&flow.plan);
        verdict_end(&flow);
        scene_end(&scene);
    }
}

static int set_up(void **state)
{
    (void)state;
    sink_init(&sink, json_render, memfd_create("json", MFD_CLOEXEC), "node", false);
    return bus_new(&bus, &sink, 1, NULL) < 0 ||
           bus_producer_new(&worker.producer, bus, "test", 64, NULL) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    inspection_lanes_fini(&worker);
    bus_free(&bus);
    close(sink.fd);
    sink_fini(&sink);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(goes_on_or_not)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
