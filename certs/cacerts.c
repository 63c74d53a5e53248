/* A JKS (Java's sun.security.provider.JavaKeyStore), all numbers in network order:
 *
 *   u32 magic, u32 version, u32 count, and for each entry
 *     u32 tag, u16 length and alias, u64 milliseconds since 1970, then
 *     tag 1, a private key: u32 length and key, u32 count and as many certificates
 *     tag 2, a trusted certificate: one certificate
 *   20 bytes: SHA-1 of password (UTF-16BE), "Mighty Aphrodite", and everything before
 *
 *   certificate: u16 length and type "X.509", u32 length and DER
 *
 * Text is modified UTF-8: each UTF-16 unit by itself, NUL as two bytes. */
#include "certs/cacerts.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <time.h>

#include "certs/err_tls.h"
#include "certs/file.h"
#include "certs/own.h"

#define JKS_MAGIC   "\xfe\xed\xfe\xed"
#define JKS_VERSION "\0\0\0\2"
#define OUR_ALIAS   "sallyport"

enum {
    JKS_COUNT_AT = 8, /* offset of the count */
    JKS_PRIVATE_KEY = 1,
    JKS_TRUSTED = 2,
    JKS_DIGEST_SIZE = 20,
    BMP_UNIT = 2,   /* bytes of a UTF-16 unit */
    UTF8_UNIT = 3,  /* bytes that one becomes, at most */
    ALIAS_MAX = 512 /* UTF-16 units */
};

static const char password[] = "changeit";

/* Where the trusted certificates go: to roots or, if that is NULL, into a JKS in the making. What
 * fails is remembered, so that only the end needs to ask. */
struct target {
    X509_STORE *roots;
    struct known *known;
    BIO *bytes;
    uint32_t count;
    bool failed;
};

static void put(struct target *to, struct span bytes)
{
    if (bytes.len && BIO_write(to->bytes, bytes.data, (int)bytes.len) != (int)bytes.len)
        to->failed = true;
}

