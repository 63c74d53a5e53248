#include "certs/staple.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "certs/cert.h"
#include "certs/err_tls.h"

/* What a response says about one certificate; borrows from it. */
struct said {
    int status, reason;
    ASN1_GENERALIZEDTIME *revoked, *from, *until;
    const EVP_MD *digest; /* by which it names the certificate: clients look for one only */
};

static bool is_about(const OCSP_SINGLERESP *single, X509 *cert, X509 *issuer, const EVP_MD **digest)
{
    const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(single);
    OCSP_CERTID *want;
    ASN1_OBJECT *name = NULL;
    bool same;

    OCSP_id_get0_info(NULL, &name, NULL, NULL, (OCSP_CERTID *)id);
    *digest = name ? EVP_get_digestbyobj(name) : NULL;
    want = *digest ? OCSP_cert_to_id(*digest, cert, issuer) : NULL;
    same = want && OCSP_id_cmp(want, id) == 0;
    OCSP_CERTID_free(want);
    return same;
}

static bool find(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer, struct said *said)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);

        if (!is_about(single, cert, issuer, &said->digest))
            continue;
        said->status = OCSP_single_get0_status(single, &said->reason, &said->revoked, &said->from,
                                               &said->until);
        return said->status >= 0;
    }
    return false;
}

static OCSP_BASICRESP *say_again(const struct said *said, const struct authority *authority,
                                 X509 *leaf)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(said->digest, leaf, authority->cert);
    bool ok = basic && id &&
              OCSP_basic_add1_status(basic, id, said->status, said->reason, said->revoked,
                                     said->from, said->until) &&
              OCSP_basic_sign(basic, authority->cert, authority->key,
                              cert_digest(authority->key, authority->sha256), NULL, OCSP_NOCERTS);

    OCSP_CERTID_free(id);
    if (ok)
        return basic;
    OCSP_BASICRESP_free(basic);
    return NULL;
}

static bool write_out(OCSP_BASICRESP *basic, struct span *out)
{
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *bytes = NULL;
    int len = response ? i2d_OCSP_RESPONSE(response, &bytes) : -1;

    OCSP_RESPONSE_free(response);
    if (len <= 0)
        return false;
    *out = span_of(bytes, (size_t)len);
    return true;
}

static enum staple as_it_is(struct span stapled, struct span *out, struct err *err)
{
    void *copy = OPENSSL_memdup(stapled.data, stapled.len);

    ERR_clear_error(); /* what was wrong with it is nobody's failure */
    if (!copy) {
        err_set(err, -ENOMEM, "an OCSP response: out of memory");
        return STAPLE_FAILED;
    }
    *out = span_of(copy, stapled.len);
    return STAPLE_UNPROVEN;
}

enum staple staple_again(struct span stapled, X509 *upstream, X509 *issuer, STACK_OF(X509) *shown,
                         X509_STORE *roots, const struct authority *authority, X509 *leaf,
                         struct span *out, struct err *err)
{
    const unsigned char *at = stapled.data;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)stapled.len);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL, *ours = NULL;
    struct said said = {0};
    enum staple result = STAPLE_UNPROVEN;

    if (basic && OCSP_basic_verify(basic, shown, roots, 0) > 0 &&
        find(basic, upstream, issuer, &said)) {
        ours = say_again(&said, authority, leaf);
        result = said.status == V_OCSP_CERTSTATUS_GOOD      ? STAPLE_GOOD
                 : said.status == V_OCSP_CERTSTATUS_REVOKED ? STAPLE_REVOKED
                                                            : STAPLE_UNKNOWN;
        if (!ours || !write_out(ours, out)) {
            err_tls(err, -EIO, "cannot make an OCSP response");
            result = STAPLE_FAILED;
        }
    }
    OCSP_BASICRESP_free(ours);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return result == STAPLE_UNPROVEN ? as_it_is(stapled, out, err) : result;
}
