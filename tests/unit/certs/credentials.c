#include "certs/credentials.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_what_they_are_made_of),
        cmocka_unit_test(no_two_have_the_same_generation),
        cmocka_unit_test(live_as_long_as_somebody_holds_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
