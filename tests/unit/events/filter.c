#include "sample.h"

#include <string.h>

#include "events/filter.h"

struct condition {
    enum filter_key key;
    const char *text;
};

/* Who the events of these tests are about. */
static const struct flow_event curl_http = {.kind = FLOW_EVENT_HTTP, .process = &curl};
static const struct flow_event cart_exec = {.kind = FLOW_EVENT_EXEC, .process = &cart};
static const struct flow_event cart_dns = {.kind = FLOW_EVENT_DNS, .pod = &cart_pod};
static const struct flow_event cart_grpc = {.kind = FLOW_EVENT_GRPC, .process = &cart};
static const struct flow_event cart_websocket = {.kind = FLOW_EVENT_WEBSOCKET, .process = &cart};
static const struct flow_event cart_policy = {.kind = FLOW_EVENT_POLICY, .process = &cart};
static const struct flow_event stranger = {.kind = FLOW_EVENT_CLOSE};
static const struct flow_event lost = {.kind = FLOW_EVENT_LOST};

static void matches(void **state)
{
    static const struct {
        const char *what;
        struct condition conditions[4];
        const struct flow_event *event;
        bool matches;
    } rows[] = {
        {"nothing asked: all", {{0}}, &stranger, true},
        {"its type", {{FILTER_TYPES, "process_http"}}, &curl_http, true},
        {"... in tetra's capitals", {{FILTER_TYPES, "PROCESS_HTTP"}}, &curl_http, true},
        {"... by the short word", {{FILTER_TYPES, "http"}}, &curl_http, true},
        {"calls", {{FILTER_TYPES, "grpc"}}, &cart_grpc, true},
        {"a call by its long name", {{FILTER_TYPES, "process_grpc"}}, &cart_grpc, true},
        {"a call is no request", {{FILTER_TYPES, "http"}}, &cart_grpc, false},
        {"WebSockets by the compact line's word", {{FILTER_TYPES, "ws"}}, &cart_websocket, true},
        {"... by their name", {{FILTER_TYPES, "websocket"}}, &cart_websocket, true},
        {"what policies deny", {{FILTER_TYPES, "process_policy"}}, &cart_policy, true},
        {"... by the compact line's word", {{FILTER_TYPES, "policy"}}, &cart_policy, true},
        {"another type", {{FILTER_TYPES, "process_dns"}}, &curl_http, false},
        {"one of a list", {{FILTER_TYPES, "dns,tls,http"}}, &curl_http, true},
        {"none of a list", {{FILTER_TYPES, "dns,tls"}}, &curl_http, false},
        {"said twice", {{FILTER_TYPES, "dns"}, {FILTER_TYPES, "http"}}, &curl_http, true},
        {"exec by the compact line's word", {{FILTER_TYPES, "process"}}, &cart_exec, true},
        {"its namespace", {{FILTER_NAMESPACES, "shop"}}, &cart_exec, true},
        {"one of two", {{FILTER_NAMESPACES, "kube-system,shop"}}, &cart_exec, true},
        {"a part of it is another", {{FILTER_NAMESPACES, "sho"}}, &cart_exec, false},
        {"no pod has no namespace", {{FILTER_NAMESPACES, "shop"}}, &curl_http, false},
        {"pod without process", {{FILTER_NAMESPACES, "shop"}}, &cart_dns, true},
        {"part of the pod's name", {{FILTER_POD, "cart"}}, &cart_exec, true},
        {"regular expression", {{FILTER_POD, "^cart-[0-9a-f]+$"}}, &cart_exec, true},
        {"anchored, another name", {{FILTER_POD, "^art"}}, &cart_exec, false},
        {"one of two pods", {{FILTER_POD, "^web"}, {FILTER_POD, "^cart"}}, &cart_exec, true},
        {"no pod has no name", {{FILTER_POD, "cart"}}, &curl_http, false},
        {"base name", {{FILTER_PROCESS, "curl"}}, &curl_http, true},
        {"full path", {{FILTER_PROCESS, "^/usr/bin/curl$"}}, &curl_http, true},
        {"another program", {{FILTER_PROCESS, "wget"}}, &curl_http, false},
        {"alternatives", {{FILTER_PROCESS, "wget|curl"}}, &curl_http, true},
        {"a comma is part of it", {{FILTER_PROCESS, "a,curl"}}, &curl_http, false},
        {"unknown process", {{FILTER_PROCESS, "curl"}}, &stranger, false},
        {"kinds of conditions must all hold",
         {{FILTER_TYPES, "exec"}, {FILTER_NAMESPACES, "shop"}, {FILTER_PROCESS, "curl"}},
         &cart_exec,
         true},
        {"... the type does not",
         {{FILTER_TYPES, "http"}, {FILTER_NAMESPACES, "shop"}, {FILTER_PROCESS, "curl"}},
         &cart_exec,
         false},
        {"... the namespace does not",
         {{FILTER_TYPES, "exec"}, {FILTER_NAMESPACES, "web"}, {FILTER_PROCESS, "curl"}},
         &cart_exec,
         false},
        {"a loss is for everybody",
         {{FILTER_TYPES, "http"}, {FILTER_NAMESPACES, "web"}, {FILTER_PROCESS, "nobody"}},
         &lost,
         true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(filter_free) struct filter *filter = NULL;

        assert_int_equal(filter_new(&filter, NULL), 0);
        for (const struct condition *one = rows[i].conditions; one->text; one++)
            assert_int_equal(filter_add(filter, one->key, one->text, NULL), 0);
        if (filter_match(filter, rows[i].event) != rows[i].matches)
            fail_msg("%s", rows[i].what);
    }
}

static void refuses(void **state)
{
    static const struct {
        struct condition condition;
        const char *says;
    } rows[] = {
        {{FILTER_TYPES, "httpx"}, "there are no events of type 'httpx'"},
        {{FILTER_TYPES, "http,"}, "empty"},
        {{FILTER_TYPES, ""}, "empty"},
        {{FILTER_NAMESPACES, ",shop"}, "empty"},
        {{FILTER_POD, ""}, "empty"},
        {{FILTER_POD, "("}, "regular expression '('"},
        {{FILTER_PROCESS, "(a)\\1"}, "no back-references"},
        {{FILTER_PROCESS, "((a{1,255}){1,255}){1,255}"}, "no counts"},
        {{FILTER_PROCESS, "[z-a]"}, "regular expression '[z-a]'"},
    };
    CLEANUP(filter_free) struct filter *filter = NULL;
    char longer[FILTER_TEXT_MAX + 2];
    struct err err;

    (void)state;
    assert_int_equal(filter_new(&filter, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_true(filter_add(filter, rows[i].condition.key, rows[i].condition.text, &err) < 0);
        if (!strstr(err.text, rows[i].says))
            fail_msg("'%s': %s", rows[i].condition.text, err.text);
    }
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    assert_true(filter_add(filter, FILTER_POD, longer, &err) < 0);
    for (int i = 0; i < FILTER_MAX; i++) {
        assert_int_equal(filter_add(filter, FILTER_POD, "a", NULL), 0);
        assert_int_equal(filter_add(filter, FILTER_NAMESPACES, "a", NULL), 0);
    }
    assert_true(filter_add(filter, FILTER_POD, "a", &err) < 0);
    assert_true(filter_add(filter, FILTER_NAMESPACES, "a", &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches), cmocka_unit_test(refuses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
