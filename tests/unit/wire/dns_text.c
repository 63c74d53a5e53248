/* dns_text: types and rcodes as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/wire/dns.h"

static void writes_types(void **state)
{
    static const struct {
        uint16_t type;
        const char *want;
    } cases[] = {
        {DNS_A, "A"},         {DNS_NS, "NS"},       {DNS_CNAME, "CNAME"}, {DNS_SOA, "SOA"},
        {DNS_PTR, "PTR"},     {DNS_MX, "MX"},       {DNS_TXT, "TXT"},     {DNS_AAAA, "AAAA"},
        {DNS_SRV, "SRV"},     {DNS_OPT, "OPT"},     {DNS_SVCB, "SVCB"},   {DNS_HTTPS, "HTTPS"},
        {DNS_ANY, "ANY"},     {257, "CAA"},         {0, "TYPE0"},         {51, "NSEC3PARAM"},
        {65400, "TYPE65400"}, {65535, "TYPE65535"},
    };
    char out[DNS_TYPE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_ptr_equal(dns_type_text(cases[i].type, out), out);
        assert_string_equal(out, cases[i].want);
    }
}

static void writes_rcodes(void **state)
{
    static const struct {
        uint16_t rcode;
        const char *want;
    } cases[] = {
        {DNS_NOERROR, "NOERROR"},
        {DNS_FORMERR, "FORMERR"},
        {DNS_SERVFAIL, "SERVFAIL"},
        {DNS_NXDOMAIN, "NXDOMAIN"},
        {DNS_NOTIMP, "NOTIMP"},
        {DNS_REFUSED, "REFUSED"},
        {10, "NOTZONE"},
        {11, "RCODE11"},
        {23, "RCODE23"},
        {4095, "RCODE4095"},
        {65535, "RCODE65535"},
    };
    char out[DNS_TYPE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_ptr_equal(dns_rcode_text(cases[i].rcode, out), out);
        assert_string_equal(out, cases[i].want);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_types),
        cmocka_unit_test(writes_rcodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
