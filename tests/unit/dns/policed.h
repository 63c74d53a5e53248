/* policed: policies in force, for the tests of consent, lookups, flow/query and kernel/. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/compile.h"
#include "proxy/enforce/policies.h"

#define POLICY(name, spec)                                                                         \
    "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: " name "}\nspec:\n" spec

static struct policies *policies;

static inline int policed_begin(struct pod *pod)
{
    int result = policies_new(&policies, NULL);

    return result < 0 ? result : policies_add_pod(policies, pod, NULL);
}

static inline void policed_end(void)
{
    policies_free(&policies);
}

/* NULL: none is in force any more. */
static inline void policed_use(const char *text)
{
    struct policy_list list = {0};
    struct faults faults = {0};
    struct policy_set *set;

    if (text)
        assert_int_equal(policy_compile(&list, span_of_text(text), "p.yaml", &faults), 0);
    set = policy_set_new(list.list, list.len, 0);
    assert_non_null(set);
    assert_int_equal(policies_use(policies, set, NULL), 0);
    policy_set_unref(&set);
    policy_list_fini(&list);
}
