/* An entry of toPorts: which ports, which names TLS may be with, and what passes there. */
#include "policy/compile_own.h"

#include <stdio.h>
#include <string.h>

enum { NOT_SAID = -1 };

struct port { /* an item of ports as it is read */
    long first, last;
    unsigned protocols;
};

/* Digits alone, without a zero in front; NOT_SAID: it is no number up to most. */
static long number(const char *text, long most)
{
    size_t len = strlen(text);

    if (!len || len > 5 || strspn(text, "0123456789") != len || (len > 1 && text[0] == '0') ||
        strtol(text, NULL, 10) > most)
        return NOT_SAID;
    return strtol(text, NULL, 10);
}

static void tell_port(struct compile *c, const struct node *node)
{
    const char *text = node->text, *dash = strchr(text, '-');
    char first[6] = "";

    if (dash && dash > text && (size_t)(dash - text) < sizeof(first))
        memcpy(first, text, (size_t)(dash - text));
    if (number(first, 65535) > 0 && number(dash + 1, 65535) > number(first, 65535))
        faults_add(c->faults, node->mark,
                   "'%.100s' is no port; a range is said as port: \"%s\" and endPort: %s", text,
                   first, dash + 1);
    else if (*text && strspn(text, "0123456789-+,") < strlen(text) && strncmp(text, "0x", 2) != 0)
        faults_add(c->faults, node->mark,
                   "'%.100s' is no port: names of ports are not known here; say its number", text);
    else
        faults_add(c->faults, node->mark,
                   "'%.100s' is no port; that is a number from 1 to 65535, or 0 for any", text);
}

static void read_port(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    struct port *port = into;

    (void)key;
    port->first = number(node->text, 65535);
    if (port->first == NOT_SAID)
        tell_port(c, node);
}

static void read_end_port(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    struct port *port = into;

    (void)key;
    port->last = number(node->text, 65535);
    if (port->last == NOT_SAID || port->last == 0)
        faults_add(c->faults, node->mark,
                   "'%.100s' is no endPort; that is a number from 1 to 65535", node->text);
}

static void read_protocol(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    static const char *const words[] = {"TCP", "UDP", "ANY", NULL};
    static const unsigned protocols[] = {POLICY_TCP, POLICY_UDP, POLICY_TCP | POLICY_UDP};
    static const char *const others[] = {"SCTP", "ICMP", "ICMPv6", "VRRP", "IGMP"};
    struct port *port = into;

    for (size_t i = 0; words[i]; i++)
        if (strcmp(node->text, words[i]) == 0) {
            port->protocols = protocols[i];
            return;
        }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (strcmp(node->text, others[i]) == 0) {
            faults_add(c->faults, node->mark,
                       "the protocol %s is not supported: only TCP and UDP are judged by port, and "
                       "raw and SCTP sockets are refused where a policy enforces egress",
                       node->text);
            return;
        }
    compile_unknown(c, node->mark, key->name, node->text, words);
}

static const struct key port_keys[] = {
    {.name = "port", .kind = NODE_TEXT, .read = read_port, .must = true},
    {.name = "endPort", .kind = NODE_TEXT, .read = read_end_port},
    {.name = "protocol", .kind = NODE_TEXT, .read = read_protocol},
};
static const struct shape port_shape = {"an item of ports", port_keys, ARRAY_SIZE(port_keys)};

static void read_ports(struct compile *c, const struct node *node, size_t i, const struct key *key,
                       void *into)
{
    struct policy_to_ports *to = into;
    struct port port = {NOT_SAID, NOT_SAID, POLICY_TCP | POLICY_UDP};
    const struct node *end = compile_find(node, "endPort");
    struct policy_port *made = compile_grow(c, &to->ports, &to->ports_len, sizeof(*made));

    (void)i;
    (void)key;
    compile_map(c, node, &port_shape, &port);
    if (end && port.first == 0)
        faults_add(c->faults, end->key_mark, "port 0 is every port, so there is no endPort");
    else if (end && port.last > 0 && port.last < port.first)
        faults_add(c->faults, end->mark, "the range ends at %ld, before it begins at %ld",
                   port.last, port.first);
    if (!made)
        return;
    made->protocols = (uint8_t)port.protocols;
    made->first = (uint16_t)(port.first > 0 ? port.first : 0);
    made->last = (uint16_t)(port.first <= 0 ? 65535 : port.last > 0 ? port.last : port.first);
}

static void read_server_name(struct compile *c, const struct node *node, size_t i,
                             const struct key *key, void *into)
{
    struct policy_to_ports *to = into;
    struct policy_name name = {0}, *made;

    (void)i;
    (void)key;
    if (!compile_name(c, node, true, &name))
        return;
    made = compile_grow(c, &to->server_names, &to->server_names_len, sizeof(*made));
    if (made)
        *made = name;
    else
        free(name.text);
}

/* ---- rules ---- */

#define ONLY_HTTP_AND_DNS "only http and dns are read; leave the rules out, or judge by port"
static const struct key rules_keys[] = {
    {.name = "http",
     .kind = NODE_LIST,
     .item = compile_http,
     .items = NODE_MAP,
     .empty = "leave it out, or say http: [{}], to allow every request"},
    {.name = "dns",
     .kind = NODE_LIST,
     .item = compile_dns,
     .items = NODE_MAP,
     .empty = "leave it out to allow every question"},
    {.name = "kafka", .why = ONLY_HTTP_AND_DNS},
    {.name = "l7proto", .why = ONLY_HTTP_AND_DNS},
    {.name = "l7", .why = ONLY_HTTP_AND_DNS},
};
static const struct shape rules_shape = {"rules", rules_keys, ARRAY_SIZE(rules_keys)};

