#include "certs/err_tls.h"

#include <errno.h>
#include <openssl/err.h>

#include "make.h"

static void tells_the_cause_and_empties_the_queue(void **state)
{
    static const struct {
        const char *name;
        int lib, reason; /* of the oldest entry; 0: the queue is empty */
        const char *want;
    } cases[] = {
        {"nothing waits", 0, 0, "cannot read a.pem"},
        {"OpenSSL's own", ERR_LIB_PEM, PEM_R_BAD_BASE64_DECODE,
         "cannot read a.pem: bad base64 decode"},
        {"the system's", ERR_LIB_SYS, EACCES, "cannot read a.pem: Permission denied"},
        {"without words", ERR_LIB_PEM, 999, "cannot read a.pem"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = {0};

        print_message("  %s\n", cases[i].name);
        if (cases[i].reason) {
            ERR_raise(cases[i].lib, cases[i].reason);
            ERR_raise(ERR_LIB_X509, X509_R_UNSUPPORTED_ALGORITHM); /* who heard of it */
        }
        assert_int_equal(err_tls(&err, -EINVAL, "cannot read %s", "a.pem"), -EINVAL);
        assert_string_equal(err.text, cases[i].want);
        assert_int_equal(err.code, -EINVAL);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void needs_nobody_to_listen(void **state)
{
    (void)state;
    ERR_raise(ERR_LIB_PEM, PEM_R_BAD_BASE64_DECODE);
    assert_int_equal(err_tls(NULL, -EIO, "cannot read %s", "a.pem"), -EIO);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_the_cause_and_empties_the_queue),
        cmocka_unit_test(needs_nobody_to_listen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
