/* dns_fuzz: any bytes. What is accepted is told in printable names; what is stripped still says the
 * same and hides nothing more; what is refused is refused to its asker. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/wire/dns.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t stripped[DNS_MESSAGE_MAX], refused[DNS_MESSAGE_MAX];

static void check_name(const char *name)
{
    size_t len = strnlen(name, DNS_NAME_TEXT_MAX);

    CHECK(len && len < DNS_NAME_TEXT_MAX && name[len - 1] == '.');
    for (size_t i = 0; i < len; i++)
        CHECK(name[i] > ' ' && name[i] < 0x7f && !(name[i] >= 'A' && name[i] <= 'Z'));
}

static void check_found(const struct dns_found *found)
{
    CHECK(found->addresses_len <= DNS_ADDRESSES_MAX && found->cnames_len <= DNS_CNAMES_MAX);
    for (size_t i = 0; i < found->cnames_len; i++)
        check_name(found->cnames[i]);
    CHECK(found->ttl <= INT32_MAX);
    CHECK(found->addresses_len || found->cnames_len || !found->ttl);
}

/* The copy says the same; or it is what becomes of a message whose names lean on what goes. */
static void check_stripped(const struct dns *dns, const struct dns_found *found)
{
    static struct dns_found again;
    unsigned what, none;
    size_t len = dns_strip(dns, stripped, &what), failure;
    struct dns copy;
    const char *why;

    CHECK(len <= dns->message.len && !len == !what);
    if (!len)
        return;
    CHECK(dns_parse(span_of(stripped, len), &copy, &why) == 0);
    CHECK(strcmp(copy.name, dns->name) == 0 && copy.id == dns->id && copy.type == dns->type);
    CHECK(dns_strip(&copy, refused, &none) == 0 && !none);
    failure = dns_refuse(dns, DNS_SERVFAIL, refused, dns->message.len);
    CHECK(failure);
    if (span_equal(copy.message, span_of(refused, failure)))
        return;
    dns_find(&copy, &again);
    CHECK(found->addresses_len == again.addresses_len && found->cnames_len == again.cnames_len &&
          found->ttl == again.ttl);
    CHECK(memcmp(found->addresses, again.addresses,
                 again.addresses_len * sizeof(again.addresses[0])) == 0);
    CHECK(copy.rcode == dns->rcode && copy.has_opt == dns->has_opt);
}

static void check_refused(const struct dns *dns)
{
    size_t len = dns_refuse(dns, DNS_REFUSED, refused, sizeof(refused));
    struct dns answer;
    const char *why;

    if (!len) {
        CHECK(dns->message.len > sizeof(refused) - 11);
        return;
    }
    CHECK(dns_parse(span_of(refused, len), &answer, &why) == 0);
    CHECK(answer.rcode == DNS_REFUSED && answer.has_opt == dns->has_opt && !answer.truncated);
    CHECK(dns_answers(dns, &answer) == !dns->response);
    len = dns_prohibit(dns, "shop/cart", refused, sizeof(refused));
    CHECK(dns_parse(span_of(refused, len), &answer, &why) == 0);
    CHECK(answer.rcode == DNS_REFUSED && answer.has_opt == dns->has_opt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dns_found found;
    struct dns dns;
    const char *why = NULL;

    if (dns_parse(span_of(data, size), &dns, &why) < 0) {
        CHECK(why && *why);
        return 0;
    }
    CHECK(!why && size <= DNS_MESSAGE_MAX);
    if (dns.questions)
        check_name(dns.name);
    else
        CHECK(!*dns.name);
    dns_find(&dns, &found);
    check_found(&found);
    check_stripped(&dns, &found);
    check_refused(&dns);
    return 0;
}
