/* compile: documents -> policies, or everything that is wrong with them.
 *
 * Pure but for the files a policy names (trustedCA, clientCertificate), which are not read here.
 * Understands TrafficPolicy (README "Policies"), and the egress part of Cilium's
 * CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as they are.
 * Called by:  proxy/enforce/policy_files.c. */
#pragma once

#include "policy/policy.h"

struct policy_list { /* begins zeroed; owns references */
    struct policy **list;
    size_t len, room;
};
void policy_list_fini(struct policy_list *list);

/* Adds the policies of one file's bytes to list; a name that list has already is a fault, which
 * says where the other one stands. -EINVAL: there are faults, and list is as it was; -ENOMEM. */
int policy_compile(struct policy_list *list, struct span bytes, const char *file,
                   struct faults *faults);