static void put_uint(struct target *to, size_t bytes, uint64_t value)
{
    uint8_t raw[8];

    for (size_t i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    put(to, span_of(raw, bytes));
}

static void add_root(struct target *to, struct span der)
{
    CLEANUP(own_x509) X509 *cert = known_cert(to->known, der);

    if (cert && !X509_STORE_add_cert(to->roots, cert))
        to->failed = true;
}

static void put_trusted(struct target *to, struct span alias, uint64_t created, struct span der)
{
    if (to->roots) {
        add_root(to, der);
        return;
    }
    put_uint(to, 4, JKS_TRUSTED);
    put_uint(to, 2, alias.len);
    put(to, alias);
    put_uint(to, 8, created);
    put_uint(to, 2, 5);
    put(to, BYTES("X.509"));
    put_uint(to, 4, der.len);
    put(to, der);
    to->count++;
}

static void put_cert(struct target *to, struct span alias, X509 *cert)
{
    uint8_t *der = NULL;
    int len = i2d_X509(cert, &der);

    if (len > 0)
        put_trusted(to, alias, (uint64_t)time(NULL) * 1000, span_of(der, (size_t)len));
    else
        to->failed = true;
    OPENSSL_free(der);
}

static bool is_ours(struct span alias)
{
    struct span start;

    return span_take(&alias, sizeof(OUR_ALIAS) - 1, &start) &&
           span_equal(start, BYTES(OUR_ALIAS)) && (alias.len == 0 || alias.data[0] == '-');
}

static void put_ours(struct target *to, const STACK_OF(X509) *roots)
{
    char alias[sizeof(OUR_ALIAS) + 12];

    for (int i = 0; i < sk_X509_num(roots); i++) {
        snprintf(alias, sizeof(alias), i ? OUR_ALIAS "-%d" : OUR_ALIAS, i);
        put_cert(to, span_of_text(alias), sk_X509_value(roots, i));
    }
}

static bool take_cert(struct span *from, struct span *type, struct span *der)
{
    return span_take_vector(from, 2, type) && span_take_vector(from, 4, der);
}

static bool skip_private_key(struct span *from)
{
    struct span skipped, type;
    uint32_t certs;

    if (!span_take_vector(from, 4, &skipped) || !span_take_uint(from, 4, &certs))
        return false;
    while (certs--) /* ends early: each takes at least six bytes */
        if (!take_cert(from, &type, &skipped))
            return false;
    return true;
}

static bool copy_entry(struct target *to, struct span *from)
{
    struct span alias, type, der;
    uint32_t tag, high, low; /* the two halves of the time */

    if (!span_take_uint(from, 4, &tag) || !span_take_vector(from, 2, &alias) ||
        !span_take_uint(from, 4, &high) || !span_take_uint(from, 4, &low))
        return false;
    if (tag == JKS_PRIVATE_KEY)
        return skip_private_key(from);
    if (tag != JKS_TRUSTED || !take_cert(from, &type, &der) || !span_equal(type, BYTES("X.509")))
        return false;
    if (to->roots || !is_ours(alias)) /* a copy of a copy: ours are put anew */
        put_trusted(to, alias, (uint64_t)high << 32 | low, der);
    return true;
}

static int copy_jks(struct target *to, struct span from, const char *path, struct err *err)
{
    struct span magic, version, body;
    uint32_t count;

    span_take(&from, 4, &magic);
    if (!span_take(&from, 4, &version) || !span_equal(version, BYTES(JKS_VERSION)))
        return err_set(err, -EINVAL, "%s is a JKS of a version other than 2", path);
    if (!span_take_uint(&from, 4, &count) || from.len < JKS_DIGEST_SIZE)
        return err_set(err, -EINVAL, "%s is a JKS cut short", path);
    span_take(&from, from.len - JKS_DIGEST_SIZE, &body);
    for (uint32_t i = 0; i < count; i++)
        if (!copy_entry(to, &body))
            return err_set(err, -EINVAL, "entry %u of the JKS %s cannot be read", i + 1, path);
    if (body.len)
        return err_set(err, -EINVAL, "%s is a JKS with more in it than its entries", path);
    return 0;
}

/* Java marks what is trusted with an attribute that OpenSSL 3.0 has no name for. */
static bool is_trusted(const PKCS12_SAFEBAG *bag, const ASN1_OBJECT *mark)
{
    const STACK_OF(X509_ATTRIBUTE) *attributes = PKCS12_SAFEBAG_get0_attrs(bag);

    for (int i = 0; i < sk_X509_ATTRIBUTE_num(attributes); i++)
        if (OBJ_cmp(X509_ATTRIBUTE_get0_object(sk_X509_ATTRIBUTE_value(attributes, i)), mark) == 0)
            return true;
    return false;
}

/* The friendly name in modified UTF-8 and lower case: Java asks for aliases in lower case only,
 * and would not find another one in a JKS. */
static struct span bag_alias(const PKCS12_SAFEBAG *bag, uint32_t number,
                             uint8_t out[ALIAS_MAX * UTF8_UNIT])
{
    const ASN1_TYPE *name = PKCS12_SAFEBAG_get0_attr(bag, NID_friendlyName);
    struct span units = {0};
    uint32_t unit;
    size_t len = 0;

    if (name && name->type == V_ASN1_BMPSTRING)
        units = span_of(name->value.bmpstring->data, (size_t)name->value.bmpstring->length);
    if (units.len == 0 || units.len > ALIAS_MAX * BMP_UNIT) {
        len = (size_t)snprintf((char *)out, ALIAS_MAX, "unnamed-%u", number);
        return span_of(out, len);
    }
    while (span_take_uint(&units, BMP_UNIT, &unit)) {
        if (unit >= 0x800) {
            out[len++] = (uint8_t)(0xe0 | unit >> 12);
            out[len++] = (uint8_t)(0x80 | (unit >> 6 & 0x3f));
            out[len++] = (uint8_t)(0x80 | (unit & 0x3f));
        } else if (unit >= 0x80 || unit == 0) {
            out[len++] = (uint8_t)(0xc0 | unit >> 6);
            out[len++] = (uint8_t)(0x80 | (unit & 0x3f));
        } else {
            out[len++] = (uint8_t)(unit >= 'A' && unit <= 'Z' ? unit + ('a' - 'A') : unit);
        }
    }
    return span_of(out, len);
}

static void copy_bags(struct target *to, const STACK_OF(PKCS12_SAFEBAG) *bags,
                      const ASN1_OBJECT *mark)
{
    for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags); i++) {
        const PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);
        uint8_t alias[ALIAS_MAX * UTF8_UNIT];
        CLEANUP(own_x509) X509 *cert = NULL;
        struct span name;

        if (PKCS12_SAFEBAG_get_nid(bag) != NID_certBag || !is_trusted(bag, mark))
            continue;
        cert = PKCS12_SAFEBAG_get1_cert(bag);
        name = bag_alias(bag, to->count, alias);
        if (cert && (to->roots || !is_ours(name)))
            put_cert(to, name, cert);
    }
}

