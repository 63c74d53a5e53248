/* One rule of egress or egressDeny: where to, as Cilium spells it. */
#include "policy/compile_own.h"

#include <string.h>

static void add_name(struct compile *c, const struct node *node, bool pattern, void *into)
{
    struct policy_egress *egress = into;
    struct policy_name name = {0}, *made;

    if (!compile_name(c, node, pattern, &name))
        return;
    made = compile_grow(c, &egress->names, &egress->names_len, sizeof(*made));
    if (made)
        *made = name;
    else
        free(name.text);
}

static void read_match_name(struct compile *c, const struct node *node, const struct key *key,
                            void *into)
{
    (void)key;
    add_name(c, node, false, into);
}

static void read_match_pattern(struct compile *c, const struct node *node, const struct key *key,
                               void *into)
{
    (void)key;
    add_name(c, node, true, into);
}

static const struct key fqdn_keys[] = {
    {.name = "matchName", .kind = NODE_TEXT, .read = read_match_name},
    {.name = "matchPattern", .kind = NODE_TEXT, .read = read_match_pattern},
};
static const struct shape fqdn_shape = {"an item of toFQDNs", fqdn_keys, ARRAY_SIZE(fqdn_keys)};

static void read_fqdn(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into)
{
    (void)i;
    (void)key;
    compile_map(c, node, &fqdn_shape, into);
    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark,
                   "an item of toFQDNs says nothing; say matchName or "
                   "matchPattern");
    if (compile_find(node, "matchName") && compile_find(node, "matchPattern"))
        faults_add(c->faults, compile_find(node, "matchPattern")->key_mark,
                   "matchName and matchPattern are two items; begin the second with '- '");
}

/* ---- networks ---- */

static struct policy_cidr *add_cidr(struct compile *c, struct policy_egress *egress)
{
    return compile_grow(c, &egress->cidrs, &egress->cidrs_len, sizeof(struct policy_cidr));
}

static void read_cidr(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into)
{
    struct match_cidr cidr;
    struct policy_cidr *made = compile_cidr(c, node, &cidr) ? add_cidr(c, into) : NULL;

    (void)i;
    (void)key;
    if (made)
        made->cidr = cidr;
}

static void read_set_cidr(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    struct policy_cidr *made = into;

    (void)key;
    compile_cidr(c, node, &made->cidr);
}

static void read_except(struct compile *c, const struct node *node, size_t i, const struct key *key,
                        void *into)
{
    struct policy_cidr *made = into;
    struct match_cidr cidr, *more;

    (void)i;
    (void)key;
    if (!compile_cidr(c, node, &cidr))
        return;
    more = compile_grow(c, &made->except, &made->except_len, sizeof(*more));
    if (more)
        *more = cidr;
}

#define OTHERS_GROUP "there are no groups of networks here; write the networks out as cidr"
static const struct key set_keys[] = {
    {.name = "cidr", .kind = NODE_TEXT, .read = read_set_cidr, .must = true},
    {.name = "except",
     .kind = NODE_LIST,
     .item = read_except,
     .items = NODE_TEXT,
     .empty = "leave it out"},
    {.name = "cidrGroupRef", .why = OTHERS_GROUP},
    {.name = "cidrGroupSelector", .why = OTHERS_GROUP},
};
static const struct shape set_shape = {"an item of toCIDRSet", set_keys, ARRAY_SIZE(set_keys)};

static bool covers(const struct match_cidr *whole, const struct match_cidr *part)
{
    return part->bits >= whole->bits && match_cidr(whole, &part->network);
}

static void read_cidr_set(struct compile *c, const struct node *node, size_t i,
                          const struct key *key, void *into)
{
    struct policy_cidr *made = add_cidr(c, into);
    const struct node *except = compile_find(node, "except");
    const struct node *cidr = compile_find_text(node, "cidr");
    size_t before = faults_count(c->faults), at = 0;

    (void)i;
    (void)key;
    if (!made)
        return;
    compile_map(c, node, &set_shape, made);
    if (!except || !cidr || faults_count(c->faults) > before)
        return;
    for (const struct node *item = except->first; item; item = item->next, at++)
        if (at < made->except_len && !covers(&made->cidr, &made->except[at]))
            faults_add(c->faults, item->mark,
                       "'%.100s' is not in %.100s, so there is nothing to "
                       "except",
                       item->text, cidr->text);
        else if (at < made->except_len && made->cidr.bits == made->except[at].bits)
            faults_add(c->faults, item->mark, "'%.100s' is all of its network: nothing is left",
                       item->text);
}

