/* decide: policies as users write them, and what they say of one thing that a program does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/policy/scene.h"

#define HEAD(name)                                                                                 \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec:\n"

static const char *const policies[] = {
    ['a'] = HEAD(
        "a") "  egress:\n"
             "  - toFQDNs: [{matchName: api.example.com}, {matchPattern: '*.svc.example.com'}]\n"
             "    toCIDR: [203.0.113.0/24]\n"
             "    toPorts:\n"
             "    - ports: [{port: '443', protocol: TCP}]\n"
             "      rules:\n"
             "        http:\n"
             "        - {method: GET|HEAD, path: '/v1/.*', host: '.*[.]example[.]com'}\n"
             "        - {method: POST, path: /v1/orders, headers: [x-tenant]}\n"
             "        - {method: PUT, headers: ['x-tenant blue']}\n"
             "        - {method: CONNECT}\n"
             "    - ports: [{port: '53', protocol: ANY}]\n"
             "      rules: {dns: [{matchPattern: '*.example.com', types: [A, AAAA]}]}\n"
             "  - toCIDR: [198.51.100.0/24]\n"
             "    toPorts: [{ports: [{port: '8000', endPort: 8009}]}]\n"
             "  egressDeny:\n"
             "  - toCIDR: [203.0.113.66/32]\n"
             "  - toFQDNs: [{matchName: bad.svc.example.com}]\n",
    ['b'] = HEAD("b") "  onDeny: reset\n"
                      "  egress: []\n",
    ['c'] = HEAD("c") "  matchBinaries: [{operator: In, values: [/usr/bin/curl]}]\n"
                      "  egress: [{toEntities: [world]}]\n",
    ['d'] = HEAD("d") "  egressDeny:\n"
                      "  - toEntities: [world]\n"
                      "    toPorts:\n"
                      "    - ports: [{port: '443', protocol: TCP}]\n"
                      "      rules: {http: [{path: '/admin(/.*)?'}]}\n"
                      "    - ports: [{port: '53', protocol: ANY}]\n"
                      "      rules: {dns: [{matchName: evil.example, types: [TXT]}]}\n"
                      "    - ports: [{port: '8443', protocol: TCP}]\n"
                      "      serverNames: [old.example.com]\n",
    ['m'] = HEAD("m") "  mode: monitor\n"
                      "  onDeny: sigkill\n"
                      "  egress:\n"
                      "  - toCIDR: [203.0.113.0/24]\n"
                      "    toPorts: [{ports: [{port: '443'}], rules: {http: [{method: GET}]}}]\n"
                      "  egressDeny: [{toCIDR: [203.0.113.77/32]}]\n",
    ['s'] = HEAD("s") "  egress:\n"
                      "  - toEntities: [world]\n"
                      "    toPorts:\n"
                      "    - ports: [{port: '443', protocol: TCP}]\n"
                      "      serverNames: [api.example.com, '*.ok.example.com']\n"
                      "    - ports: [{port: '444', protocol: TCP}]\n"
                      "      tls: {minVersion: '1.3', ciphers: [TLS_AES_128_GCM_SHA256]}\n",
    ['t'] = HEAD("t") "  egress:\n"
                      "  - toEntities: [world]\n"
                      "    toPorts:\n"
                      "    - {ports: [{port: '444', protocol: TCP}], tls: {minVersion: '1.2'}}\n",
    ['p'] =
        HEAD("p") "  egress:\n"
                  "  - toFQDNs: [{matchName: proxy.example.com}]\n"
                  "    toPorts: [{ports: [{port: '3128', protocol: TCP}], rules: {http: [{method: "
                  "CONNECT, host: 'api[.]example[.]com'}]}}]\n"
                  "  - toFQDNs: [{matchName: api.example.com}]\n"
                  "    toPorts: [{ports: [{port: '3128', protocol: TCP}], rules: {http: [{method: "
                  "GET}]}}]\n",
    ['q'] = HEAD(
        "q") "  egress:\n"
             "  - toCIDR: [203.0.113.0/24]\n"
             "    toPorts: [{ports: [{port: '443', protocol: UDP}], serverNames: ['*.good']}]\n"
             "  egressDeny:\n"
             "  - toPorts: [{ports: [{port: '443', protocol: ANY}], serverNames: [bad.good]}]\n",
    ['x'] = HEAD("x") "  egress:\n"
                      "  - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]\n"
                      "  - toCIDR: ['2001:db8::/32']\n",
};

#define API  "203.0.113.9:443", .resolved = "api.example.com"
#define SVC  "192.0.2.1:443", .resolved = "x.svc.example.com other.example"
#define DNS_ "192.0.2.53:53", .protocol = PROTOCOL_UDP

#define ALLOW                    .want = VERDICT_ALLOW
#define DENY                     .want = VERDICT_DENY
#define ALERT                    .want = VERDICT_ALERT
#define BY(policy_id, rule_name) .policy = policy_id, .rule = rule_name

static const struct {
    const char *name;
    const char *of; /* letters of policies */
    const char *dst, *resolved;
    enum verdict want;
    const char *policy, *rule, *says;
    enum protocol protocol;
    const char *binary, *tls;         /* facts->name */
    const char *method, *host, *path; /* a request */
    const char *field, *value;
    const char *question;
    uint16_t type;
    bool hello; /* a ClientHello with tls for its name */
    uint16_t version;
    const char *cipher;
    bool configured, cannot_resolve, plain, bad, upgrade, cut;
} cases[] = {
    /* nothing is asked of anybody */
    {"no policy", "", API, ALLOW},
    {"a policy for others", "c", API, ALLOW, .binary = "/usr/bin/wget"},
    {"a policy for an unknown program", "c", API, ALLOW},
    {"for this one", "c", API, ALLOW, BY("c", "egress[0]"), .binary = "/usr/bin/curl"},

    /* connect */
    {"a network", "a", "203.0.113.9:443", NULL, ALLOW, BY("a", "egress[0].toPorts[0]")},
    {"a name", "a", SVC, ALLOW, BY("a", "egress[0].toPorts[0]")},
    {"another port", "a", "203.0.113.9:22", NULL, DENY, BY("a", "egress"),
     .says = "no rule allows 203.0.113.9:22/TCP"},
    {"another protocol", "a", "203.0.113.9:443", NULL, DENY, BY("a", "egress"),
     .says = "no rule allows 203.0.113.9:443/UDP", .protocol = PROTOCOL_UDP},
    {"datagrams, of which the name is yet to come", "q", "203.0.113.9:443", NULL, ALLOW,
     BY("q", "egress[0].toPorts[0]"), .protocol = PROTOCOL_UDP},
    {"... and fits", "q", "203.0.113.9:443", "a.good", ALLOW, BY("q", "egress[0].toPorts[0]"),
     .protocol = PROTOCOL_UDP, .tls = "a.good", .hello = true},
    {"... and is another", "q", "203.0.113.9:443", "a.evil", DENY, BY("q", "egress[0].toPorts[0]"),
     .protocol = PROTOCOL_UDP, .tls = "a.evil", .hello = true,
     .says = "no rule allows the name a.evil"},
    {"... and is denied", "q", "203.0.113.9:443", "bad.good", DENY,
     BY("q", "egressDeny[0].toPorts[0]"), .protocol = PROTOCOL_UDP, .tls = "bad.good",
     .hello = true},
    {"... and was not said", "q", "203.0.113.9:443", NULL, DENY, BY("q", "egress[0].toPorts[0]"),
     .protocol = PROTOCOL_UDP, .hello = true},
    {"a range's first", "a", "198.51.100.1:8000", NULL, ALLOW, BY("a", "egress[1].toPorts[0]")},
    {"a range's last", "a", "198.51.100.1:8009", NULL, ALLOW, BY("a", "egress[1].toPorts[0]")},
    {"behind a range", "a", "198.51.100.1:8010", NULL, DENY, BY("a", "egress")},
    {"before a range", "a", "198.51.100.1:7999", NULL, DENY, BY("a", "egress")},
    {"an address nobody resolved", "a", "192.0.2.1:443", NULL, DENY, BY("a", "egress")},
    {"resolved for another name", "a", "192.0.2.1:443", "evil.example", DENY, BY("a", "egress")},
    {"no names, all is denied", "b", "192.0.2.1:443", "evil.example", DENY, BY("b", "egress")},
    {"one of two allows", "ab", API, ALLOW, BY("a", "egress[0].toPorts[0]")},
    {"denied by address", "a", "203.0.113.66:443", "api.example.com", DENY,
     BY("a", "egressDeny[0]"), .says = "a rule denies 203.0.113.66:443/TCP"},
    {"denied by a name of several", "a", "192.0.2.1:443", "x.svc.example.com bad.svc.example.com",
     DENY, BY("a", "egressDeny[1]")},
    {"denied in one, allowed in another", "ac", "203.0.113.66:443", NULL, DENY,
     BY("a", "egressDeny[0]"), .binary = "/usr/bin/curl"},
    {"rules in egressDeny wait", "d", API, ALLOW},
    {"the name server, at connect", "a", DNS_, ALLOW, .configured = true,
     BY("a", "egress[0].toPorts[1]")},
    {"a name server of its own", "a", DNS_, DENY, BY("a", "egress")},
    {"a name server over TCP", "a", "192.0.2.53:53", ALLOW, .configured = true},
    {"but for its port 443", "a", "192.0.2.53:443", DENY, .configured = true},
    {"IPv6", "x", "[2001:db8::1]:1", NULL, ALLOW, BY("x", "egress[1]")},
    {"other IPv6", "x", "[2001:db9::1]:1", NULL, DENY, BY("x", "egress")},
    {"a network but", "x", "10.2.0.1:1", NULL, ALLOW, BY("x", "egress[0]")},
    {"the exception", "x", "10.1.0.1:1", NULL, DENY, BY("x", "egress")},

    /* questions */
    {"a question", "a", DNS_, .configured = true, .question = "www.example.com", .type = 1, ALLOW,
     BY("a", "egress[0].toPorts[1].rules.dns[0]")},
    {"in any case, with a dot", "a", DNS_, .configured = true, .question = "WWW.Example.COM.",
     .type = 28, ALLOW},
    {"of another type", "a", DNS_, .configured = true, .question = "www.example.com", .type = 16,
     DENY, BY("a", "egress[0].toPorts[1]"),
     .says = "no rule allows the name www.example.com, type TYPE"},
    {"of another name", "a", DNS_, .configured = true, .question = "evil.example", .type = 1, DENY,
     .says = "no rule allows the name evil.example"},
    {"of too deep a name", "a", DNS_, .configured = true, .question = "a.b.example.com", .type = 1,
     DENY},
    {"at a server of its own", "a", DNS_, .question = "www.example.com", .type = 1, DENY,
     .says = "no rule allows questions to 192.0.2.53:53/UDP"},
    {"at a server that is listed", "a", "203.0.113.53:53", .protocol = PROTOCOL_UDP,
     .question = "www.example.com", .type = 1, ALLOW},
    {"over TCP", "a", "203.0.113.53:53", .question = "www.example.com", .type = 1, ALLOW},
    {"of a name that is denied", "a", DNS_, .configured = true, .question = "Bad.svc.example.com.",
     .type = 1, DENY, BY("a", "egressDeny[1]"),
     .says = "a rule denies the name Bad.svc.example.com."},
    {"denied by a rule", "d", DNS_, .question = "evil.example", .type = 16, DENY,
     BY("d", "egressDeny[0].toPorts[1].rules.dns[0]")},
    {"of a type that is not denied", "d", DNS_, .question = "evil.example", .type = 1, ALLOW},
    {"hostile bytes", "a", DNS_, .configured = true, .question = "a\x1b[2J\xe2\x80\xae.example",
     .type = 1, DENY,
     .says = "no rule allows the name a\\x1b[2J\\xe2\\x80\\xae.example, type TYPE"},

    /* ClientHello */
    {"SNI", "a", API, .hello = true, .tls = "api.example.com", ALLOW},
    {"SNI in capitals", "a", SVC, .hello = true, .tls = "X.SVC.example.com.", ALLOW},
    {"SNI of a name that does not fit", "a", SVC, .hello = true, .tls = "other.example", DENY,
     BY("a", "egress"), .says = "no rule allows the name other.example"},
    {"SNI of a name that was not resolved", "a", SVC, .hello = true, .tls = "y.svc.example.com",
     DENY,
     .says = "no rule allows the name y.svc.example.com, which was not resolved to 192.0.2.1"},
    {"an address for a name", "a", "192.0.2.1:443", .hello = true, .tls = "192.0.2.1", DENY,
     BY("a", "egress"), .says = "no rule allows 192.0.2.1:443/TCP"},
    {"another address for a name", "a", "192.0.2.1:443", .hello = true, .tls = "[2001:db8::1]",
     DENY, .says = "no rule allows the address 2001:db8::1, said to 192.0.2.1"},
    {"SNI does not open an address", "a", "192.0.2.1:443", .hello = true, .tls = "api.example.com",
     DENY},
    {"whatever the SNI, by address", "a", API, .hello = true, .tls = "evil.example", ALLOW},
    {"no SNI", "a", SVC, .hello = true, ALLOW},
    {"a name that is denied", "a", "203.0.113.9:443", .hello = true, .tls = "bad.svc.example.com",
     DENY, BY("a", "egressDeny[1]")},
    {"serverNames", "s", API, .hello = true, .tls = "API.example.com", ALLOW,
     BY("s", "egress[0].toPorts[0]")},
    {"serverNames by pattern", "s", API, .hello = true, .tls = "a.ok.example.com", ALLOW},
    {"not in serverNames", "s", API, .hello = true, .tls = "evil.example", DENY,
     BY("s", "egress[0].toPorts[0]"), .says = "no rule allows the name evil.example"},
    {"serverNames, no SNI", "s", API, .hello = true, DENY, BY("s", "egress[0].toPorts[0]"),
     .says = "no rule allows TLS without a name to 203.0.113.9:443/TCP"},
    {"serverNames that are denied", "d", "203.0.113.9:8443", .hello = true,
     .tls = "old.example.com", DENY, BY("d", "egressDeny[0].toPorts[2]")},
    {"serverNames that are not", "d", "203.0.113.9:8443", .hello = true, .tls = "new.example.com",
     ALLOW},
    {"too old a client", "s", "203.0.113.9:444", .hello = true, .version = 0x0303, DENY},
    {"new enough", "s", "203.0.113.9:444", .hello = true, .version = 0x0304, ALLOW},

    /* sessions */
    {"as demanded", "s", "203.0.113.9:444", .version = 0x0304, .cipher = "TLS_AES_128_GCM_SHA256",
     ALLOW},
    {"another cipher", "s", "203.0.113.9:444", .version = 0x0304,
     .cipher = "TLS_AES_256_GCM_SHA384", DENY, BY("s", "egress[0].toPorts[1]"),
     .says = "no rule allows TLS 1.3 with TLS_AES_256_GCM_SHA384"},
    {"an older version", "s", "203.0.113.9:444", .version = 0x0303,
     .cipher = "TLS_AES_128_GCM_SHA256", DENY},
    {"that another rule takes", "st", "203.0.113.9:444", .version = 0x0303, .cipher = "X", ALLOW,
     BY("t", "egress[0].toPorts[0]")},

    /* requests */
    {"a request", "a", API, .method = "GET", .host = "api.example.com", .path = "/v1/x", ALLOW,
     BY("a", "egress[0].toPorts[0].rules.http[0]")},
    {"another method", "a", API, .method = "DELETE", .host = "api.example.com", .path = "/v1/x",
     DENY, BY("a", "egress[0].toPorts[0]"), .says = "no rule allows DELETE /v1/x"},
    {"a method in small letters", "a", API, .method = "get", .host = "api.example.com",
     .path = "/v1/x", DENY},
    {"the method's begin", "a", API, .method = "GETS", .host = "api.example.com", .path = "/v1/x",
     DENY},
    {"another path", "a", API, .method = "GET", .host = "api.example.com", .path = "/admin", DENY,
     .says = "no rule allows GET /admin"},
    {"a path that only begins so", "a", API, .method = "POST", .host = "api.example.com",
     .path = "/v1/orders/1", .field = "X-Tenant", .value = "red", DENY},
    {"with its header", "a", API, .method = "POST", .host = "api.example.com", .path = "/v1/orders",
     .field = "X-Tenant", .value = "red", ALLOW, BY("a", "egress[0].toPorts[0].rules.http[1]")},
    {"without it", "a", API, .method = "POST", .host = "api.example.com", .path = "/v1/orders",
     DENY},
    {"with its value", "a", API, .method = "PUT", .host = "api.example.com", .path = "/",
     .field = "x-tenant", .value = "blue", ALLOW},
    {"with another value", "a", API, .method = "PUT", .host = "api.example.com", .path = "/",
     .field = "x-tenant", .value = "Blue", DENY},
    {"another host by an address that fits", "a", API, .method = "GET", .host = "evil.example",
     .path = "/v1/x", DENY, BY("a", "egress[0].toPorts[0]")},
    {"another host by name", "a", SVC, .method = "GET", .host = "other.example", .path = "/v1/x",
     DENY, BY("a", "egress"), .says = "no rule allows the name other.example"},
    {"a host that was not resolved", "a", SVC, .method = "GET", .host = "y.svc.example.com",
     .path = "/v1/x", DENY},
    {"fronting", "a", "192.0.2.1:443", .resolved = "x.svc.example.com y.svc.example.com",
     .tls = "x.svc.example.com", .method = "GET", .host = "evil.example", .path = "/v1/x", DENY},
    {"two names that both fit", "a", "192.0.2.1:443",
     .resolved = "x.svc.example.com y.svc.example.com", .tls = "x.svc.example.com", .method = "GET",
     .host = "y.svc.example.com", .path = "/v1/x", ALLOW},
    {"fronting under serverNames", "s", API, .tls = "api.example.com", .method = "GET",
     .host = "evil.example", .path = "/", DENY},
    {"the SNI must fit, too", "s", API, .tls = "evil.example", .method = "GET",
     .host = "api.example.com", .path = "/", DENY, .says = "no rule allows the name evil.example"},
    {"in the clear under serverNames", "s", API, .method = "GET", .host = "api.example.com",
     .path = "/", DENY},
    {"in the clear where TLS is demanded", "s", "203.0.113.9:444", .plain = true, .method = "GET",
     .host = "api.example.com", .path = "/", DENY},
    {"a request where questions are allowed", "a", "203.0.113.9:53", .method = "GET",
     .host = "api.example.com", .path = "/v1/x", DENY},
    {"OPTIONS *", "d", API, .method = "OPTIONS", .host = "api.example.com", .path = "*", ALLOW},
    {"a path that is denied", "d", API, .method = "GET", .host = "api.example.com",
     .path = "/admin", DENY, BY("d", "egressDeny[0].toPorts[0].rules.http[0]"),
     .says = "a rule denies GET /admin"},
    {"a path that is not", "d", API, .method = "GET", .host = "api.example.com",
     .path = "/administrator", ALLOW},
    {"hostile path", "a", API, .method = "GET", .host = "api.example.com", .path = "/\n\"\xff",
     DENY, .says = "no rule allows GET /\\x0a\"\\xff"},
    {"a token in the path", "a", API, .method = "GET", .host = "api.example.com",
     .path = "/up/eyJhbGciOiJub25lIn0.e30.", DENY, .says = "no rule allows GET /up/..."},

    /* paths in disguise */
    {"dots out of what is allowed", "a", API, .method = "GET", .host = "api.example.com",
     .path = "/v1/../admin", DENY},
    {"encoded dots", "a", API, .method = "GET", .host = "api.example.com",
     .path = "/v1/%2e%2e/admin", DENY},
    {"dots within", "a", API, .method = "GET", .host = "api.example.com", .path = "/v1/a/../b",
     ALLOW},
    {"dots into what is allowed", "a", API, .method = "GET", .host = "api.example.com",
     .path = "/x/../v1/a", DENY},
    {"denied, encoded", "d", API, .method = "GET", .host = "api.example.com", .path = "/%61dmin",
     DENY, BY("d", "egressDeny[0].toPorts[0].rules.http[0]")},
    {"denied, doubled", "d", API, .method = "GET", .host = "api.example.com", .path = "//admin",
     DENY},
    {"denied, around", "d", API, .method = "GET", .host = "api.example.com", .path = "/x/../admin/",
     DENY},
    {"denied as sent", "d", API, .method = "GET", .host = "api.example.com", .path = "/admin/../x",
     DENY},
    {"encoded slash", "a", API, .method = "GET", .host = "api.example.com", .path = "/v1/a%2Fb",
     DENY, .bad = true, BY("a", "egress[0].toPorts[0].rules.http[0]"),
     .says = "an encoded '/' in the path"},
    {"backslash", "a", API, .method = "GET", .host = "api.example.com", .path = "/v1/a\\b", DENY,
     .bad = true},
    {"encoded backslash", "d", API, .method = "GET", .host = "api.example.com", .path = "/v1/a%5cb",
     DENY, .bad = true, BY("d", "egressDeny[0].toPorts[0].rules.http[0]")},
    {"encoded NUL", "a", API, .method = "GET", .host = "api.example.com", .path = "/v1/a%00b", DENY,
     .bad = true},
    {"where no rule reads it", "c", API, .method = "GET", .host = "api.example.com",
     .path = "/v1/a%2Fb", ALLOW, .binary = "/usr/bin/curl"},
    {"where all may pass", "ac", API, .method = "GET", .host = "api.example.com",
     .path = "/v1/a%2Fb", ALLOW, .binary = "/usr/bin/curl"},
    {"where a rule denies paths", "cd", API, .method = "GET", .host = "api.example.com",
     .path = "/v1/a%2Fb", DENY, .bad = true, .binary = "/usr/bin/curl"},
    {"under rules without paths", "m", API, .method = "GET", .host = "api.example.com",
     .path = "/v1/a%2Fb", ALLOW},
    {"no Host", "a", API, .method = "GET", .path = "/v1/a", DENY, .bad = true, .says = "no Host"},
    {"no Host yet", "a", API, .method = "GET", .path = "/v1/a", DENY, .cut = true,
     .says = "no rule allows GET /v1/a"},
    {"no Host, and no rule to read it", "b", API, .method = "GET", .path = "/v1/a", DENY,
     BY("b", "egress")},

    /* tunnels */
    {"CONNECT", "p", "192.0.2.1:3128", .resolved = "proxy.example.com", .method = "CONNECT",
     .host = "api.example.com", .path = "", ALLOW, BY("p", "egress[0].toPorts[0].rules.http[0]")},
    {"CONNECT to another", "p", "192.0.2.1:3128", .resolved = "proxy.example.com",
     .method = "CONNECT", .host = "evil.example", .path = "", DENY},
    {"in the tunnel", "p", "192.0.2.1:3128", .resolved = "proxy.example.com",
     .tls = "api.example.com", .cannot_resolve = true, .hello = true, ALLOW,
     BY("p", "egress[1].toPorts[0]")},
    {"a request in the tunnel", "p", "192.0.2.1:3128", .resolved = "proxy.example.com",
     .tls = "api.example.com", .cannot_resolve = true, .method = "GET", .host = "api.example.com",
     .path = "/", ALLOW},
    {"for another in the tunnel", "p", "192.0.2.1:3128", .resolved = "proxy.example.com",
     .tls = "api.example.com", .cannot_resolve = true, .method = "GET", .host = "evil.example",
     .path = "/", DENY},
    {"WebSocket by HTTP/2 is no tunnel", "p", "192.0.2.1:3128", .resolved = "proxy.example.com",
     .method = "CONNECT", .upgrade = true, .host = "api.example.com", .path = "/", DENY},

    /* monitor */
    {"would be allowed", "m", API, ALLOW, BY("m", "egress[0].toPorts[0]")},
    {"would be denied", "m", "192.0.2.1:443", ALERT, BY("m", "egress"),
     .says = "no rule allows 192.0.2.1:443/TCP"},
    {"would be denied in earnest, too", "bm", "192.0.2.1:443", DENY, BY("b", "egress")},
    {"does not allow in earnest", "bm", API, DENY, BY("b", "egress")},
    {"allowed by others", "am", "198.51.100.1:8001", ALLOW, BY("a", "egress[1].toPorts[0]")},
    {"would be denied though allowed", "am", "203.0.113.77:443", ALERT, BY("m", "egressDeny[0]"),
     .says = "a rule denies 203.0.113.77:443/TCP"},
    {"a request would be denied", "m", API, .method = "POST", .host = "api.example.com",
     .path = "/", ALERT, .policy = "m", .says = "no rule allows POST /"},
};