static int copy_safes(struct target *to, const STACK_OF(PKCS7) *safes, const ASN1_OBJECT *mark,
                      const char *path, struct err *err)
{
    for (int i = 0; i < sk_PKCS7_num(safes); i++) {
        PKCS7 *safe = sk_PKCS7_value(safes, i);
        STACK_OF(PKCS12_SAFEBAG) *bags = NULL;

        if (PKCS7_type_is_data(safe))
            bags = PKCS12_unpack_p7data(safe);
        else if (PKCS7_type_is_encrypted(safe))
            bags = PKCS12_unpack_p7encdata(safe, password, sizeof(password) - 1);
        if (!bags)
            return err_tls(err, -EINVAL,
                           "part %d of the PKCS #12 file %s cannot be read (keytool "
                           "-importkeystore can make a JKS of it)",
                           i + 1, path);
        copy_bags(to, bags, mark);
        sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    }
    return 0;
}

static int copy_pkcs12(struct target *to, struct span from, const char *path, struct err *err)
{
    const unsigned char *at = from.data;
    PKCS12 *store = d2i_PKCS12(NULL, &at, (long)from.len);
    ASN1_OBJECT *mark = OBJ_txt2obj("2.16.840.1.113894.746875.1.1", 1);
    STACK_OF(PKCS7) *safes = NULL;
    int rc;

    if (!store || !mark)
        rc = err_tls(err, -EINVAL, "%s is neither a JKS nor a PKCS #12 file", path);
    else if (PKCS12_mac_present(store) && !PKCS12_verify_mac(store, password, -1))
        rc = err_tls(err, -EACCES, "the password of %s is not \"%s\"", path, password);
    else if (!(safes = PKCS12_unpack_authsafes(store)))
        rc = err_tls(err, -EINVAL, "the PKCS #12 file %s cannot be read", path);
    else
        rc = copy_safes(to, safes, mark, path, err);
    ERR_clear_error(); /* of certificates that were passed over */
    sk_PKCS7_pop_free(safes, PKCS7_free);
    ASN1_OBJECT_free(mark);
    PKCS12_free(store);
    return rc;
}

/* Puts the count where it belongs and the digest behind. */
static void seal(struct target *to)
{
    uint8_t digest[EVP_MAX_MD_SIZE], *bytes;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = (size_t)BIO_get_mem_data(to->bytes, &bytes);
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL);

    for (size_t i = 0; i < 4; i++)
        bytes[JKS_COUNT_AT + i] = (uint8_t)(to->count >> 8 * (3 - i));
    for (const char *c = password; ok && *c; c++)
        ok = EVP_DigestUpdate(ctx, (const char[]){0, *c}, BMP_UNIT);
    ok = ok && EVP_DigestUpdate(ctx, "Mighty Aphrodite", 16) && EVP_DigestUpdate(ctx, bytes, len) &&
         EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    if (ok)
        put(to, span_of(digest, JKS_DIGEST_SIZE));
    else
        to->failed = true;
}

static int copy_file(struct target *to, const struct file *file, const char *path, struct err *err)
{
    struct span from = span_of(file->data, file->len);

    return from.len >= 4 && memcmp(from.data, JKS_MAGIC, 4) == 0 ? copy_jks(to, from, path, err)
                                                                 : copy_pkcs12(to, from, path, err);
}

int cacerts_merge(const char *path, const char *original, const STACK_OF(X509) *roots,
                  struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    CLEANUP(own_bio) BIO *bytes = BIO_new(BIO_s_mem());
    struct target jks = {.bytes = bytes};
    char *data;
    long len;
    int rc;

    if (!bytes)
        return err_tls(err, -ENOMEM, "cannot write %s", path);
    rc = file_read(&file, original, err);
    if (rc < 0)
        return rc;
    put(&jks, BYTES(JKS_MAGIC JKS_VERSION));
    put_uint(&jks, 4, 0); /* seal() knows */
    rc = copy_file(&jks, &file, original, err);
    if (rc < 0)
        return rc;
    put_ours(&jks, roots);
    if (!jks.failed)
        seal(&jks);
    if (jks.failed)
        return err_tls(err, -ENOMEM, "cannot write %s", path);
    len = BIO_get_mem_data(bytes, &data);
    return file_replace(path, span_of(data, (size_t)len), &file, err);
}

int cacerts_add(X509_STORE *store, const char *path, struct known *known, struct err *err)
{
    CLEANUP(file_free) struct file file = {0};
    struct target roots = {.roots = store, .known = known};
    int rc = file_read(&file, path, err);

    if (rc < 0)
        return rc;
    rc = copy_file(&roots, &file, path, err);
    if (rc == 0 && roots.failed)
        rc = err_tls(err, -ENOMEM, "cannot keep the certificates of %s", path);
    ERR_clear_error(); /* of certificates that were passed over */
    return rc;
}
