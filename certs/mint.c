#include "certs/mint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/span.h"
#include "certs/cert.h"
#include "certs/err_tls.h"
#include "certs/own.h"

enum {
    LIFE = 199 * 24 * 3600, /* Chromium refuses more than 200 days */
    BACKDATE = 3600,        /* for pods' clocks that are behind ours */
    LABEL_MAX = 63,
    CN_MAX = 64, /* ub-common-name, RFC 5280 appendix A.1 */
};

/* An address in network order: its length, 4 or 16, or 0 for what is none. */
static size_t parse_ip(const char *text, uint8_t out[16])
{
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

/* The spelling of one character of a DNS name; 0 for one that may not be there. */
static char spell_char(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + ('a' - 'A'));
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
        return c;
    return 0;
}

static bool spell_dns(const char *name, char out[MINT_NAME_SIZE])
{
    size_t len = strlen(name), label = 0;

    if (len && name[len - 1] == '.')
        len--;
    if (len == 0 || len >= MINT_NAME_SIZE)
        return false;
    for (size_t i = 0; i < len; i++) {
        out[i] = name[i] == '.' ? '.' : spell_char(name[i]);
        if (!out[i])
            return false;
        if (out[i] == '.' ? label == 0 : label == LABEL_MAX)
            return false;
        label = out[i] == '.' ? 0 : label + 1;
    }
    out[len] = 0;
    return label > 0;
}

bool mint_name_spell(const char *name, char out[MINT_NAME_SIZE])
{
    uint8_t ip[16];
    size_t ip_len = parse_ip(name, ip);

    if (ip_len)
        return inet_ntop(ip_len == 4 ? AF_INET : AF_INET6, ip, out, MINT_NAME_SIZE);
    return spell_dns(name, out);
}

bool mint_name_ok(const char *name)
{
    char spelled[MINT_NAME_SIZE];

    return mint_name_spell(name, spelled);
}

static bool name_subject(X509 *leaf, const char *name)
{
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(leaf), NID_commonName, MBSTRING_ASC,
                                      (const unsigned char *)name, -1, -1, 0);
}

static bool add_alt_name(X509 *leaf, const char *name, bool critical)
{
    uint8_t ip[16];
    size_t ip_len = parse_ip(name, ip);
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *alt = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(ip_len ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    bool ok = names && alt && value &&
              ASN1_STRING_set(value, ip_len ? (const void *)ip : name,
                              ip_len ? (int)ip_len : (int)strlen(name));

    if (ok) {
        GENERAL_NAME_set0_value(alt, ip_len ? GEN_IPADD : GEN_DNS, TAKE(value));
        ok = sk_GENERAL_NAME_push(names, alt);
    }
    if (ok) {
        alt = NULL; /* the list's */
        ok = cert_add(leaf, NID_subject_alt_name, critical, names);
    }
    ASN1_STRING_free(value);
    GENERAL_NAME_free(alt);
    GENERAL_NAMES_free(names);
    return ok;
}

/* A DNS name that mint_name_ok() knows, or "*." and one; no address, which would be none in a SAN
 * of this type, however lenient clients take it. */
static bool dns_name_ok(const GENERAL_NAME *alt)
{
    char text[MINT_NAME_SIZE], *name = text, *last;
    struct span bytes;

    if (alt->type != GEN_DNS)
        return false;
    bytes =
        span_of(ASN1_STRING_get0_data(alt->d.dNSName), (size_t)ASN1_STRING_length(alt->d.dNSName));
    if (!span_to_text(bytes, text, sizeof(text)))
        return false;
    if (strncmp(name, "*.", 2) == 0)
        name += 2;
    last = strrchr(name, '.');
    last = last ? last + 1 : name;
    return mint_name_ok(name) && strspn(last, "0123456789") < strlen(last) && !strchr(name, ':');
}

GENERAL_NAMES *mint_names_of(const X509 *upstream)
{
    GENERAL_NAMES *names;

    ERR_set_mark(); /* names that cannot be read are none */
    names = X509_get_ext_d2i(upstream, NID_subject_alt_name, NULL, NULL);
    ERR_pop_to_mark();
    for (int i = sk_GENERAL_NAME_num(names) - 1; i >= 0; i--)
        if (!dns_name_ok(sk_GENERAL_NAME_value(names, i)))
            GENERAL_NAME_free(sk_GENERAL_NAME_delete(names, i));
    if (sk_GENERAL_NAME_num(names) > 0)
        return names;
    GENERAL_NAMES_free(names);
    return NULL;
}

static bool add_server_auth(X509 *leaf)
{
    EXTENDED_KEY_USAGE *usage = sk_ASN1_OBJECT_new_null();
    /* OBJ_nid2obj's objects are static: nothing to free but the list. */
    bool ok = usage && sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_server_auth)) &&
              cert_add(leaf, NID_ext_key_usage, false, usage);

    sk_ASN1_OBJECT_free(usage);
    return ok;
}

