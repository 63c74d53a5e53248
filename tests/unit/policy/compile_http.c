/* compile_http: rules of HTTP and DNS, and where in a text an expression goes wrong. */
#include "tests/unit/policy/compile_cases.h"

#define HTTP(rule) TO_PORTS("rules: {http: [" rule "]}") /* its text begins in column 23 */
#define DNS(rule)  TO_PORTS("rules: {dns: [" rule "]}")

static const struct compile_case http[] = {
    {"an unknown key", HTTP("{paht: /}"),
     "7:23: a rule of http has no key 'paht'; did you mean 'path'?"},
    {"nothing said in each", HTTP("{method: '', path: '', host: ''}"),
     "7:31: method is empty; leave it out, or say '.*'\n"
     "7:41: path is empty; leave it out, or say '.*'\n"
     "7:51: host is empty; leave it out, or say '.*'"},
    {"a list of methods", HTTP("{method: [GET, HEAD]}"), "7:31: method takes a text, not a list"},
    {"a method in small letters", HTTP("{method: get}"),
     "7:31: 'get' is no method that a program uses: they are in capitals, and case counts"},
    {"a path from nowhere", HTTP("{path: v1}"), "7:29: 'v1' matches no path: they begin with '/'"},
    {"paths that no request has", HTTP("{path: /a//b}, {path: \"/a/[.]\"}, {path: /%61}"),
     "7:29: '/a//b' matches no path: servers read it as '/a/b', and both must match\n"
     "7:44: '/a/.' matches no path: servers read it as '/a/', and both must match\n"
     "7:62: '/%61' matches no path: servers read it as '/a', and both must match"},
    {"a path that is refused before", HTTP("{path: /a%2fb}"),
     "7:29: '/a%2fb' matches no path: with an encoded '/' in the path a request is refused"},
    {"a host with a port", HTTP("{host: \"a[.]example:8443\"}"),
     "7:29: 'a[.]example:8443' matches no host: the port is split off before; say it under "
     "toPorts"},
    {"a host that is a URL", HTTP("{host: \"https://a[.]example\"}"),
     "7:29: 'https://a[.]example' is a URL; say the name in it alone"},
    {"headers", HTTP("{headers: ['', 'a b c', ': x', \"\xc3\xbc\", [x]]}"),
     "7:33: '' cannot be the name of a header\n"
     "7:46: '' cannot be the name of a header\n"
     "7:53: '\xc3\xbc' cannot be the name of a header\n"
     "7:58: an item of headers is a text, not a list"},
    {"no headers", HTTP("{headers: [], headerMatches: []}"),
     "7:32: headers is empty: leave it out\n"
     "7:51: headerMatches is empty: leave it out"},
    {"headers that would be changed", HTTP("{headerMatches: [{name: x, mismatch: LOG}]}"),
     "7:49: mismatch is not supported: requests go on as they came, or not at all; leave it out to "
     "refuse those that lack the header"},
    {"a secret", HTTP("{headerMatches: [{name: x, secret: {name: s}}]}"),
     "7:49: secret is not supported: secrets are not read of Kubernetes; say value, or the name "
     "alone"},
    {"a header without a name", HTTP("{headerMatches: [{value: x}, {name: [x]}, {name: 'a b'}]}"),
     "7:39: an item of headerMatches lacks name\n"
     "7:58: name takes a text, not a list\n"
     "7:71: 'a b' cannot be the name of a header"},
};

/* The caret stands below the character of the expression that is wrong. */
static const struct compile_case expressions[] = {
    {"plain", HTTP("{path: /v1/(a}"), "7:33: this is no expression: '(' is never closed"},
    {"in quotes", HTTP("{path: \"/v1/(a\"}"), "7:34: this is no expression: '(' is never closed"},
    {"behind escapes", HTTP("{path: \"/\\\\.\\t(a\"}"),
     "7:36: this is no expression: '(' is never closed"},
    {"behind an escape that is long", HTTP("{path: \"/\\x41(a\"}"),
     "7:29: this is no expression: '(' is never closed"},
    {"behind quotes in quotes", HTTP("{path: '/it''s(a'}"),
     "7:36: this is no expression: '(' is never closed"},
    {"behind letters of two bytes", HTTP("{path: /\xc3\xbc\xc3\xbc(a}"),
     "7:32: this is no expression: '(' is never closed"},
    {"a host, which is of any case", HTTP("{host: (a}"),
     "7:29: this is no expression: '(' is never closed"},
    {"a method", HTTP("{method: \"GET|(\"}"), "7:36: this is no expression: '(' is never closed"},
    {"over two lines", HTTP("{path: /a\n        (b}"),
     "7:29: this is no expression: '(' is never closed"},
};

