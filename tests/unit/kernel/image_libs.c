/* image_libs: which libraries for TLS are in /proc/PID/maps. */
#include "proxy/kernel/image_libs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"

#define LINE(path) "7f0a-7f0b r-xp 00000000 fe:00 4711                           " path "\n"

static const struct {
    const char *name, *maps;
    bool openssl;
    const char *own_bio; /* a piece of what is said of it */
} cases[] = {
    {"nothing", "", false, NULL},
    {"no library", "7f0a-7f0b rw-p 00000000 00:00 0 \n" LINE("[heap]"), false, NULL},
    {"OpenSSL", LINE("/usr/lib/x86_64-linux-gnu/libssl.so.3"), true, NULL},
    {"... an older one", LINE("/usr/lib/libssl.so.1.1"), true, NULL},
    {"... without a line's end", "7f0a-7f0b r-xp 0 fe:00 1 /lib/libssl.so.3", true, NULL},
    {"libcurl", LINE("/lib/libcurl.so.4.8.0") LINE("/lib/libssl.so.3"), true, "libcurl has"},
    {"libcurl by GnuTLS", LINE("/lib/libcurl-gnutls.so.4") LINE("/lib/libgnutls.so.30"), false,
     NULL},
    {"Apache", LINE("/usr/lib/apache2/modules/mod_ssl.so") LINE("/lib/libssl.so.3"), true,
     "mod_ssl has"},
    {"a directory of that name", LINE("/lib/libssl.so.3/libc.so.6"), false, NULL},
    {"another library", LINE("/lib/notlibssl.so.3"), false, NULL},
};

static void finds_the_libraries(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct program_facts facts = {0};

        print_message("  %s\n", cases[i].name);
        image_libs_read(span_of_text(cases[i].maps), &facts);
        assert_int_equal(facts.openssl, cases[i].openssl ? PROGRAM_YES : PROGRAM_UNKNOWN);
        assert_int_equal(facts.own_bio != NULL, cases[i].own_bio != NULL);
        if (facts.own_bio)
            assert_non_null(strstr(facts.own_bio, cases[i].own_bio));
    }
}

static void looks_at_a_process(void **state)
{
    struct program_facts facts = {0};

    (void)state;
    image_libs_look((uint32_t)getpid(), &facts);
    assert_int_not_equal(facts.openssl, PROGRAM_UNKNOWN);
    facts = (struct program_facts){0};
    image_libs_look(UINT32_MAX, &facts);
    assert_int_equal(facts.openssl, PROGRAM_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_libraries),
        cmocka_unit_test(looks_at_a_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