#define CLUSTER                                                                                    \
    "which addresses those are is the cluster's to know; say their networks under toCIDR, or "     \
    "names under toFQDNs"
static const struct {
    const char *name;
    const char *cidrs[2]; /* NULL: none */
    const char *why;      /* it is known, but not done */
} entities[] = {
    {"all", {"0.0.0.0/0", "::/0"}, NULL},
    {"world", {"0.0.0.0/0", "::/0"}, NULL},
    {"world-ipv4", {"0.0.0.0/0", NULL}, NULL},
    {"world-ipv6", {"::/0", NULL}, NULL},
    {"none", {NULL, NULL}, NULL},
    {"cluster", {NULL, NULL}, CLUSTER},
    {"cluster-mesh", {NULL, NULL}, CLUSTER},
    {"health", {NULL, NULL}, CLUSTER},
    {"host", {NULL, NULL}, CLUSTER},
    {"ingress", {NULL, NULL}, CLUSTER},
    {"init", {NULL, NULL}, CLUSTER},
    {"kube-apiserver", {NULL, NULL}, CLUSTER},
    {"remote-node", {NULL, NULL}, CLUSTER},
    {"unmanaged", {NULL, NULL}, CLUSTER},
};

static void read_entity(struct compile *c, const struct node *node, size_t i, const struct key *key,
                        void *into)
{
    static const char *const known[] = {"all", "world", "world-ipv4", "world-ipv6", "none", NULL};
    size_t at = 0;

    (void)i;
    while (at < ARRAY_SIZE(entities) && strcmp(entities[at].name, node->text) != 0)
        at++;
    if (at == ARRAY_SIZE(entities)) {
        compile_unknown(c, node->mark, key->name, node->text, known);
        return;
    }
    if (entities[at].why) {
        faults_add(c->faults, node->mark, "the entity '%s' is not supported: %s", node->text,
                   entities[at].why);
        return;
    }
    for (size_t j = 0; j < ARRAY_SIZE(entities[at].cidrs) && entities[at].cidrs[j]; j++) {
        struct policy_cidr *made = add_cidr(c, into);

        if (made && !match_cidr_parse(entities[at].cidrs[j], &made->cidr))
            faults_add(c->faults, node->mark, "'%s' is no network", entities[at].cidrs[j]);
    }
}

/* ---- pods ---- */

#define PODS                                                                                       \
    "which pods have which address is not known here, but for the cluster's DNS, which is the "    \
    "pod's own name servers; say a service's name under toFQDNs, or a network under toCIDR"

/* {matchLabels: {k8s-app: kube-dns}}, as nearly every policy of Cilium's with names has it. */
static bool is_cluster_dns(const struct node *selector)
{
    static const char *const keys[] = {"k8s-app", "app.kubernetes.io/name"};
    static const char *const values[] = {"kube-dns", "coredns", "node-local-dns"};
    const struct node *labels = compile_find(selector, "matchLabels");

    if (!labels || labels->kind != NODE_MAP)
        return false;
    for (const struct node *at = labels->first; at; at = at->next)
        for (size_t i = 0; i < ARRAY_SIZE(keys) * ARRAY_SIZE(values); i++) {
            const char *colon = strchr(at->key, ':');

            if (at->kind == NODE_TEXT && strcmp(at->text, values[i / ARRAY_SIZE(keys)]) == 0 &&
                strcmp(colon ? colon + 1 : at->key, keys[i % ARRAY_SIZE(keys)]) == 0)
                return true;
        }
    return false;
}

/* A rule with names lets a pod ask its own name servers. This name nobody has (RFC 6761), so that
 * is all which it does. */
static void read_endpoint(struct compile *c, const struct node *node, size_t i,
                          const struct key *key, void *into)
{
    struct policy_egress *egress = into;
    struct policy_name *made;

    (void)i;
    if (!is_cluster_dns(node)) {
        faults_add(c->faults, node->mark, "%s is not supported: " PODS, key->name);
        return;
    }
    made = compile_grow(c, &egress->names, &egress->names_len, sizeof(*made));
    if (made)
        *made = (struct policy_name){compile_copy(c, "cluster-dns.invalid"), true};
    if (made && !made->text)
        egress->names_len--;
}

