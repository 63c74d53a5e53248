/* dns_name: names as text, and as long as they may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/dns_build.h"

static struct build build;

static const struct {
    struct span wire;
    const char *text;
} names[] = {
    {BYTES("\0"), "."},
    {BYTES("\4ebpf\2io\0"), "ebpf.io."},
    {BYTES("\4EbPf\2IO\0"), "ebpf.io."},
    {BYTES("\5_8443\6_https\1a\0"), "_8443._https.a."},
    {BYTES("\3a.b\1c\0"), "a\\.b.c."},
    {BYTES("\3a\\b\0"), "a\\\\b."},
    {BYTES("\3a b\0"), "a\\032b."},
    {BYTES("\7\x1b[31m\0\x7f\0"), "\\027[31m\\000\\127."},
    {BYTES("\3\xc3\xa9\xff\0"), "\\195\\169\\255."},
    {BYTES("\4\"@$;\0"), "\"@$;."},
    {BYTES("\1@\0"), "@."},
    {BYTES("\1[\0"), "[."},
};

static void writes_names_as_zone_files_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct dns dns;
        const char *why;

        begin(&build, QUERY, "", DNS_A);
        build.len = 12;
        put(&build, names[i].wire.data, names[i].wire.len);
        put_uint(&build, 4, 0x00010001);
        print_message("  %s\n", names[i].text);
        assert_int_equal(dns_parse(built(&build), &dns, &why), 0);
        assert_string_equal(dns.name, names[i].text);
    }
}

static void the_longest_text_fits(void **state)
{
    struct dns dns;
    const char *why;

    (void)state;
    begin(&build, QUERY, "", DNS_A);
    build.len = 12;
    for (unsigned left = 254; left;) {
        unsigned len = left > 64 ? 63 : left - 1;

        put_uint(&build, 1, len);
        memset(build.data + build.len, 0xff, len);
        build.len += len;
        left -= 1 + len;
    }
    put_uint(&build, 1, 0);
    put_uint(&build, 4, 0x00010001);
    assert_int_equal(dns_parse(built(&build), &dns, &why), 0);
    assert_int_equal(strlen(dns.name), 250 * 4 + 4);
}

static void pointers_through_pointers_end(void **state)
{
    struct dns dns;
    const char *why = "";
    unsigned last;

    (void)state;
    for (unsigned pointers = 31; pointers <= 33; pointers++) {
        char owner[16];

        begin(&build, ANSWER, "ebpf.io.", DNS_A);
        record(&build, 1, "", 10 /* NULL */, 60);
        last = 12;
        for (unsigned i = 1; i < pointers; i++) {
            put_uint(&build, 2, 0xc000 | last);
            last = (unsigned)build.len - 2;
        }
        record_end(&build);
        snprintf(owner, sizeof(owner), "@%u", last);
        record_of(&build, owner, DNS_A, 60, BYTES("\xcb\0\x71\x0a"));
        assert_int_equal(dns_parse(built(&build), &dns, &why), pointers <= 32 ? 0 : -EBADMSG);
    }
    assert_string_equal(why, "a name has too many pointers");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_names_as_zone_files_do),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(pointers_through_pointers_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
