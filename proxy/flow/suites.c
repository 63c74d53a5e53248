/* suites: the cipher suites that a program and we share. Upstream is offered those and no others,
 * so that no connection gets weaker, or comes about at all, through us. */
#include <openssl/err.h>
#include <stdio.h>

#include "proxy/flow/steps.h"

/* What OpenSSL offers by default at its security level 2. Without a suite of these we pass on. */
static const uint16_t known[] = {
    0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x009e, /* AEAD */
    0xc024, 0xc028, 0x006b, 0xc023, 0xc027, 0x0067,                         /* CBC, SHA-2 */
    0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033,                         /* CBC, SHA-1 */
    0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f,                         /* RSA encrypts */
    0x1301, 0x1302, 0x1303,                                                 /* TLS 1.3 */
};
_Static_assert(ARRAY_SIZE(known) <= 32, "one bit each");
enum { NAME_MAX_LEN = 32 }; /* ECDHE-ECDSA-CHACHA20-POLY1305: 29 */

static bool of_tls13(uint16_t suite)
{
    return suite >> 8 == 0x13;
}

uint32_t suites_shared(struct span offered)
{
    uint32_t suite, shared = 0;

    while (span_take_uint(&offered, 2, &suite))
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            if (known[i] == suite)
                shared |= UINT32_C(1) << i;
    return shared;
}

bool suites_fit(uint32_t shared, uint16_t version_max)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if ((shared >> i & 1) && of_tls13(known[i]) == (version_max >= TLS1_3_VERSION))
            return true;
    return false;
}

/* OpenSSL's names of the shared ones of one version, with ':' between. */
static void list(const SSL *ssl, uint32_t shared, bool tls13, char *out, size_t size)
{
    size_t len = 0;

    out[0] = 0;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        const unsigned char number[] = {(unsigned char)(known[i] >> 8), (unsigned char)known[i]};
        /* the library may have been built without one */
        const SSL_CIPHER *cipher = SSL_CIPHER_find((SSL *)ssl, number);

        if (cipher && (shared >> i & 1) && of_tls13(known[i]) == tls13)
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
