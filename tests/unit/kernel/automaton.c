/* automaton, spelling: what rules say of requests where these are read in the kernel, and how many
 * rows that takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/kernel/spelled.h"
#include "tests/unit/policy/scene.h"

#define POLICY(spec)                                                                               \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec:\n" spec
#define EGRESS(rules)                                                                              \
    POLICY("  egress:\n  - toCIDR: [203.0.113.0/24]\n    toPorts:\n    - rules:\n        "         \
           "http:\n" rules)
#define HEAD(line, fields) BYTES(line " HTTP/1.1\r\n" fields "\r\n")
#define GET(path, host)    HEAD("GET " path, "Host: " host "\r\n")

enum { TLS = 1, MAX_ROWS = 400 };

/* foo*.[io,com,org]/\*\/[1..10]/\*\/bar/\*: the glob, as host and path. */
#define GLOB                                                                                       \
    EGRESS("        - {host: 'foo[^.]*[.](io|com|org)', path: '/[^/]+/([1-9]|10)/[^/]+/bar/"       \
           "[^/]+'}\n")
#define METHODS EGRESS("        - {method: 'GET|HEAD'}\n        - {method: POST, path: '/v1/.*'}\n")
#define FIELDS                                                                                     \
    EGRESS("        - {headers: ['x-tenant']}\n        - {headers: ['X-Team red', 'x-a: b c']}\n")
#define FRAMED EGRESS("        - {headers: ['host: a']}\n")
#define NAMED                                                                                      \
    POLICY("  egress:\n  - toFQDNs: [{matchName: a.example}, {matchPattern: '*.b.example'}]\n")
#define DENIED                                                                                     \
    POLICY("  egressDeny:\n  - toCIDR: [0.0.0.0/0]\n    toPorts:\n    - rules:\n        http:\n"   \
           "        - {path: '/admin.*'}\n  - toFQDNs: [{matchPattern: '*.evil.example'}]\n")
#define SERVED                                                                                     \
    POLICY("  egress:\n  - toCIDR: [203.0.113.0/24]\n    toPorts:\n    - serverNames: "            \
           "[a.example]\n")
#define OPEN      POLICY("  egress:\n  - toCIDR: [203.0.113.0/24]\n")
#define MONITORED POLICY("  mode: monitor\n  egress: []\n")
#define KILLED    POLICY("  onDeny: sigkill\n  egress:\n  - toFQDNs: [{matchName: a.example}]\n")
#define INSPECTED                                                                                  \
    POLICY("  inspect:\n    bodies: [{patterns: [payment-card], direction: response, action: "     \
           "alert}]\n")