static bool demand_staple(X509 *leaf)
{
    X509_EXTENSION *feature = X509V3_EXT_conf_nid(NULL, NULL, NID_tlsfeature, "status_request");
    bool ok = feature && X509_add_ext(leaf, feature, -1);

    X509_EXTENSION_free(feature);
    return ok;
}

static bool add_names(X509 *leaf, const struct mint_profile *profile, bool has_cn)
{
    if (profile->names)
        return cert_add(leaf, NID_subject_alt_name, true, profile->names);
    return (has_cn && profile->cn_only) || add_alt_name(leaf, profile->name, !has_cn);
}

static bool add_extensions(X509 *leaf, const struct authority *authority, EVP_PKEY *leaf_key,
                           const struct mint_profile *profile, bool has_cn)
{
    static const int signs[] = {0, -1}; /* digitalSignature */
    /* and keyEncipherment: clients of TLS 1.2 without any Diffie-Hellman encrypt to the key */
    static const int signs_or_decrypts[] = {0, 2, -1};
    const int *usage = EVP_PKEY_is_a(leaf_key, "RSA") ? signs_or_decrypts : signs;
    ASN1_OCTET_STRING *key_id = cert_key_id(leaf, authority->sha256);
    bool ok = key_id && cert_add_basic(leaf, false) && cert_add_usage(leaf, usage) &&
              add_server_auth(leaf) && add_names(leaf, profile, has_cn) &&
              cert_add_key_ids(leaf, key_id, authority->key_id);

    ASN1_OCTET_STRING_free(key_id);
    return ok;
}

/* The dates of the leaf into *dates, and why there are none when now lies outside. */
static int clip_dates(struct mint_profile *dates, const struct authority *authority, time_t now,
                      struct err *err)
{
    if (now < dates->not_before || now >= dates->not_after)
        return err_set(err, -EKEYEXPIRED, "the server's certificate for %s is %s", dates->name,
                       now < dates->not_before ? "not yet valid" : "expired");
    if (now < authority->not_before || now >= authority->not_after)
        return err_set(err, -EKEYEXPIRED, "no certificate for %s: our authority is %s", dates->name,
                       now < authority->not_before ? "not yet valid" : "expired");
    if (dates->not_before < now - BACKDATE)
        dates->not_before = now - BACKDATE;
    if (dates->not_before < authority->not_before)
        dates->not_before = authority->not_before;
    if (dates->not_after > dates->not_before + LIFE)
        dates->not_after = dates->not_before + LIFE;
    if (dates->not_after > authority->not_after)
        dates->not_after = authority->not_after;
    return 0;
}

int mint_leaf(X509 **out, const struct authority *authority, EVP_PKEY *leaf_key,
              const struct mint_profile *profile, time_t now, struct err *err)
{
    CLEANUP(own_x509) X509 *leaf = NULL;
    struct mint_profile clipped = *profile;
    char name[MINT_NAME_SIZE];
    bool has_cn;
    int rc;

    if (profile->names)
        name[0] = 0;
    else if (!mint_name_spell(profile->name, name))
        return err_set(err, -EINVAL, "'%.260s' is neither a DNS name nor an address",
                       profile->name);
    if (!profile->names)
        clipped.name = name;
    rc = clip_dates(&clipped, authority, now, err);
    if (rc < 0)
        return rc;
    has_cn = !profile->names && strlen(name) <= CN_MAX;
    leaf = cert_begin(leaf_key, clipped.not_before, clipped.not_after);
    if (!leaf || !X509_set_issuer_name(leaf, X509_get_subject_name(authority->cert)) ||
        (has_cn && !name_subject(leaf, name)) ||
        !add_extensions(leaf, authority, leaf_key, &clipped, has_cn) ||
        (clipped.must_staple && !demand_staple(leaf)) ||
        !cert_sign(leaf, authority->key, authority->sha256))
        return err_tls(err, -EIO, "cannot make a certificate for %s", clipped.name);
    *out = TAKE(leaf);
    return 0;
}