/* ---- telling one ---- */

static struct policy_names split(char *text, const char *list[8])
{
    struct policy_names names = {list, 0};

    for (char *name = strtok(text, " "); name; name = strtok(NULL, " "))
        list[names.len++] = name;
    return names;
}

static void decide(size_t i, const struct policy_scope *scope, const struct policy_facts *facts,
                   bool *bad, struct policy_verdict *out)
{
    const struct facts_field field = {span_of_text(cases[i].field), span_of_text(cases[i].value)};
    const struct facts_request request = {
        .method = span_of_text(cases[i].method),
        .path = span_of_text(cases[i].path),
        .host = cases[i].host,
        .cut = cases[i].cut,
        .upgrade = cases[i].upgrade ? BYTES("websocket") : BYTES(""),
        .fields = &field,
        .fields_len = cases[i].field != NULL,
    };
    const struct policy_question question = {cases[i].question, cases[i].type, "TYPE",
                                             cases[i].configured};
    const struct policy_hello hello = {cases[i].tls, cases[i].version};

    if (cases[i].method)
        policy_decide_http(scope, facts, &request, bad, out);
    else if (cases[i].question)
        policy_decide_dns(scope, facts, &question, out);
    else if (cases[i].hello)
        policy_decide_hello(scope, facts, &hello, out);
    else if (cases[i].version)
        policy_decide_session(scope, facts, cases[i].version, cases[i].cipher, out);
    else
        policy_decide_connect(scope, facts, out);
}