static void read_rules(struct compile *c, const struct node *node, const struct key *key,
                       void *into)
{
    size_t before = compile_enter(c, "%s", key->name);
    const struct node *dns = compile_find(node, "dns");

    compile_map(c, node, &rules_shape, into);
    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark, "rules says nothing; leave it out, or say http or dns");
    if (dns && compile_find(node, "http"))
        faults_add(c->faults, dns->key_mark,
                   "http and dns are never spoken on one port; make two items of toPorts of them");
    compile_leave(c, before);
}

/* ---- the entry ---- */

#define BY_ITSELF                                                                                  \
    "certificates are made on the spot, and upstream's is verified, for every connection; say "    \
    "what "                                                                                        \
    "TLS must be under tls, the roots as tls.trustedCA"
static const struct key to_ports_keys[] = {
    {.name = "ports",
     .kind = NODE_LIST,
     .item = read_ports,
     .items = NODE_MAP,
     .empty = "leave it out for every port"},
    {.name = "serverNames",
     .kind = NODE_LIST,
     .item = read_server_name,
     .items = NODE_TEXT,
     .empty = "leave it out for every name"},
    {.name = "tls", .kind = NODE_MAP, .read = compile_tls, .ours = true},
    {.name = "rules", .kind = NODE_MAP, .read = read_rules},
    {.name = "terminatingTLS", .why = BY_ITSELF},
    {.name = "originatingTLS", .why = BY_ITSELF},
    {.name = "listener", .why = "traffic goes through Sallyport's own proxy and no other"},
};
static const struct shape to_ports_shape = {"an item of toPorts", to_ports_keys,
                                            ARRAY_SIZE(to_ports_keys)};

static bool is_udp_alone(const struct policy_to_ports *to)
{
    unsigned protocols = 0;

    for (size_t i = 0; i < to->ports_len; i++)
        protocols |= to->ports[i].protocols;
    return protocols == POLICY_UDP;
}

static bool is_dns(const struct policy_port *port)
{
    return port->first == 53 && port->last == 53;
}

static const struct node *first_of(const struct node *list)
{
    return list && list->kind == NODE_LIST ? list->first : NULL;
}

/* What is of TLS and HTTP, where neither is; but a ClientHello may be, in QUIC or DTLS. */
static void check_inside(struct compile *c, const struct node *node,
                         const struct policy_to_ports *to)
{
    static const struct {
        const char *name;
        bool datagrams;
    } inside[] = {{"serverNames", true}, {"http", false}, {"tls", false}};
    const struct node *rules = compile_find(node, "rules");
    const struct node *port = first_of(compile_find(node, "ports"));
    const char *demand = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(inside); i++) {
        const struct node *said = compile_find(node, inside[i].name);

        said = said || !rules ? said : compile_find(rules, inside[i].name);
        if (said && !inside[i].datagrams && is_udp_alone(to))
            faults_add(c->faults, said->key_mark,
                       "%s cannot be judged on UDP, where no TLS of ours is; say protocol: TCP",
                       inside[i].name);
        else if (said && !demand)
            demand = inside[i].name;
    }
    for (size_t i = 0; demand && port && i < to->ports_len; i++, port = port->next)
        if (is_dns(&to->ports[i]))
            faults_add(c->faults, port->mark,
                       "%s is said here, and questions of the DNS are asked without, so that none "
                       "is ever allowed; make an item of toPorts of its own for port 53",
                       demand);
}

/* What is said of a port that cannot be so there. */
static void check(struct compile *c, const struct node *node, const struct policy_to_ports *to)
{
    const struct node *rules = compile_find(node, "rules");
    const struct node *port = first_of(compile_find(node, "ports"));
    const struct node *dns = rules ? compile_find(rules, "dns") : NULL;
    const struct node *names = compile_find(node, "serverNames");

    if (!dns || (!names && !compile_find(rules, "http"))) /* else more is wrong, and told */
        check_inside(c, node, to);
    for (size_t i = 0; dns && port && i < to->ports_len; i++, port = port->next)
        if (!is_dns(&to->ports[i]))
            faults_add(c->faults, port->mark,
                       "dns rules are for port 53 alone, where the DNS is spoken; make an item of "
                       "toPorts of its own for other ports");
    if (dns && names)
        faults_add(c->faults, names->key_mark,
                   "serverNames are said in TLS, and questions of the DNS are asked without; make "
                   "two items of toPorts of them");
}

void compile_to_ports(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into)
{
    struct policy_egress *egress = into;
    struct policy_to_ports *made =
        compile_grow(c, &egress->to_ports, &egress->to_ports_len, sizeof(*made));
    size_t before = compile_enter(c, "%s[%zu]", key->name, i);

    if (made) {
        compile_place(c, &made->place, node->mark);
        compile_map(c, node, &to_ports_shape, made);
        check(c, node, made);
    }
    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark,
                   "an item of toPorts says nothing; leave toPorts out for every port");
    compile_leave(c, before);
}
