/* grpc_call: is it gRPC, what was called, how did it end? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/grpc_call.h"

static const struct {
    const char *content_type;
    enum grpc_kind kind;
} content_types[] = {
    {"application/grpc", GRPC_PLAIN},
    {"application/grpc+proto", GRPC_PLAIN},
    {"Application/GRPC+json", GRPC_PLAIN},
    {"application/grpc;charset=utf-8", GRPC_PLAIN},
    {"application/grpc ; charset=utf-8", GRPC_PLAIN},
    {" \tapplication/grpc ", GRPC_PLAIN},
    {"application/grpc-web", GRPC_WEB},
    {"application/grpc-web+proto", GRPC_WEB},
    {"APPLICATION/grpc-WEB;x", GRPC_WEB},
    {"application/grpc-web-text", GRPC_WEB_TEXT},
    {"application/grpc-web-text+proto", GRPC_WEB_TEXT},
    {"application/grpcfoo", GRPC_NONE},
    {"application/grpc-foo", GRPC_NONE},
    {"application/grpc-webb", GRPC_NONE},
    {"application/grpc-web-texts", GRPC_NONE},
    {"application/grpc-web-", GRPC_NONE},
    {"application/grp", GRPC_NONE},
    {"text/application/grpc", GRPC_NONE},
    {"application/json", GRPC_NONE},
    {"", GRPC_NONE},
};

static void told_by_its_content_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(content_types); i++) {
        print_message("  '%s'\n", content_types[i].content_type);
        assert_int_equal(grpc_kind_of(span_of_text(content_types[i].content_type)),
                         content_types[i].kind);
    }
    assert_int_equal(grpc_kind_of(span_of(NULL, 0)), GRPC_NONE);
    assert_int_equal(grpc_kind_of(BYTES("application/grpc\0")), GRPC_NONE);
}

static const struct {
    const char *path;
    const char *service, *method; /* NULL: no such path */
} paths[] = {
    {"/pkg.Service/Method", "pkg.Service", "Method"},
    {"/Service/m", "Service", "m"},
    {"/behind/a/prefix/pkg.Service/Method", "behind/a/prefix/pkg.Service", "Method"},
    {"/a/b", "a", "b"},
    {"pkg.Service/Method", NULL, NULL},
    {"/pkg.Service/", NULL, NULL},
    {"/pkg.Service", NULL, NULL},
    {"//Method", NULL, NULL},
    {"//", NULL, NULL},
    {"/", NULL, NULL},
    {"*", NULL, NULL},
    {"", NULL, NULL},
};

static void a_path_is_service_and_method(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct span service, method;
        bool any = grpc_path(span_of_text(paths[i].path), &service, &method);

        print_message("  '%s'\n", paths[i].path);
        assert_int_equal(any, paths[i].service != NULL);
        if (any) {
            assert_true(span_equal(service, span_of_text(paths[i].service)));
            assert_true(span_equal(method, span_of_text(paths[i].method)));
        }
    }
    assert_false(grpc_path(span_of(NULL, 0), &(struct span){0}, &(struct span){0}));
}

static const struct {
    const char *value;
    uint32_t status;
    const char *name;
} statuses[] = {
    {"0", 0, "OK"},
    {"00", 0, "OK"},
    {"1", 1, "CANCELLED"},
    {"2", 2, "UNKNOWN"},
    {"3", 3, "INVALID_ARGUMENT"},
    {"4", 4, "DEADLINE_EXCEEDED"},
    {"5", 5, "NOT_FOUND"},
    {"6", 6, "ALREADY_EXISTS"},
    {"7", GRPC_STATUS_PERMISSION_DENIED, "PERMISSION_DENIED"},
    {"8", 8, "RESOURCE_EXHAUSTED"},
    {"9", 9, "FAILED_PRECONDITION"},
    {"10", 10, "ABORTED"},
    {"11", 11, "OUT_OF_RANGE"},
    {"12", 12, "UNIMPLEMENTED"},
    {"13", 13, "INTERNAL"},
    {"14", 14, "UNAVAILABLE"},
    {"15", 15, "DATA_LOSS"},
    {"16", 16, "UNAUTHENTICATED"},
    {"17", 17, "UNKNOWN"},
    {"999999999", 999999999, "UNKNOWN"},
    {"9999999999", 2, "UNKNOWN"},
    {"", 2, "UNKNOWN"},
    {"-1", 2, "UNKNOWN"},
    {"0x0", 2, "UNKNOWN"},
    {" 0", 2, "UNKNOWN"},
    {"OK", 2, "UNKNOWN"},
};

static void a_status_has_a_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        print_message("  '%s'\n", statuses[i].value);
        assert_int_equal(grpc_status_parse(span_of_text(statuses[i].value)), statuses[i].status);
        assert_string_equal(grpc_status_name(statuses[i].status), statuses[i].name);
    }
    assert_string_equal(grpc_status_name(UINT32_MAX), "UNKNOWN");
}

static const struct {
    const char *name;
    struct span value;
    size_t size;
    struct span want;
} messages[] = {
    {"plain", BYTES("not found"), 64, BYTES("not found")},
    {"nothing", BYTES(""), 64, BYTES("")},
    {"encoded", BYTES("caf%C3%A9%20%25"), 64, BYTES("caf\xc3\xa9 %")},
    {"in small letters", BYTES("%c3%a9"), 64, BYTES("\xc3\xa9")},
    {"a NUL", BYTES("a%00b"), 64, BYTES("a\0b")},
    {"not UTF-8", BYTES("%ff\xfe"), 64, BYTES("\xff\xfe")},
    {"no encoding", BYTES("100% %g0 %0g %"), 64, BYTES("100% %g0 %0g %")},
    {"cut short", BYTES("%4"), 64, BYTES("%4")},
    {"once, not twice", BYTES("%2541"), 64, BYTES("%41")},
    {"just as long as fits", BYTES("abcd"), 4, BYTES("abcd")},
    {"longer", BYTES("abcde"), 4, BYTES("abcd")},
    {"not cut within two bytes", BYTES("abc%C3%A9"), 4, BYTES("abc")},
    {"nor three", BYTES("ab%E2%82%AC"), 4, BYTES("ab")},
    {"nor four", BYTES("a%F0%9F%99%82"), 4, BYTES("a")},
    {"cut between characters", BYTES("ab%C3%A9%C3%A9"), 4, BYTES("ab\xc3\xa9")},
    {"four that are none", BYTES("\x80\x80\x80\x80\x80"), 4, BYTES("\x80\x80\x80\x80")},
    {"no room at all", BYTES("%C3%A9"), 0, BYTES("")},
};

static void a_message_is_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
        uint8_t out[64];

        print_message("  %s\n", messages[i].name);
        assert_true(span_equal(grpc_message_decode(messages[i].value, out, messages[i].size),
                               messages[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_by_its_content_type),
        cmocka_unit_test(a_path_is_service_and_method),
        cmocka_unit_test(a_status_has_a_name),
        cmocka_unit_test(a_message_is_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
