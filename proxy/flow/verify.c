/* verify: would the pod have taken upstream's certificate? Chain, purpose, dates and strength are
 * OpenSSL's to judge, the name is certs/fit.h's, and what is told about it is in our words. */
#include <openssl/x509_vfy.h>

#include "certs/fit.h"
#include "certs/mint.h"
#include "proxy/flow/steps.h"

/* A client without SNI may know the server by its address or by a name that it did not tell (Java
 * tells none of a single label). */
static bool may_be_meant(const struct flow *flow, const X509 *cert)
{
    GENERAL_NAMES *names = flow->facts.where.host[0] ? NULL : mint_names_of(cert);
    bool some = names;

    GENERAL_NAMES_free(names);
    return some;
}

int verify_upstream(X509_STORE_CTX *chain, void *arg)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct flow *flow = SSL_get_app_data(ssl);
    const X509 *cert = X509_STORE_CTX_get0_cert(chain);
    char address[ADDR_TEXT_MAX], name[MINT_NAME_SIZE];

    (void)arg;
    if (X509_verify_cert(chain) != 1) {
        flow->bad_depth = X509_STORE_CTX_get_error_depth(chain);
        return 0;
    }
    /* as the leaf will spell it: without a closing dot. Some clients name an address by SNI, which
     * RFC 6066 section 3 forbids: still an address. */
    if (mint_name_spell(asked_name(flow, address), name) && fit_name(cert, name) != FIT_NOT)
        return 1;
    flow->by_its_names = may_be_meant(flow, cert);
    if (flow->by_its_names)
        return 1;
    flow->bad_depth = 0;
    X509_STORE_CTX_set_error(chain, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

static const struct {
    long result;
    int alert;
    const char *leaf, *above; /* what is wrong with upstream's own, with one above it */
} verdicts[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED, "it has expired",
     "a certificate above it has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, SSL_AD_CERTIFICATE_EXPIRED, "it is not yet valid",
     "a certificate above it is not yet valid"},
    {X509_V_ERR_CERT_REVOKED, SSL_AD_CERTIFICATE_REVOKED, "it is revoked",
     "a certificate above it is revoked"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SSL_AD_UNKNOWN_CA,
     "it is self-signed, and the program does not trust it", NULL},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, SSL_AD_UNKNOWN_CA, NULL,
     "it leads to a self-signed root that the program does not trust"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, SSL_AD_UNKNOWN_CA,
     "its issuer is unknown to the program, and the server shows none",
     "the issuer of one above it is unknown to the program, and the server shows none"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, SSL_AD_UNKNOWN_CA,
     "its issuer is unknown to the program, and the server shows none",
     "the issuer of one above it is unknown to the program, and the server shows none"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, SSL_AD_UNKNOWN_CA,
     "its issuer is unknown to the program, and the server shows none", NULL},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, SSL_AD_DECRYPT_ERROR, "its signature is wrong",
     "the signature of one above it is wrong"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, SSL_AD_UNKNOWN_CA, NULL, "its chain is too long"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, SSL_AD_UNKNOWN_CA, NULL,
     "a path length above it does not allow so many CAs"},
    {X509_V_ERR_INVALID_CA, SSL_AD_UNKNOWN_CA, NULL, "it was issued by what is no CA certificate"},
    {X509_V_ERR_CERT_UNTRUSTED, SSL_AD_UNKNOWN_CA, "the program's roots exclude this purpose",
     "the program's roots exclude this purpose"},
    {X509_V_ERR_CERT_REJECTED, SSL_AD_UNKNOWN_CA, "the program's roots reject this purpose",
     "the program's roots reject this purpose"},
    {X509_V_ERR_INVALID_PURPOSE, SSL_AD_UNSUPPORTED_CERTIFICATE, "its purpose is not a server's",
     "the purpose of one above it leaves out servers"},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, SSL_AD_UNSUPPORTED_CERTIFICATE,
     "it has a critical extension that is not known",
     "one above it has a critical extension that is not known"},
    {X509_V_ERR_HOSTNAME_MISMATCH, SSL_AD_BAD_CERTIFICATE, "it is not for that name", NULL},
    {X509_V_ERR_PERMITTED_VIOLATION, SSL_AD_BAD_CERTIFICATE,
     "a name constraint above it does not permit its names",
     "a name constraint above it does not permit the names of an intermediate"},
    {X509_V_ERR_EXCLUDED_VIOLATION, SSL_AD_BAD_CERTIFICATE,
     "a name constraint above it excludes its names",
     "a name constraint above it excludes the names of an intermediate"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, SSL_AD_BAD_CERTIFICATE, "its key is too weak", NULL},
    {X509_V_ERR_CA_KEY_TOO_SMALL, SSL_AD_BAD_CERTIFICATE, NULL,
     "the key of one above it is too weak"},
    {X509_V_ERR_CA_MD_TOO_WEAK, SSL_AD_BAD_CERTIFICATE, "its signature's digest is too weak",
     "the digest of a signature above it is too weak"},
};

const char *verify_words(long result, int depth)
{
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
        const char *words = depth ? verdicts[i].above : verdicts[i].leaf;

        if (verdicts[i].result == result && words)
            return words;
        if (verdicts[i].result == result)
            return depth ? verdicts[i].leaf : verdicts[i].above;
    }
    return X509_verify_cert_error_string(result);
}

int verify_alert(long result)
{
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
        if (verdicts[i].result == result)
            return verdicts[i].alert;
    return SSL_AD_CERTIFICATE_UNKNOWN;
}
