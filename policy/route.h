/* route: which route the connections of a program take, as far as policies say.
 *
 * Pure. Called by:  table_lines.c, for the kernel, which knows the program and what its own
 * back-end can do; proxy/flow/verdict.c, proxy/pods/existing_heard.c and proxy/kernel/ for one
 * program; the kernel route's warnings by command/policy_check.c, enforce/sources.c. */
#pragma once

#include "policy/decide.h"

enum policy_way {
    POLICY_WAY_ANY,  /* nobody minds: as the program does it, or the pod was registered */
    POLICY_WAY_SURE, /* in the kernel only if what is denied there cannot be changed after it was
                        looked at, unless the pod is all for the kernel */
    POLICY_WAY_NEEDS_PROXY, /* likewise, but never in the kernel by the program's doing */
    POLICY_WAY_PROXY,
    POLICY_WAY_KERNEL,
};

/* `route: proxy` and `route: passthrough` of any policy win over `route: kernel` of another. Where
 * nobody says either: what only the proxy can enforce (names and certificates of TLS, toFQDNs,
 * bodies, tokens, consistency) goes there, unless the pod is all for the kernel. */
enum policy_way policy_decide_route(const struct policy_scope *scope,
                                    const struct policy_facts *facts);

/* Whether its connections are to be passed on unread: `route: passthrough` of a policy that
 * enforces, or by the settings of its pod (by_setting), where none says otherwise. Whether they may
 * be is another matter. scope may be NULL. */
bool policy_wants_passed(const struct policy_scope *scope, bool by_setting);

/* What the kernel route does not keep of what the policy enforces, sentence by sentence; NULL:
 * there is no i-th. */
const char *policy_kernel_loss(const struct policy *policy, size_t i);
/* The same for a policy that says `route: kernel`; else there is none. */
const char *policy_kernel_warning(const struct policy *policy, size_t i);
/* What is right to say of kTLS, and not done in every case as it says; NULL: it says nothing. */
const char *policy_ktls_note(const struct policy *policy);
