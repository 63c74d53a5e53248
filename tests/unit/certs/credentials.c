#include "certs/credentials.h"

#include "certs/trust.h"
#include "make.h"

static struct credentials *fresh(size_t files)
{
    struct credentials_parts parts = {.roots = X509_STORE_new(), .trust_len = files};
    struct credentials *credentials = NULL;

    for (size_t i = 0; i < files; i++)
        assert_non_null(parts.trust[i] = X509_STORE_new());
    assert_int_equal(authority_new(&parts.authority, "node", NULL), 0);
    assert_int_equal(credentials_new(&credentials, &parts, "node", NULL), 0);
    assert_null(parts.authority);
    assert_null(parts.roots);
    assert_int_equal(parts.trust_len, 0);
    return credentials;
}

static void own_what_they_are_made_of(void **state)
{
    struct credentials *one = fresh(0), *three = fresh(ANCHORS_MAX);

    (void)state;
    assert_ptr_equal(one->anchors.main, one->authority);
    assert_ptr_equal(three->anchors.main, three->authority);
    assert_int_equal(three->anchors.len, ANCHORS_MAX);
    credentials_unref(&one);
    credentials_unref(&three);
    assert_null(one);
}

static void no_two_have_the_same_generation(void **state)
{
    struct credentials *one = fresh(0), *two = fresh(0);

    (void)state;
    assert_true(one->generation < two->generation);
    assert_int_not_equal(one->generation, 0); /* which may stand for none */
    credentials_unref(&one);
    credentials_unref(&two);
}

/* The sanitizers watch that what is used is there, and goes in the end. */
static void live_as_long_as_somebody_holds_them(void **state)
{
    struct credentials *mine = fresh(1), *of_flow = credentials_ref(mine), *none = NULL;

    (void)state;
    credentials_unref(&mine);
    assert_non_null(of_flow->anchors.main->cert);
    assert_int_equal(X509_STORE_up_ref(of_flow->roots), 1);
    X509_STORE_free(of_flow->roots);
    credentials_unref(&of_flow);
    assert_null(credentials_ref(NULL));
    credentials_unref(&none);
}

static void of_a_pod_keep_its_authorities(void **state)
{
    struct credentials *agents = fresh(0), *later = fresh(0), *first = NULL, *second = NULL,
                       *third = NULL;
    struct made root = make_cert(&(struct make){.name = "root"});
    struct pod_trust trust = {.roots = X509_STORE_new(), .len = 2};
    struct anchors_shown shown = {{NULL}};

    (void)state;
    trust.files[0] = X509_STORE_new();
    trust.files[1] = X509_STORE_new();
    later->upstream = X509_STORE_new();
    assert_true(X509_STORE_add_cert(later->upstream, root.cert));
    assert_int_equal(credentials_new_of_pod(&first, agents, &trust, NULL, "a/pod", NULL), 0);
    assert_ptr_equal(first->authority, agents->authority);
    assert_non_null(first->anchors.made[0]);
    assert_non_null(first->anchors.made[2]);
    assert_null(first->anchors.made[3]); /* of all files: the agent's */
    assert_int_equal(credentials_new_of_pod(&second, later, &trust, first, NULL, NULL), 0);
    credentials_unref(&agents);
    credentials_unref(&first);
    assert_int_equal(credentials_new_of_pod(&third, later, &trust, second, NULL, NULL), 0);
    credentials_unref(&second);
    assert_ptr_not_equal(third->authority, later->authority);
    assert_true(third->generation > later->generation);
    assert_true(trust_holds(third->roots, root.cert));
    assert_true(trust_holds(third->anchors.trust[1], root.cert));
    assert_int_equal(anchors_show(&shown, &third->anchors, NULL), 0);
    assert_int_equal(sk_X509_num(shown.roots[0]), 2); /* the agent's, and of it alone */
    assert_int_equal(sk_X509_num(shown.roots[ANCHORS_ANY]), 4);
    assert_ptr_equal(sk_X509_value(shown.roots[0], 0), third->authority->root);
    anchors_shown_fini(&shown);
    pod_trust_fini(&trust);
    credentials_unref(&later);
    credentials_unref(&third);
    made_free(&root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_what_they_are_made_of),
        cmocka_unit_test(no_two_have_the_same_generation),
        cmocka_unit_test(live_as_long_as_somebody_holds_them),
        cmocka_unit_test(of_a_pod_keep_its_authorities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
