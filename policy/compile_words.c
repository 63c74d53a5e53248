#include "policy/compile_words.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* ---- types of the DNS ---- */

const char *const compile_dns_types[] = {
    "A",     "AAAA",   "ANY",   "AXFR",       "CAA",        "CDNSKEY", "CDS", "CNAME", "CSYNC",
    "DNAME", "DNSKEY", "DS",    "HINFO",      "HTTPS",      "IXFR",    "LOC", "MX",    "NAPTR",
    "NS",    "NSEC",   "NSEC3", "NSEC3PARAM", "OPENPGPKEY", "PTR",     "RP",  "RRSIG", "SMIMEA",
    "SOA",   "SPF",    "SRV",   "SSHFP",      "SVCB",       "TLSA",    "TXT", "URI",   NULL};
static const uint16_t dns_numbers[] = {1,  28, 255, 252, 257, 60, 59, 5,  62, 39, 48, 43,
                                       13, 65, 251, 29,  15,  35, 2,  47, 50, 51, 61, 12,
                                       17, 46, 53,  6,   99,  33, 44, 64, 52, 16, 256};
_Static_assert(ARRAY_SIZE(dns_numbers) + 1 == ARRAY_SIZE(compile_dns_types), "number every type");

int compile_dns_type(const char *name)
{
    char *end;
    long number;

    for (size_t i = 0; compile_dns_types[i]; i++)
        if (strcmp(compile_dns_types[i], name) == 0)
            return dns_numbers[i];
    if (strncmp(name, "TYPE", 4) != 0 || name[4] < '1' || name[4] > '9')
        return -1;
    number = strtol(name + 4, &end, 10);
    return *end || number > UINT16_MAX ? -1 : (int)number;
}

/* ---- ciphers ---- */

/* As proxy/flow/suites.c has them; those of TLS 1.3 stand first. */
const char *const compile_ciphers[] = {"TLS_AES_128_GCM_SHA256",
                                       "TLS_AES_256_GCM_SHA384",
                                       "TLS_CHACHA20_POLY1305_SHA256",
                                       "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                                       "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                                       "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
                                       "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                                       "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                                       "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                                       "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                                       "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                                       "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
                                       "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
                                       "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
                                       "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
                                       "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
                                       "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
                                       "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
                                       "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
                                       "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
                                       "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
                                       "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
                                       "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
                                       "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
                                       "TLS_RSA_WITH_AES_256_GCM_SHA384",
                                       "TLS_RSA_WITH_AES_128_GCM_SHA256",
                                       "TLS_RSA_WITH_AES_256_CBC_SHA256",
                                       "TLS_RSA_WITH_AES_128_CBC_SHA256",
                                       "TLS_RSA_WITH_AES_256_CBC_SHA",
                                       "TLS_RSA_WITH_AES_128_CBC_SHA",
                                       NULL};
enum { OF_TLS13 = 3, TLS12 = 0x0303, TLS13 = 0x0304 };

uint16_t compile_cipher_version(const char *name)
{
    for (size_t i = 0; compile_ciphers[i]; i++)
        if (strcmp(compile_ciphers[i], name) == 0)
            return i < OF_TLS13 ? TLS13 : TLS12;
    return 0;
}
