/* err: a story is set, completed by the system's words, and wrapped by each layer that knows more.
 */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void set_replaces_the_story(void **state)
{
    struct err err = {.code = -EIO, .text = "an older story"};

    (void)state;
    assert_int_equal(err_set(&err, -ENOMEM, "leaf store of %d entries", 12), -ENOMEM);
    assert_int_equal(err.code, -ENOMEM);
    assert_string_equal(err.text, "leaf store of 12 entries");
}

static void sys_adds_the_systems_words(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_sys(&err, -ENOENT, "cannot open %s", "ca.pem"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "cannot open ca.pem: No such file or directory");
}

static void wrap_puts_what_it_knows_in_front(void **state)
{
    struct err err = {0};

    (void)state;
    err_set(&err, -EACCES, "tls.key may be read by others");
    assert_int_equal(err_wrap(&err, "--ca %s", "/etc/ca"), -EACCES);
    assert_int_equal(err_wrap(&err, "exec"), -EACCES);
    assert_string_equal(err.text, "exec: --ca /etc/ca: tls.key may be read by others");
}

static void nobody_need_listen(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, -EINVAL, "unheard"), -EINVAL);
    assert_int_equal(err_sys(NULL, -EPERM, "unheard"), -EPERM);
    assert_int_equal(err_wrap(NULL, "unheard"), 0);
}

/* Strangers' names reach these texts: too long a one is cut, never written past the end. */
static void long_stories_are_cut(void **state)
{
    char stranger[2000];
    struct err err;

    (void)state;
    memset(stranger, 'x', sizeof(stranger) - 1);
    stranger[sizeof(stranger) - 1] = 0;

    err_set(&err, -EINVAL, "%s", stranger);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    err_sys(&err, -EINVAL, "%s", stranger);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    for (int layer = 0; layer < 3; layer++) {
        assert_int_equal(err_wrap(&err, "layer %d %s", layer, stranger), -EINVAL);
        assert_in_range(strlen(err.text), 1, sizeof(err.text) - 1);
        assert_memory_equal(err.text, "layer", 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_replaces_the_story),
        cmocka_unit_test(sys_adds_the_systems_words),
        cmocka_unit_test(wrap_puts_what_it_knows_in_front),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(long_stories_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