#define TYPES                                                                                      \
    "say A, AAAA, ANY, AXFR, CAA, CDNSKEY, CDS, CNAME, CSYNC, DNAME, DNSKEY, DS, HINFO, HTTPS, "   \
    "IXFR, LOC, MX, NAPTR, NS, NSEC, NSEC3, NSEC3PARAM, OPENPGPKEY, PTR, …\n"
static const struct compile_case dns[] = {
    {"nothing", DNS("{}"), "7:21: a rule of dns says nothing; matchPattern: \"*\" is every name"},
    {"a name and a pattern", DNS("{matchName: a.example, matchPattern: \"*\"}"),
     "7:44: matchName and matchPattern are two rules; begin the second with '- '"},
    {"a wildcard for a name", DNS("{matchName: \"*\"}"),
     "7:33: '*' has a wildcard; matchName takes none, matchPattern does"},
    {"types", DNS("{types: [AAA, TYPE0, TYPE65536, TYPE1x, a]}"),
     "7:30: types cannot be 'AAA'; did you mean 'AAAA'?\n"
     "7:35: types cannot be 'TYPE0'; " TYPES "7:42: types cannot be 'TYPE65536'; " TYPES
     "7:53: types cannot be 'TYPE1x'; " TYPES "7:61: types cannot be 'a'; did you mean 'A'?"},
    {"no types", DNS("{types: []}"), "7:29: types is empty: leave it out for every type"},
};

static void test_faults(void **state)
{
    (void)state;
    compile_check_faults(http, ARRAY_SIZE(http));
    compile_check_faults(expressions, ARRAY_SIZE(expressions));
    compile_check_faults(dns, ARRAY_SIZE(dns));
}

#define BEFORE "egress[0]\negress[0].toPorts[0]\negress[0].toPorts[0].rules."
static const struct compile_case fine[] = {
    {"every request", HTTP("{}"), BEFORE "http[0]\n"},
    {"texts that are no expressions",
     HTTP("{method: GET, path: /v1/a-b_c, host: \"API[.]Example\\\\.com\"}"),
     BEFORE "http[0] method=GET path=/v1/a-b_c host=api.example.com\n"},
    {"expressions", HTTP("{method: GET|HEAD, path: \"/v1/.*\", host: \"(a|b)[.]example\"}"),
     BEFORE "http[0] method=/GET|HEAD/ path=//v1/.*/ host=/(a|b)[.]example/\n"},
    {"what looks like a text",
     HTTP("{path: \"/[^a]\"}, {path: \"/[]]\"}, {path: \"/a$\"}, {path: "
          "\"/\\\\d\"}, {path: \"/a.b\"}"),
     BEFORE "http[0] path=//[^a]/\n"
            "egress[0].toPorts[0].rules.http[1] path=//[]]/\n"
            "egress[0].toPorts[0].rules.http[2] path=//a$/\n"
            "egress[0].toPorts[0].rules.http[3] path=//\\d/\n"
            "egress[0].toPorts[0].rules.http[4] path=//a.b/\n"},
    {"any path of OPTIONS", HTTP("{method: OPTIONS, path: \"[*]\"}"),
     BEFORE "http[0] method=OPTIONS path=*\n"},
    {"headers",
     HTTP("{headers: [x-tenant, \"X-A: b c\", \"X-D e\", \"X-F:\"], headerMatches: "
          "[{name: x-g, value: h}, {name: x-i}]}"),
     BEFORE "http[0] x-tenant:* X-A:b c X-D:e X-F:* x-g:h x-i:*\n"},
    {"questions",
     DNS("{matchName: A.Example.}, {matchPattern: \"*\"}, {types: [A, HTTPS, TYPE4711]}"),
     BEFORE "dns[0] name=a.example\n"
            "egress[0].toPorts[0].rules.dns[1] name=~*\n"
            "egress[0].toPorts[0].rules.dns[2] types=1,65,4711\n"},
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