static void says_what_policies_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addr dst = scene_addr(cases[i].dst);
        char resolved[128] = "";
        const char *list[8];
        struct policy_facts facts = {
            .protocol = cases[i].protocol,
            .dst = &dst,
            .name = cases[i].tls,
            .cannot_resolve = cases[i].cannot_resolve,
            .name_server = cases[i].configured,
            .plain = cases[i].plain,
        };
        struct policy_verdict verdict;
        struct scene scene = {0};
        bool bad = false;

        print_message("  %s\n", cases[i].name);
        if (cases[i].resolved)
            strcpy(resolved, cases[i].resolved);
        facts.resolved = split(resolved, list);
        for (const char *of = cases[i].of; *of; of++)
            scene_read(&scene, policies[(size_t)*of]);
        scene_begin(&scene, cases[i].binary);
        memset(&verdict, 0xa5, sizeof(verdict));
        decide(i, scene.scope, &facts, &bad, &verdict);
        assert_int_equal(verdict.verdict, cases[i].want);
        assert_int_equal(bad, cases[i].bad);
        if (cases[i].policy)
            assert_string_equal(verdict.policy ? verdict.policy->id : "", cases[i].policy);
        if (cases[i].rule)
            assert_string_equal(verdict.place ? verdict.place->rule : "", cases[i].rule);
        if (cases[i].says)
            assert_memory_equal(verdict.reason, cases[i].says, strlen(cases[i].says));
        assert_true(verdict.verdict == VERDICT_ALLOW || (verdict.reason[0] && verdict.policy));
        assert_true(!verdict.policy == !verdict.place);
        if (verdict.verdict != VERDICT_ALLOW)
            assert_int_equal(verdict.mode, verdict.verdict == VERDICT_ALERT);
        scene_end(&scene);
    }
}

static void takes_the_action_of_who_denies(void **state)
{
    struct addr dst = scene_addr("192.0.2.1:443");
    struct policy_facts facts = {.dst = &dst};
    struct policy_verdict verdict;
    struct scene scene = {0};

    (void)state;
    scene_read(&scene, policies['b']);
    scene_begin(&scene, NULL);
    policy_decide_connect(scene.scope, &facts, &verdict);
    assert_int_equal(verdict.action, POLICY_RESET);
    policy_decide_connect(NULL, &facts, &verdict);
    assert_int_equal(verdict.verdict, VERDICT_ALLOW);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_policies_mean),
        cmocka_unit_test(takes_the_action_of_who_denies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
