#include "certs/staple.h"

#include <openssl/ocsp.h>

#include "certs/mint.h"
#include "make.h"

static struct made root, server, other, responder, stranger;
static struct authority *authority;
static X509 *leaf;
static X509_STORE *roots;
static STACK_OF(X509) *shown;

static X509 *make_leaf(void)
{
    time_t now = time(NULL);
    struct mint_profile profile = {
        .name = "good.test", .not_before = now - DAY, .not_after = now + DAY};
    CLEANUP(own_pkey) EVP_PKEY *key = make_key(NULL);
    X509 *out = NULL;

    assert_int_equal(mint_leaf(&out, authority, key, &profile, now, NULL), 0);
    return out;
}

static int set_up(void **state)
{
    const struct make plain = {
        .name = "good.test", .issuer = &root, .basic = "CA:FALSE", .usage = ""};
    struct make delegate = plain;

    (void)state;
    root = make_cert(&(struct make){0});
    server = make_cert(&plain);
    other = make_cert(&plain);
    stranger = make_cert(&(struct make){.name = "stranger"});
    delegate.name = "responder"; /* by which it is found */
    delegate.purposes = "OCSPSigning";
    responder = make_cert(&delegate);
    roots = X509_STORE_new();
    shown = sk_X509_new_null();
    if (authority_new(&authority, "node-1", NULL) < 0 || !X509_STORE_add_cert(roots, root.cert) ||
        !sk_X509_push(shown, server.cert))
        return -1;
    leaf = make_leaf();
    return 0;
}

/* What a responder says of the certificate; what is not told is usual. */
struct say {
    const struct made *about, *signer;
    int status;
    long from, until; /* seconds from now */
    bool sha256, damaged, later;
};

static struct span der_of(OCSP_RESPONSE *response)
{
    unsigned char *bytes = NULL;
    int len = i2d_OCSP_RESPONSE(response, &bytes);

    assert_true(len > 0);
    return span_of(bytes, (size_t)len);
}

static struct span say(const struct say *how)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    const struct made *about = how->about ? how->about : &server;
    const struct made *signer = how->signer ? how->signer : &root;
    ASN1_TIME *from = X509_gmtime_adj(NULL, how->from), *until = X509_gmtime_adj(NULL, how->until);
    bool revoked = how->status == V_OCSP_CERTSTATUS_REVOKED;
    OCSP_CERTID *id =
        OCSP_cert_to_id(how->sha256 ? EVP_sha256() : EVP_sha1(), about->cert, root.cert);
    OCSP_RESPONSE *response;
    struct span out;

    assert_non_null(OCSP_basic_add1_status(basic, id, how->status,
                                           revoked ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0,
                                           revoked ? from : NULL, from, until));
    assert_true(OCSP_basic_sign(basic, signer->cert, signer->key, EVP_sha256(), NULL, 0));
    response = OCSP_response_create(how->later ? OCSP_RESPONSE_STATUS_TRYLATER
                                               : OCSP_RESPONSE_STATUS_SUCCESSFUL,
                                    how->later ? NULL : basic);
    out = der_of(response);
    if (how->damaged)
        ((uint8_t *)out.data)[out.len - 9] ^= 1;
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return out;
}

static enum staple again(struct span stapled, struct span *out)
{
    struct err err = {0};

    *out = (struct span){0};
    return staple_again(stapled, server.cert, root.cert, shown, roots, authority, leaf, out, &err);
}

/* What a client makes of what it is stapled to leaf, and until when it may. */
static int client_reads(struct span stapled, bool sha256, int *reason, long *until)
{
    const unsigned char *at = stapled.data;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)stapled.len);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    OCSP_CERTID *id = OCSP_cert_to_id(sha256 ? EVP_sha256() : EVP_sha1(), leaf, authority->cert);
    X509_STORE *trusted = X509_STORE_new();
    STACK_OF(X509) *chain = sk_X509_new_null();
    ASN1_GENERALIZEDTIME *next = NULL;
    int status = -1, days, seconds;

    assert_true(X509_STORE_add_cert(trusted, authority->root));
    assert_true(sk_X509_push(chain, authority->cert));
    assert_int_equal(OCSP_basic_verify(basic, chain, trusted, 0), 1);
    assert_true(OCSP_resp_find_status(basic, id, &status, reason, NULL, NULL, &next));
    assert_true(ASN1_TIME_diff(&days, &seconds, NULL, next));
    *until = days * (long)DAY + seconds;
    sk_X509_free(chain);
    X509_STORE_free(trusted);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return status;
}

