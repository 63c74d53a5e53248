/* The spec of a TrafficPolicy, key by key. */
#include "policy/compile_own.h"

#include <string.h>

#define WORDS(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}
WORDS(modes, [POLICY_ENFORCE] = "enforce", [POLICY_MONITOR] = "monitor");
WORDS(routes, [POLICY_ROUTE_AUTO] = "auto", [POLICY_ROUTE_PROXY] = "proxy",
      [POLICY_ROUTE_KERNEL] = "kernel", [POLICY_ROUTE_PASSTHROUGH] = "passthrough");
WORDS(ktls, [POLICY_KTLS_LEAVE] = "leave", [POLICY_KTLS_PREFER] = "prefer");
WORDS(unseen, [POLICY_UNSEEN_DEFAULT] = "", [POLICY_UNSEEN_ALERT] = "alert",
      [POLICY_UNSEEN_DROP] = "drop", [POLICY_UNSEEN_SIGKILL] = "sigkill",
      [POLICY_UNSEEN_FREEZE] = "freeze", [POLICY_UNSEEN_STEER] = "steer");
WORDS(learn, [POLICY_LEARN_OFF] = "off", [POLICY_LEARN_PASSTHROUGH] = "passthrough");
WORDS(agent_down, [POLICY_DOWN_DEFAULT] = "", [POLICY_DOWN_CLOSED] = "closed",
      [POLICY_DOWN_OPEN] = "open");
WORDS(actions, [POLICY_REJECT] = "reject", [POLICY_RESET] = "reset", [POLICY_SIGKILL] = "sigkill",
      [POLICY_FREEZE] = "freeze");
WORDS(existing, [POLICY_EXISTING_REPORT] = "report", [POLICY_EXISTING_LEAVE] = "leave",
      [POLICY_EXISTING_RESET] = "reset");
#define WHOLE(words, max) _Static_assert(ARRAY_SIZE(words) == (max) + 1, "a word for each")
WHOLE(modes, POLICY_MODE_MAX);
WHOLE(routes, POLICY_ROUTE_MAX);
WHOLE(ktls, POLICY_KTLS_MAX);
WHOLE(unseen, POLICY_UNSEEN_MAX);
WHOLE(learn, POLICY_LEARN_MAX);
WHOLE(agent_down, POLICY_DOWN_MAX);
WHOLE(actions, POLICY_ACTION_MAX);
WHOLE(existing, POLICY_EXISTING_MAX);

static void read_selector(struct compile *c, const struct node *node, const struct key *key,
                          void *into)
{
    (void)key;
    compile_map(c, node, &compile_selector, into);
}

#define WORD(key, words_, field_)                                                                  \
    {                                                                                              \
        .name = (key), .kind = NODE_TEXT, .read = compile_word, .words = (words_),                 \
        .field = offsetof(struct policy, field_)                                                   \
    }
#define INGRESS                                                                                    \
    "what comes in is not Sallyport's to judge; remove it, or keep it in a policy of its own for " \
    "Cilium"
static const struct key spec_keys[] = {
    {.name = "podSelector", .kind = NODE_MAP, .read = read_selector},
    {.name = "matchBinaries",
     .kind = NODE_LIST,
     .item = compile_binaries,
     .items = NODE_MAP,
     .empty = "leave it out for every binary"},
    WORD("mode", modes, mode),
    WORD("route", routes, route),
    WORD("ktls", ktls, ktls),
    WORD("onNoVisibility", unseen, on_no_visibility),
    WORD("learn", learn, learn),
    WORD("onAgentDown", agent_down, on_agent_down),
    WORD("onDeny", actions, on_deny),
    WORD("existing", existing, existing),
    {.name = "egress", .kind = NODE_LIST, .item = compile_egress, .items = NODE_MAP},
    {.name = "egressDeny",
     .kind = NODE_LIST,
     .item = compile_egress,
     .items = NODE_MAP,
     .empty = "leave it out; to deny all, say egress: []"},
    {.name = "inspect", .kind = NODE_MAP, .read = compile_inspect},
    {.name = "endpointSelector", .why = "a TrafficPolicy says podSelector"},
    {.name = "nodeSelector", .why = "policies are for pods; say podSelector"},
    {.name = "enableDefaultDeny",
     .why = "with egress, what it does not allow is denied; without, nothing is"},
    {.name = "ingress", .why = INGRESS},
    {.name = "ingressDeny", .why = INGRESS},
};
static const struct shape spec_shape = {"the spec of a TrafficPolicy", spec_keys,
                                        ARRAY_SIZE(spec_keys)};

void compile_spec(struct compile *c, const struct node *node)
{
    const struct node *egress = compile_find(node, "egress");
    size_t to_whom =
        (compile_find(node, "podSelector") != NULL) + (compile_find(node, "matchBinaries") != NULL);

    compile_map(c, node, &spec_shape, c->policy);
    c->policy->has_egress = egress != NULL;
    if (node->len == to_whom && !c->cut)
        faults_add(c->faults, node->mark,
                   "the spec says nothing of what may pass; say egress, egressDeny or inspect");
    compile_check(c, node);
}
