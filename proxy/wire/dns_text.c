/* dns_text: types and rcodes as people write them. */
#include "proxy/wire/dns.h"

#include <stdio.h>

#include "base/cleanup.h"

/* The assigned types with data, and those that only stand in questions. */
static const struct {
    uint16_t type;
    const char *text;
} types[] = {
    {1, "A"},         {2, "NS"},          {5, "CNAME"},       {6, "SOA"},     {11, "WKS"},
    {12, "PTR"},      {13, "HINFO"},      {14, "MINFO"},      {15, "MX"},     {16, "TXT"},
    {17, "RP"},       {18, "AFSDB"},      {24, "SIG"},        {25, "KEY"},    {28, "AAAA"},
    {29, "LOC"},      {33, "SRV"},        {35, "NAPTR"},      {36, "KX"},     {37, "CERT"},
    {39, "DNAME"},    {41, "OPT"},        {42, "APL"},        {43, "DS"},     {44, "SSHFP"},
    {45, "IPSECKEY"}, {46, "RRSIG"},      {47, "NSEC"},       {48, "DNSKEY"}, {49, "DHCID"},
    {50, "NSEC3"},    {51, "NSEC3PARAM"}, {52, "TLSA"},       {53, "SMIMEA"}, {55, "HIP"},
    {59, "CDS"},      {60, "CDNSKEY"},    {61, "OPENPGPKEY"}, {62, "CSYNC"},  {63, "ZONEMD"},
    {64, "SVCB"},     {65, "HTTPS"},      {99, "SPF"},        {108, "EUI48"}, {109, "EUI64"},
    {249, "TKEY"},    {250, "TSIG"},      {251, "IXFR"},      {252, "AXFR"},  {255, "ANY"},
    {256, "URI"},     {257, "CAA"},
};

static const char *const rcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                     "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
                                     "NXRRSET", "NOTAUTH", "NOTZONE"};

const char *dns_type_text(uint16_t type, char out[DNS_TYPE_TEXT_MAX])
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].type == type) {
            snprintf(out, DNS_TYPE_TEXT_MAX, "%s", types[i].text);
            return out;
        }
    snprintf(out, DNS_TYPE_TEXT_MAX, "TYPE%u", type);
    return out;
}

const char *dns_rcode_text(uint16_t rcode, char out[DNS_TYPE_TEXT_MAX])
{
    if (rcode < ARRAY_SIZE(rcodes))
        snprintf(out, DNS_TYPE_TEXT_MAX, "%s", rcodes[rcode]);
    else
        snprintf(out, DNS_TYPE_TEXT_MAX, "RCODE%u", rcode);
    return out;
}