static const struct {
    const char *name;
    struct say how;
    enum staple want;
} said[] = {
    {"good", {.status = V_OCSP_CERTSTATUS_GOOD, .from = -60, .until = DAY}, STAPLE_GOOD},
    {"revoked", {.status = V_OCSP_CERTSTATUS_REVOKED, .from = -60, .until = DAY}, STAPLE_REVOKED},
    {"unknown", {.status = V_OCSP_CERTSTATUS_UNKNOWN, .from = -60, .until = DAY}, STAPLE_UNKNOWN},
    {"good, by a delegate",
     {.signer = &responder, .status = V_OCSP_CERTSTATUS_GOOD, .from = -60, .until = DAY},
     STAPLE_GOOD},
    {"good, named by SHA-256",
     {.status = V_OCSP_CERTSTATUS_GOOD, .from = -60, .until = DAY, .sha256 = true},
     STAPLE_GOOD},
    {"good once, no longer",
     {.status = V_OCSP_CERTSTATUS_GOOD, .from = -9 * DAY, .until = -DAY},
     STAPLE_GOOD},
    {"good from tomorrow",
     {.status = V_OCSP_CERTSTATUS_GOOD, .from = DAY, .until = 2 * DAY},
     STAPLE_GOOD},
};

static void says_again_what_upstream_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        struct span stapled = say(&said[i].how), out;
        int reason;
        long until;

        print_message("  %s\n", said[i].name);
        assert_int_equal(again(stapled, &out), said[i].want);
        assert_int_equal(client_reads(out, said[i].how.sha256, &reason, &until),
                         said[i].how.status);
        assert_in_range(until + 10 * DAY, said[i].how.until + 10 * DAY - 10,
                        said[i].how.until + 10 * DAY + 1);
        if (said[i].want == STAPLE_REVOKED)
            assert_int_equal(reason, OCSP_REVOKED_STATUS_KEYCOMPROMISE);
        OPENSSL_free((void *)stapled.data);
        OPENSSL_free((void *)out.data);
    }
}

static const struct {
    const char *name;
    struct say how;
} unproven[] = {
    {"about another certificate", {.about = &other, .until = DAY}},
    {"signed by a stranger", {.signer = &stranger, .until = DAY}},
    {"signed by one without the right to", {.signer = &other, .until = DAY}},
    {"a signature that is wrong", {.until = DAY, .damaged = true}},
    {"no answer: try later", {.later = true}},
};

static void passes_on_what_proves_nothing(void **state)
{
    static const struct span junk[] = {BYTES("x"), BYTES("\x30\x03\x0a\x01\x00"),
                                       BYTES("\x30\x84")};
    struct span out;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(unproven); i++) {
        struct span stapled = say(&unproven[i].how);

        print_message("  %s\n", unproven[i].name);
        assert_int_equal(again(stapled, &out), STAPLE_UNPROVEN);
        assert_true(span_equal(out, stapled));
        OPENSSL_free((void *)stapled.data);
        OPENSSL_free((void *)out.data);
    }
    for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
        assert_int_equal(again(junk[i], &out), STAPLE_UNPROVEN);
        assert_true(span_equal(out, junk[i]));
        OPENSSL_free((void *)out.data);
    }
}

static int tear_down(void **state)
{
    struct made *all[] = {&root, &server, &other, &responder, &stranger};

    (void)state;
    assert_int_equal(ERR_peek_error(), 0);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        made_free(all[i]);
    X509_free(leaf);
    X509_STORE_free(roots);
    sk_X509_free(shown);
    authority_free(&authority);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_again_what_upstream_said),
        cmocka_unit_test(passes_on_what_proves_nothing),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