static const struct {
    const char *name, *yaml;
    struct span head;
    unsigned flags;
    bool goes;
} cases[] = {
    {"the glob", GLOB, GET("/x/7/y/bar/z", "foobar.io"), 0, true},
    {"... ten", GLOB, GET("/x/10/y/bar/z?q=/", "foo.com"), 0, true},
    {"... eleven", GLOB, GET("/x/11/y/bar/z", "foo.com"), 0, false},
    {"... zero", GLOB, GET("/x/0/y/bar/z", "foo.com"), 0, false},
    {"... another end", GLOB, GET("/x/1/y/bar/z", "foo.net"), 0, false},
    {"... a name more", GLOB, GET("/x/1/y/bar/z", "foo.a.com"), 0, false},
    {"... a segment more", GLOB, GET("/x/1/y/bar/z/", "foo.com"), 0, false},
    {"... in capitals, with a port", GLOB, GET("/x/1/y/bar/z", "FOO1.Org.:80"), 0, true},
    {"... of an absolute target", GLOB,
     HEAD("GET http://foo.io/x/1/y/bar/z", "Host: FOO.io:80\r\n"), 0, true},
    {"... which is another than Host", GLOB,
     HEAD("GET http://foo.io/x/1/y/bar/z", "Host: foo2.io\r\n"), 0, false},
    {"... at another port", GLOB, HEAD("GET http://foo.io/x/1/y/bar/z", "Host: foo.io:81\r\n"), 0,
     false},
    {"... an address", GLOB, GET("/x/1/y/bar/z", "[::1]"), 0, false},
    {"a path that is not normal", METHODS, GET("/v1/../a", "a"), 0, false},
    {"... nor this", METHODS, GET("//", "a"), 0, false},
    {"... nor this", METHODS, GET("/%61", "a"), 0, false},
    {"... nor this", METHODS, GET("/a%2fb", "a"), 0, false},
    {"... nor this", METHODS, GET("/a%2Fb", "a"), 0, false},
    {"... nor this", METHODS, GET("/a%2", "a"), 0, false},
    {"... nor this", METHODS, GET("/..;/", "a"), 0, false},
    {"... nor this", METHODS, GET("/a/.", "a"), 0, false},
    {"what looks like it", METHODS, GET("/a%20.../.b/..c/%C3%A4;.?/../%2f", "a"), 0, true},
    {"a method", METHODS, HEAD("HEAD /", "Host: a\r\n"), 0, true},
    {"... of another rule", METHODS, HEAD("POST /v1/a", "Host: a\r\n"), 0, true},
    {"... whose path this is not", METHODS, HEAD("POST /v2/a", "Host: a\r\n"), 0, false},
    {"an asterisk", METHODS, HEAD("GET *", "Host: a\r\n"), 0, true},
    {"CONNECT", METHODS, HEAD("CONNECT a:443", "Host: a:443\r\n"), 0, false},
    {"no Host", METHODS, BYTES("GET / HTTP/1.0\r\n\r\n"), 0, false},
    {"an empty one", METHODS, GET("/", ""), 0, false},
    {"a field", FIELDS, HEAD("GET /", "Host: a\r\nX-TENANT:\r\n"), 0, true},
    {"two fields", FIELDS, HEAD("GET /", "x-a: b c \r\nHost: a\r\nx-team:red\r\n"), 0, true},
    {"one of them", FIELDS, HEAD("GET /", "x-a: b c\r\nHost: a\r\nx-team: Red\r\n"), 0, false},
    {"the other", FIELDS, HEAD("GET /", "x-a: b cd\r\nHost: a\r\nx-team: red\r\n"), 0, false},
    {"again", FIELDS, HEAD("GET /", "x-a: b\r\nx-a: b c\r\nHost: a\r\nx-team: red\r\n"), 0, true},
    {"a name that goes on", FIELDS, HEAD("GET /", "Host: a\r\nx-tenants: 1\r\n"), 0, false},
    {"a field that frames", FRAMED, GET("/", "a"), 0, false},
    {"a name", NAMED, GET("/", "a.example"), 0, true},
    {"a pattern", NAMED, GET("/", "X.B.example.:80"), 0, true},
    {"another", NAMED, GET("/", "b.example"), 0, false},
    {"what is denied", DENIED, GET("/admin/x", "a"), 0, false},
    {"... by name", DENIED, GET("/", "x.evil.example"), 0, false},
    {"what is not", DENIED, GET("/user", "evil.example"), 0, true},
    {"a name of TLS", SERVED, GET("/", "a.example"), TLS, true},
    {"... in the clear", SERVED, GET("/", "a.example"), 0, false},
    {"... another", SERVED, GET("/", "b.example"), TLS, false},
    {"whatever goes there", OPEN, BYTES("SSH-2.0-x\r\n"), 0, true},
    {"what is only told", MONITORED, GET("/", "a"), 0, true},
};

static const char *const resolved[] = {"a.example", "x.b.example", "b.example"};

static void decides_as_policies_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addr dst = scene_addr("203.0.113.9:80");
        const struct policy_facts facts = {
            .protocol = PROTOCOL_TCP, .dst = &dst, .resolved = {resolved, ARRAY_SIZE(resolved)}};
        struct scene scene = {0};
        struct spelled spelled;
        struct abi_spelling spelling;
        uint64_t spoken = 0;

        print_message("  %s\n", cases[i].name);
        scene_read(&scene, cases[i].yaml);
        scene_begin(&scene, NULL);
        spelled_init(&spelled, scene.view);
        spelling = spelled_at(&spelled, scene.scope, &facts);
        for (size_t j = 0; j < ARRAY_SIZE(resolved); j++)
            if (memmem(cases[i].head.data, cases[i].head.len, resolved[j], strlen(resolved[j])) ||
                strstr(cases[i].name, "pattern"))
                spoken |= spelled_spoken(&spelled, resolved[j]);
        for (unsigned seed = 0; seed < 8; seed++)
            assert_int_equal(
                spelled_goes(&spelling, cases[i].head, spoken, cases[i].flags & TLS, seed),
                cases[i].goes);
        assert_in_range(spelled.rows.len, 0, MAX_ROWS);
        spelled_fini(&spelled);
        scene_end(&scene);
    }
}

