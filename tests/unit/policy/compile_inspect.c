/* compile_inspect: what is looked for, and what a route that opens nothing could not see. */
#include "tests/unit/policy/compile_cases.h"

#define INSPECT(text) SPEC("  inspect:\n    " text) /* line 6 */
#define BODIES(text)  INSPECT("bodies: [" text "]")
#define SIZE          "say such as 64Ki or 1Mi, up to 1024Gi"

static const struct compile_case faults[] = {
    {"nothing", SPEC("  inspect: {}"), "5:12: inspect says nothing; leave it out"},
    {"an unknown key", INSPECT("token: deny"),
     "6:5: inspect has no key 'token'; did you mean 'tokens'?"},
    {"words", INSPECT("{consistency: refuse, tokens: \"on\"}"),
     "6:19: consistency cannot be 'refuse'; say off, alert or deny\n"
     "6:35: tokens cannot be 'on'; say off, alert or deny"},
    {"no bodies", INSPECT("bodies: []"), "6:13: bodies is empty: leave it out"},
    {"no patterns", BODIES("{patterns: []}, {}"),
     "6:25: patterns is empty: say what to look for\n"
     "6:30: an item of bodies lacks patterns"},
    {"a pattern misspelt", BODIES("{patterns: [payment-cards, visa]}"),
     "6:26: patterns cannot be 'payment-cards'; did you mean 'payment-card'?\n"
     "6:41: patterns cannot be 'visa'; say payment-card, iban, private-key, aws-access-key, "
     "gcp-key, github-token, slack-token, jwt, email or us-ssn"},
    {"a pattern twice",
     BODIES("{patterns: [iban, iban, {name: a, regex: x}, {name: a, regex: y}]}"),
     "6:32: the pattern 'iban' stands here already\n"
     "6:66: the pattern 'a' stands here already"},
    {"a list for a pattern", BODIES("{patterns: [[iban]]}"),
     "6:26: a pattern is a text, or {name: …, regex: …}"},
    {"one's own",
     BODIES("{patterns: [{name: jwt, regex: x}, {name: A, regex: x}, {regex: x}, "
            "{name: b}, {name: c, regex: \"a(\"}, {name: d, regex: \"a*\"}]}"),
     "6:33: 'jwt' is built in; give yours another name\n"
     "6:56: 'A' cannot be the name of a pattern: small letters, digits and '-', at most 63\n"
     "6:70: a pattern of one's own lacks name\n"
     "6:82: a pattern of one's own lacks regex\n"
     "6:112: this cannot be looked for: '(' is never closed\n"
     "6:135: this cannot be looked for: matches no bytes at all, so everywhere"},
    {"one's own that are slow",
     BODIES("{patterns: [{name: a, regex: \".*a[ab]{200}x\"}, {name: b, regex: \"a[ab]{200}x\"}, "
            "{name: c, regex: \"(?i)a.{200}x\"}]}"),
     "6:44: this cannot be looked for: repeats too much to be matched quickly\n"
     "6:79: this cannot be looked for: repeats too much to be matched quickly\n"
     "6:112: this cannot be looked for: repeats too much to be matched quickly"},
    {"words of bodies", BODIES("{patterns: [iban], direction: up, action: reject}"),
     "6:44: direction cannot be 'up'; say request, response or both\n"
     "6:56: action cannot be 'reject'; say deny or alert"},
    {"sizes",
     BODIES("{patterns: [iban], maxBytes: 0}, {patterns: [iban], maxBytes: 1MB}, "
            "{patterns: [iban], maxBytes: -1}, {patterns: [iban], maxBytes: 1025Gi}, "
            "{patterns: [iban], maxBytes: 99999999999999999999}"),
     "6:43: maxBytes is no size: '0'; " SIZE "\n6:76: maxBytes is no size: '1MB'; " SIZE
     "\n6:111: maxBytes is no size: '-1'; " SIZE "\n6:145: maxBytes is no size: '1025Gi'; " SIZE
     "\n6:183: maxBytes is no size: '99999999999999999999'; " SIZE},
    {"unseen",
     SPEC("  route: passthrough\n"
          "  onNoVisibility: drop\n"
          "  egress: [{toPorts: [{rules: {http: [{}]}}, {tls: {minVersion: 1.3}}]}]\n"
          "  egressDeny: [{toPorts: [{rules: {http: [{method: PUT}]}}]}]\n"
          "  inspect:\n"
          "    consistency: alert\n"
          "    tokens: deny\n"
          "    bodies: [{patterns: [iban]}]"),
     "5:10: route: passthrough leaves TLS closed, and egress[0].toPorts[0].rules.http[0], line 7, "
     "wants to see inside\n"
     "5:10: route: passthrough leaves TLS closed, and egressDeny[0].toPorts[0].rules.http[0], line "
     "8, wants to see inside\n"
     "5:10: route: passthrough leaves TLS closed, and inspect.bodies[0], line 12, wants to see "
     "inside\n"
     "5:10: route: passthrough leaves TLS closed, and inspect.tokens, line 11, wants to see "
     "inside\n"
     "5:10: route: passthrough leaves TLS closed, and inspect.consistency, line 10, wants to see "
     "inside\n"
     "5:10: route: passthrough leaves TLS closed, and onNoVisibility would then strike at every "
     "connection"},
    {"passed through, but for names",
     SPEC("  route: passthrough\n"
          "  onNoVisibility: alert\n"
          "  egress: [{toPorts: [{serverNames: [a.example]}]}]\n"
          "  inspect: {tokens: \"off\"}"),
     ""},
};

static void test_faults(void **state)
{
    (void)state;
    compile_check_faults(faults, ARRAY_SIZE(faults));
}

static const struct compile_case fine[] = {
    {"every pattern",
     BODIES("{patterns: [payment-card, iban, private-key, aws-access-key, gcp-key, "
            "github-token, slack-token, jwt, email, us-ssn]}"),
     "inspect.bodies[0] 3 alert 18446744073709551615 payment-card iban private-key aws-access-key "
     "gcp-key "
     "github-token slack-token jwt email us-ssn\n"},
    {"one's own, and all that can be said",
     BODIES("{patterns: [{name: ticket, regex: \"(?i)T-[0-9]{6}[a-f]{200}\"}], direction: "
            "response, action: deny, "
            "maxBytes: 64Ki}, {patterns: [jwt], direction: both, maxBytes: 4096}"),
     "inspect.bodies[0] 2 deny 65536 ticket=(?i)T-[0-9]{6}[a-f]{200}\n"
     "inspect.bodies[1] 3 alert 4096 jwt\n"},
    {"the others", INSPECT("{consistency: \"off\", tokens: deny}"),
     "inspect.consistency 0\ninspect.tokens 2\n"},
};

static void test_fine(void **state)
{
    (void)state;
    compile_check_policies(fine, ARRAY_SIZE(fine), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
