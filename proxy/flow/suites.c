/* suites: the cipher suites that a program and we share. Upstream is offered those and no others,
 * so that no connection gets weaker, or comes about at all, through us. */
#include <openssl/err.h>
#include <stdio.h>

#include "proxy/flow/steps.h"

/* What OpenSSL offers by default at its security level 2. Without a suite of these we pass on. */
static const struct {
    uint16_t number;
    const char *name; /* IANA's */
} known[] = {
    /* AEAD */
    {0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
    {0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"},
    {0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    {0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
    {0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
    {0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"},
    /* CBC, SHA-2 */
    {0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"},
    {0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"},
    {0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"},
    {0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"},
    {0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"},
    {0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"},
    /* CBC, SHA-1 */
    {0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"},
    {0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"},
    {0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"},
    {0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
    {0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"},
    {0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"},
    /* RSA encrypts */
    {0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"},
    {0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"},
    {0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"},
    {0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"},
    {0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"},
    {0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"},
    /* TLS 1.3 */
    {0x1301, "TLS_AES_128_GCM_SHA256"},
    {0x1302, "TLS_AES_256_GCM_SHA384"},
    {0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
};
_Static_assert(ARRAY_SIZE(known) <= 32, "one bit each");
enum { NAME_MAX_LEN = 32 }; /* ECDHE-ECDSA-CHACHA20-POLY1305: 29 */

static bool of_tls13(uint16_t suite)
{
    return suite >> 8 == 0x13;
}

const char *suites_name(uint16_t suite)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].number == suite)
            return known[i].name;
    return NULL;
}

uint32_t suites_shared(struct span offered)
{
    uint32_t suite, shared = 0;

    while (span_take_uint(&offered, 2, &suite))
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            if (known[i].number == suite)
                shared |= UINT32_C(1) << i;
    return shared;
}

uint32_t suites_named(char *const *names, size_t len)
{
    uint32_t named = 0;

    for (size_t n = 0; n < len; n++)
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            if (strcmp(known[i].name, names[n]) == 0)
                named |= UINT32_C(1) << i;
    return named;
}

bool suites_fit(uint32_t shared, uint16_t version_max)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if ((shared >> i & 1) && of_tls13(known[i].number) == (version_max >= TLS1_3_VERSION))
            return true;
    return false;
}

/* OpenSSL's names of the shared ones of one version, with ':' between. */
static void list(const SSL *ssl, uint32_t shared, bool tls13, char *out, size_t size)
{
    size_t len = 0;

    out[0] = 0;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        const unsigned char number[] = {(unsigned char)(known[i].number >> 8),
                                        (unsigned char)known[i].number};
        /* the library may have been built without one */
        const SSL_CIPHER *cipher = SSL_CIPHER_find((SSL *)ssl, number);

        if (cipher && (shared >> i & 1) && of_tls13(known[i].number) == tls13)
            len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ":" : "",
                                    SSL_CIPHER_get_name(cipher));
    }
}

bool suites_offer(SSL *ssl, uint32_t shared)
{
    static const uint32_t all = (uint32_t)((UINT64_C(1) << ARRAY_SIZE(known)) - 1);
    char text[ARRAY_SIZE(known) * NAME_MAX_LEN];

    if (shared == all)
        return true;
    list(ssl, shared, true, text, sizeof(text));
    if (!SSL_set_ciphersuites(ssl, text))
        return false;
    list(ssl, shared, false, text, sizeof(text));
    if (text[0])
        return SSL_set_cipher_list(ssl, text);
    return SSL_set_min_proto_version(ssl, TLS1_3_VERSION); /* OpenSSL takes no empty list */
}
