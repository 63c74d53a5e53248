/* The policies of Cilium as they are: their egress. What is not ours to do is a fault that says so,
 * since a rule left out in silence would allow, or deny, what nobody meant. */
#include "policy/compile_own.h"

#include <stdio.h>
#include <string.h>

/* ---- the spec ---- */

struct defaults { /* enableDefaultDeny */
    bool egress, ingress;
};

static void read_selector(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    (void)key;
    compile_map(c, node, &compile_selector, into);
}

static const struct key defaults_keys[] = {
    {.name = "egress",
     .kind = NODE_TEXT,
     .read = compile_truth,
     .field = offsetof(struct defaults, egress)},
    {.name = "ingress",
     .kind = NODE_TEXT,
     .read = compile_truth,
     .field = offsetof(struct defaults, ingress)},
};
static const struct shape defaults_shape = {"enableDefaultDeny", defaults_keys,
                                            ARRAY_SIZE(defaults_keys)};

/* As Cilium has it: rules of either list alone, unless it is said otherwise. */
static void read_defaults(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    struct policy *policy = into;
    struct defaults defaults = {.egress = policy->has_egress};

    (void)key;
    compile_map(c, node, &defaults_shape, &defaults);
    policy->has_egress = defaults.egress;
}

#define INGRESS                                                                                    \
    "what comes in is not Sallyport's to judge; remove it, or keep it in a policy of its own for " \
    "Cilium"
static const struct key spec_keys[] = {
    {.name = "endpointSelector", .kind = NODE_MAP, .read = read_selector, .must = true},
    {.name = "egress",
     .kind = NODE_LIST,
     .item = compile_egress,
     .items = NODE_MAP,
     .empty = "to Cilium that says nothing; '- {}' as its one item denies all"},
    {.name = "egressDeny",
     .kind = NODE_LIST,
     .item = compile_egress,
     .items = NODE_MAP,
     .empty = "to Cilium that says nothing; leave it out"},
    {.name = "enableDefaultDeny", .kind = NODE_MAP, .read = read_defaults},
    {.name = "description", .read = compile_ignore},
    {.name = "labels", .read = compile_ignore},
    {.name = "log", .read = compile_ignore},
    {.name = "nodeSelector",
     .why = "policies are for pods; keep it in a policy of its own for Cilium"},
    {.name = "ingress", .why = INGRESS},
    {.name = "ingressDeny", .why = INGRESS},
};
static const struct shape spec_shape = {"the spec of a Cilium policy", spec_keys,
                                        ARRAY_SIZE(spec_keys)};

void cilium_spec(struct compile *c, const struct node *node)
{
    const struct node *egress = compile_find(node, "egress");
    const struct node *deny = compile_find(node, "egressDeny");

    c->policy->has_egress = egress || deny;
    compile_map(c, node, &spec_shape, c->policy);
    if (!c->cut && !egress && !deny && !compile_find(node, "ingress") &&
        !compile_find(node, "ingressDeny"))
        faults_add(c->faults, node->mark,
                   "the spec says nothing of egress, so there is nothing to "
                   "judge");
    compile_check(c, node);
}

/* ---- the document ---- */

static const struct key root_keys[] = {
    {.name = "apiVersion", .read = compile_ignore},
    {.name = "kind", .read = compile_ignore},
    {.name = "metadata", .kind = NODE_MAP, .read = compile_metadata, .must = true},
    {.name = "spec", .kind = NODE_MAP, .read = compile_keep},
    {.name = "specs", .kind = NODE_LIST, .read = compile_keep},
    {.name = "status", .read = compile_ignore},
};
static const struct shape root_shape = {"a Cilium policy", root_keys, ARRAY_SIZE(root_keys)};

static void compile_specs(struct compile *c, const struct node *specs, const struct title *title,
                          struct policy_list *made)
{
    size_t i = 0;

    if (compile_is_empty(c, specs))
        faults_add(c->faults, specs->mark, "specs is empty: say what may pass");
    for (const struct node *at = specs->first; at; at = at->next, i++) {
        size_t before = compile_enter(c, "specs[%zu]", i);
        char suffix[32];

        snprintf(suffix, sizeof(suffix), "[%zu]", i);
        if (at->kind == NODE_MAP)
            compile_policy(c, title, suffix, at, made);
        else
            faults_add(c->faults, at->mark, "an item of specs is %s, not %s",
                       node_kind_name(NODE_MAP), node_kind_name(at->kind));
        compile_leave(c, before);
    }
}

void cilium_compile(struct compile *c, const struct node *root, struct policy_list *made)
{
    CLEANUP(title_fini) struct title title = {0};
    const struct node *spec = compile_find(root, "spec"), *specs = compile_find(root, "specs");
    const struct node *metadata = compile_find(root, "metadata");
    const struct node *space = metadata ? compile_find(metadata, "namespace") : NULL;

    compile_map(c, root, &root_shape, &title);
    if (space && strcmp(compile_find(root, "kind")->text, "CiliumClusterwideNetworkPolicy") == 0)
        faults_add(c->faults, space->key_mark,
                   "a CiliumClusterwideNetworkPolicy has no namespace; select by "
                   "k8s:" POLICY_NAMESPACE_LABEL ", or make it a CiliumNetworkPolicy");
    if (!spec && !specs && !c->cut)
        faults_add(c->faults, root->mark, "a Cilium policy lacks spec");
    if (spec && spec->kind == NODE_MAP)
        compile_policy(c, &title, "", spec, made);
    if (specs && specs->kind == NODE_LIST)
        compile_specs(c, specs, &title, made);
}
