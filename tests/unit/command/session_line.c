/* session_line: an open flow as one compact line, whatever an agent of another version says. */
#include "proxy/command/session_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define SOCKET                                                                                     \
    "\"socket\":{\"protocol\":\"TCP\",\"saddr\":\"192.0.2.2\",\"sport\":60066,"                    \
    "\"daddr\":\"203.0.113.10\",\"dport\":443,\"cookie\":\"9\"}"

static const struct {
    const char *name, *row, *line;
} cases[] = {
    {"all of it",
     "{\"process\":{\"binary\":\"/usr/bin/"
     "curl\"},\"pod\":{\"namespace\":\"shop\",\"name\":\"cart\"}"
     "," SOCKET ",\"destination_names\":[\"ebpf.io.\",\"a.test.\"],\"host\":\"ebpf.io\","
     "\"state\":\"relaying\",\"version\":\"TLS1.3\",\"alpn\":\"http/1.1\",\"tx\":\"706\","
     "\"rx\":\"226000\",\"age_ns\":\"1250000000\",\"visibility\":\"terminated\","
     "\"route\":\"proxy\"}",
     "shop/cart /usr/bin/curl TCP 192.0.2.2:60066 => 203.0.113.10:443 [ebpf.io. a.test.] ebpf.io "
     "relaying proxy terminated TLS1.3 http/1.1 tx 706 B rx 226 kB 1.25s\n"},
    {"as little as is known",
     "{" SOCKET ",\"state\":\"meeting\",\"tx\":\"0\",\"rx\":\"0\",\"age_ns\":\"850000\","
     "\"route\":\"proxy\"}",
     "HOST - TCP 192.0.2.2:60066 => 203.0.113.10:443 - meeting proxy - - - tx 0 B rx 0 B 850us\n"},
    {"why it is not seen",
     "{" SOCKET ",\"state\":\"splicing\",\"tx\":\"1\",\"rx\":\"2\",\"age_ns\":\"1000\","
     "\"visibility\":\"opaque\",\"visibility_reason\":\"server first\",\"route\":\"passthrough\"}",
     "HOST - TCP 192.0.2.2:60066 => 203.0.113.10:443 - splicing passthrough opaque (server first) "
     "- - tx 1 B rx 2 B 1us\n"},
    {"IPv6 and escape sequences",
     "{\"process\":{\"binary\":\"/a\\u001b[2J\"},\"pod\":{\"name\":\"x y\"},\"socket\":{"
     "\"protocol\":\"TCP\",\"saddr\":\"2001:db8::1\",\"sport\":1,\"daddr\":\"2001:db8::2\","
     "\"dport\":2},\"destination_names\":[\"\\u202e\"],\"host\":\"\\n\",\"route\":\"proxy\"}",
     "\"x y\" \"/a\\x1b[2J\" TCP [2001:db8::1]:1 => [2001:db8::2]:2 [\"\\u202e\"] \"\\n\" - proxy "
     "- "
     "- - tx 0 B rx 0 B 0us\n"},
    {"an empty object", "{}", "HOST - - :0 => :0 - - - - - - tx 0 B rx 0 B 0us\n"},
    {"other types",
     "{\"process\":[],\"pod\":1,\"socket\":\"x\",\"destination_names\":[1],\"host\":{}}",
     "- - - :0 => :0 [] - - - - - - tx 0 B rx 0 B 0us\n"},
};

static void a_flow_is_a_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};
        json_t *row = json_loads(cases[i].row, 0, NULL);

        print_message("  %s\n", cases[i].name);
        assert_non_null(row);
        session_line(&out, row);
        assert_false(out.failed);
        buffer_append(&out, "", 1);
        assert_string_equal(out.data, cases[i].line);
        json_decref(row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_is_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