/* What is said beside rules. */
static void says_what_else_is_wanted(void **state)
{
    static const struct {
        const char *yaml;
        uint32_t flags;
    } wanted[] = {
        {OPEN, 0},
        {MONITORED, 0},
        {METHODS, ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN},
        {NAMED, ABI_SPELL_JUDGED},
        {KILLED, ABI_SPELL_JUDGED | ABI_SPELL_KILL},
        {INSPECTED, ABI_SPELL_BODY_RX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        struct addr dst = scene_addr("203.0.113.9:80");
        const struct policy_facts facts = {
            .protocol = PROTOCOL_TCP, .dst = &dst, .resolved = {resolved, ARRAY_SIZE(resolved)}};
        struct scene scene = {0};
        struct spelled spelled;
        struct abi_spelling spelling;

        scene_read(&scene, wanted[i].yaml);
        scene_begin(&scene, NULL);
        spelled_init(&spelled, scene.view);
        spelling = spelled_at(&spelled, scene.scope, &facts);
        assert_int_equal(spelling.flags, wanted[i].flags);
        spelled_fini(&spelled);
        scene_end(&scene);
    }
}

/* A head that is half read when its rules go, and others take their rows, fits none. */
static void rules_that_go_take_heads_along(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct addr dst = scene_addr("203.0.113.9:80");
    const struct policy_facts facts = {.protocol = PROTOCOL_TCP, .dst = &dst};
    struct scene scene = {0};
    struct spelled spelled;
    struct abi_spelling spelling;

    (void)state;
    scene_read(&scene, METHODS);
    scene_begin(&scene, NULL);
    spelled_init(&spelled, scene.view);
    spelling = spelled_at(&spelled, scene.scope, &facts);
    for (size_t cut = 1; cut < sizeof(head) - 1; cut++) {
        struct spell spell = {.start = (uint16_t)spelling.row};
        struct spell_ties ties = {0};
        struct spell_piece piece = {0};
        struct spell_told told;

        memcpy(piece.bytes, head, cut);
        assert_int_equal(spell_take(&spell, &ties, &piece, (uint32_t)cut, &told), cut);
        spelled.abouts[spelling.row].made++;
        memcpy(piece.bytes, head + cut, sizeof(head) - 1 - cut);
        spell_take(&spell, &ties, &piece, (uint32_t)(sizeof(head) - 1 - cut), &told);
        assert_true(told.what & SPELL_ENDS);
        assert_false(spell_goes(&spell, &spelling, 0, false));
    }
    spelled_fini(&spelled);
    scene_end(&scene);
}

/* The glob is few rows; names are none, however many. */
static void takes_few_rows(void **state)
{
    CLEANUP(text_free) char *many = NULL;
    struct scene scene = {0};
    struct spelled spelled;
    size_t size;
    FILE *out;

    (void)state;
    scene_read(&scene, GLOB);
    scene_begin(&scene, NULL);
    spelled_init(&spelled, scene.view);
    print_message("the glob: %zu rows, the grammar %zu\n", spelled.rows.len, spelled.grammar.len);
    assert_in_range(spelled.rows.len, 10, 80);
    spelled_fini(&spelled);
    scene_end(&scene);

    scene = (struct scene){0};
    out = open_memstream(&many, &size);
    assert_non_null(out);
    fputs(POLICY("  egress:\n"), out);
    for (int i = 0; i < 500; i++)
        fprintf(out, "  - toFQDNs: [{matchName: n%d.example}]\n", i);
    fclose(out);
    scene_read(&scene, many);
    scene_begin(&scene, NULL);
    spelled_init(&spelled, scene.view);
    assert_int_equal(spelled.rows.len, 0);
    assert_int_equal(spelled.spelling->rules_len, 3);
    assert_int_equal(spelled_spoken(&spelled, "n499.example"), 1 << 2);
    assert_int_equal(spelled_spoken(&spelled, "n500.example"), 0);
    spelled_fini(&spelled);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_as_policies_do),
        cmocka_unit_test(says_what_else_is_wanted),
        cmocka_unit_test(rules_that_go_take_heads_along),
        cmocka_unit_test(takes_few_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
