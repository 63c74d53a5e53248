#include "certs/cert.h"

#include <string.h>

enum { SERIAL_BITS = 128, VERSION_3 = 2 };

static bool set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();
    bool ok = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));

    BN_free(serial);
    return ok;
}

X509 *cert_begin(EVP_PKEY *key, time_t not_before, time_t not_after)
{
    X509 *cert = X509_new();

    if (cert && X509_set_version(cert, VERSION_3) && set_serial(cert) &&
        ASN1_TIME_set(X509_getm_notBefore(cert), not_before) &&
        ASN1_TIME_set(X509_getm_notAfter(cert), not_after) && X509_set_pubkey(cert, key))
        return cert;
    X509_free(cert);
    return NULL;
}

bool cert_add(X509 *cert, int nid, bool critical, void *value)
{
    return X509_add1_ext_i2d(cert, nid, value, critical, X509V3_ADD_APPEND) == 1;
}

bool cert_add_basic(X509 *cert, bool ca)
{
    BASIC_CONSTRAINTS *basic = BASIC_CONSTRAINTS_new();
    bool ok = false;

    if (basic) {
        basic->ca = ca ? 0xff : 0;
        if (ca) /* pathlen 0, which is not the same as none */
            basic->pathlen = ASN1_INTEGER_new();
        ok = (!ca || basic->pathlen) && cert_add(cert, NID_basic_constraints, true, basic);
    }
    BASIC_CONSTRAINTS_free(basic);
    return ok;
}

bool cert_add_usage(X509 *cert, const int *bits)
{
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    bool ok = usage;

    for (; ok && *bits >= 0; bits++)
        ok = ASN1_BIT_STRING_set_bit(usage, *bits, 1);
    ok = ok && cert_add(cert, NID_key_usage, true, usage);
    ASN1_BIT_STRING_free(usage);
    return ok;
}

bool cert_add_key_ids(X509 *cert, ASN1_OCTET_STRING *subject, ASN1_OCTET_STRING *authority)
{
    AUTHORITY_KEYID issuer = {.keyid = authority};

    return cert_add(cert, NID_subject_key_identifier, false, subject) &&
           cert_add(cert, NID_authority_key_identifier, false, &issuer);
}

ASN1_OCTET_STRING *cert_key_id(const X509 *cert, const EVP_MD *sha256)
{
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (id && X509_pubkey_digest(cert, sha256, digest, NULL) &&
        ASN1_OCTET_STRING_set(id, digest, CERT_KEY_ID_SIZE))
        return id;
    ASN1_OCTET_STRING_free(id);
    return NULL;
}

const EVP_MD *cert_digest(EVP_PKEY *key, const EVP_MD *sha256)
{
    char only[32];
    /* 2: the key admits no other digest than this one; "UNDEF": it brings its own. */
    bool own = EVP_PKEY_get_default_digest_name(key, only, sizeof(only)) == 2 &&
               strcmp(only, "UNDEF") == 0;

    return own ? NULL : sha256;
}

bool cert_sign(X509 *cert, EVP_PKEY *key, const EVP_MD *sha256)
{
    return X509_sign(cert, key, cert_digest(key, sha256)) > 0;
}

static bool to_time(const ASN1_TIME *from, time_t *out)
{
    struct tm tm;

    if (!ASN1_TIME_to_tm(from, &tm))
        return false;
    *out = timegm(&tm);
    return true;
}

bool cert_dates(const X509 *cert, time_t *not_before, time_t *not_after)
{
    return to_time(X509_get0_notBefore(cert), not_before) &&
           to_time(X509_get0_notAfter(cert), not_after);
}