/* What else such pods do is not the DNS. */
static void check_endpoints(struct compile *c, const struct node *node,
                            const struct policy_egress *egress)
{
    const struct node *endpoints = compile_find(node, "toEndpoints");
    bool others = !egress->to_ports_len;

    for (size_t i = 0; i < egress->to_ports_len; i++) {
        const struct policy_to_ports *to = &egress->to_ports[i];

        others |= !to->ports_len;
        for (size_t j = 0; j < to->ports_len; j++)
            others |= to->ports[j].first != 53 || to->ports[j].last != 53;
    }
    if (endpoints && egress->names_len && others)
        faults_add(c->faults, endpoints->key_mark,
                   "toEndpoints of the cluster's DNS is supported on port 53 alone; say toPorts");
}

/* ---- the rule ---- */

#define NOWHERE "as it is it allows nowhere; leave it out, or say where"
static const struct key egress_keys[] = {
    {.name = "toFQDNs", .kind = NODE_LIST, .item = read_fqdn, .items = NODE_MAP, .empty = NOWHERE},
    {.name = "toCIDR", .kind = NODE_LIST, .item = read_cidr, .items = NODE_TEXT, .empty = NOWHERE},
    {.name = "toCIDRSet",
     .kind = NODE_LIST,
     .item = read_cidr_set,
     .items = NODE_MAP,
     .empty = NOWHERE},
    {.name = "toEntities",
     .kind = NODE_LIST,
     .item = read_entity,
     .items = NODE_TEXT,
     .empty = NOWHERE},
    {.name = "toPorts",
     .kind = NODE_LIST,
     .item = compile_to_ports,
     .items = NODE_MAP,
     .empty = "leave it out for every port"},
    {.name = "toEndpoints",
     .kind = NODE_LIST,
     .item = read_endpoint,
     .items = NODE_MAP,
     .empty = NOWHERE},
    {.name = "toServices", .why = PODS},
    {.name = "toRequires", .why = PODS},
    {.name = "toGroups",
     .why = "nobody is asked what a group of a cloud's is; say its networks under toCIDR"},
    {.name = "toNodes", .why = "nodes are not known here; say their networks under toCIDR"},
    {.name = "icmps",
     .why = "only TCP and UDP are judged; leave it to a policy of its own for Cilium"},
    {.name = "authentication",
     .why = "who the peer is is judged by its certificate; say toPorts[].tls.trustedCA"},
};
static const struct shape egress_shape = {"a rule of egress", egress_keys, ARRAY_SIZE(egress_keys)};
static const struct shape deny_shape = {"a rule of egressDeny", egress_keys,
                                        ARRAY_SIZE(egress_keys)};

static bool says_where(const struct node *node)
{
    return compile_find(node, "toFQDNs") || compile_find(node, "toCIDR") ||
           compile_find(node, "toCIDRSet") || compile_find(node, "toEntities") ||
           compile_find(node, "toEndpoints");
}

void compile_egress(struct compile *c, const struct node *node, size_t i, const struct key *key,
                    void *into)
{
    bool deny = strcmp(key->name, "egressDeny") == 0;
    struct policy *policy = into;
    struct policy_egress *made =
        deny ? compile_grow(c, &policy->egress_deny, &policy->egress_deny_len, sizeof(*made))
             : compile_grow(c, &policy->egress, &policy->egress_len, sizeof(*made));
    size_t before = compile_enter(c, "%s[%zu]", key->name, i);

    if (made) {
        compile_place(c, &made->place, node->mark);
        compile_map(c, node, deny ? &deny_shape : &egress_shape, made);
        compile_check_rule(c, node, made, deny);
        check_endpoints(c, node, made);
        made->nowhere = (says_where(node) && !made->names_len && !made->cidrs_len) || !node->len;
    }
    /* to Cilium a rule without anything is for nowhere */
    if (compile_is_empty(c, node) && !c->cilium)
        faults_add(c->faults, node->mark,
                   deny ? "an empty rule denies nothing; leave it out, or say toEntities: [all]"
                        : "an empty rule says nothing; say 'egress: []' to deny all, or "
                          "toEntities: [all] to allow all");
    compile_leave(c, before);
}
