#include "certs/cacerts.h"

#include <errno.h>
#include <openssl/pkcs12.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/span.h"
#include "make.h"

#define TRUSTED_BY_JAVA "2.16.840.1.113894.746875.1.1"

static struct made root, one, two;

static int set_up(void **state)
{
    root = make_cert(&(struct make){.name = "our root"});
    one = make_cert(&(struct make){.name = "root one"});
    two = make_cert(&(struct make){.name = "root two"});
    return make_dir(state);
}

static int tear_down(void **state)
{
    made_free(&root);
    made_free(&one);
    made_free(&two);
    return make_dir_remove(state);
}

/* A JKS by hand. */
struct bytes {
    uint8_t data[8192];
    size_t len;
};

static void add(struct bytes *to, const void *data, size_t len)
{
    assert_true(to->len + len <= sizeof(to->data));
    memcpy(to->data + to->len, data, len);
    to->len += len;
}

static void add_uint(struct bytes *to, size_t bytes, uint32_t value)
{
    while (bytes--)
        add(to, (uint8_t[]){(uint8_t)(value >> 8 * bytes)}, 1);
}

static void add_head(struct bytes *to, uint32_t version, uint32_t count)
{
    add(to, "\xfe\xed\xfe\xed", 4);
    add_uint(to, 4, version);
    add_uint(to, 4, count);
}

static void add_cert(struct bytes *to, X509 *cert)
{
    uint8_t *der = NULL;
    int len = i2d_X509(cert, &der);

    assert_true(len > 0);
    add(to, "\0\5X.509", 7);
    add_uint(to, 4, (uint32_t)len);
    add(to, der, (size_t)len);
    OPENSSL_free(der);
}

static void add_entry(struct bytes *to, uint32_t tag, const char *alias)
{
    add_uint(to, 4, tag);
    add_uint(to, 2, (uint32_t)strlen(alias));
    add(to, alias, strlen(alias));
    add(to, "\0\0\1\x8f\0\0\0\7", 8);
}

static void digest(const uint8_t *data, size_t len, uint8_t out[SHA_DIGEST_LENGTH])
{
    static const char before[] = "\0c\0h\0a\0n\0g\0e\0i\0tMighty Aphrodite";
    struct bytes all = {0};

    add(&all, before, sizeof(before) - 1);
    add(&all, data, len);
    SHA1(all.data, all.len, out);
}

static void add_digest(struct bytes *to)
{
    uint8_t sha1[SHA_DIGEST_LENGTH];

    digest(to->data, to->len, sha1);
    add(to, sha1, sizeof(sha1));
}

/* What a merged file must hold, ours not counted; in this order. */
struct want {
    const char *alias;
    const struct made *made;
};

static void assert_entry(struct span *from, const char *alias, X509 *cert, uint64_t *created)
{
    struct span name = {0}, type = {0}, der = {0};
    uint32_t tag = 0, high = 0, low = 0;
    const unsigned char *at;
    X509 *got;

    assert_true(span_take_uint(from, 4, &tag));
    assert_int_equal(tag, 2);
    assert_true(span_take_vector(from, 2, &name));
    assert_true(span_equal(name, span_of_text(alias)));
    assert_true(span_take_uint(from, 4, &high) && span_take_uint(from, 4, &low));
    *created = (uint64_t)high << 32 | low;
    assert_true(span_take_vector(from, 2, &type) && span_take_vector(from, 4, &der));
    assert_true(span_equal(type, BYTES("X.509")));
    at = der.data;
    got = d2i_X509(NULL, &at, (long)der.len);
    assert_int_equal(X509_cmp(got, cert), 0);
    X509_free(got);
}

/* Reads the JKS at path, which ends with our root, and returns when the first entry was made. */
static uint64_t assert_holds(const char *path, const struct want *want, size_t len)
{
    CLEANUP(text_free) char *text = NULL;
    uint8_t sha1[SHA_DIGEST_LENGTH];
    uint64_t created, first = 0;
    struct span from, magic = {0};
    uint32_t version = 0, count = 0;
    size_t size;

    text = read_text(path, &size);
    assert_true(size > 12 + SHA_DIGEST_LENGTH);
    digest((uint8_t *)text, size - SHA_DIGEST_LENGTH, sha1);
    assert_memory_equal(text + size - SHA_DIGEST_LENGTH, sha1, SHA_DIGEST_LENGTH);
    from = span_of(text, size - SHA_DIGEST_LENGTH);
    assert_true(span_take(&from, 4, &magic) && span_take_uint(&from, 4, &version) &&
                span_take_uint(&from, 4, &count));
    assert_memory_equal(magic.data, "\xfe\xed\xfe\xed", 4);
    assert_int_equal(version, 2);
    assert_int_equal(count, len + 1);
    for (size_t i = 0; i < len; i++) {
        assert_entry(&from, want[i].alias, want[i].made->cert, &created);
        first = i == 0 ? created : first;
    }
    assert_entry(&from, "sallyport", root.cert, &created);
    assert_in_range(created / 1000, time(NULL) - 60, time(NULL));
    assert_int_equal(from.len, 0);
    return first;
}

static void merge(const char *merged, const char *original)
{
    struct err err = {0};

    if (cacerts_merge(merged, original, ours(root.cert), &err) < 0)
        fail_msg("%s", err.text);
    assert_same_access(merged, original);
}

/* What a verifier takes over from the truststore at path: want, however often, and no more. */
static void assert_adds(const char *path, const struct want *want, size_t len)
{
    CLEANUP(own_x509_store) X509_STORE *store = X509_STORE_new();
    CLEANUP(own_x509s) STACK_OF(X509) *all = NULL;
    struct err err = {0};
    bool wanted, found;

    if (cacerts_add(store, path, NULL, &err) < 0)
        fail_msg("%s", err.text);
    all = X509_STORE_get1_all_certs(store);
    for (int i = 0; i < sk_X509_num(all); i++) {
        wanted = false;
        for (size_t j = 0; j < len; j++)
            wanted |= X509_cmp(sk_X509_value(all, i), want[j].made->cert) == 0;
        assert_true(wanted);
    }
    for (size_t j = 0; j < len; j++) {
        found = false;
        for (int i = 0; i < sk_X509_num(all); i++)
            found |= X509_cmp(sk_X509_value(all, i), want[j].made->cert) == 0;
        assert_true(found);
    }
}

static void keeps_what_a_jks_trusts(void **state)
{
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    const struct want want[] = {{"debian:f\xc5\x91.pem", &one}, {"two", &two}, {"ours", &root}};
    const size_t theirs = ARRAY_SIZE(want) - 1;
    struct bytes jks = {0};

    add_head(&jks, 2, 5);
    add_entry(&jks, 2, want[0].alias);
    add_cert(&jks, one.cert);
    add_entry(&jks, 1, "a private key");
    add(&jks, "\0\0\0\4open\0\0\0\2", 12);
    add_cert(&jks, one.cert);
    add_cert(&jks, two.cert);
    add_entry(&jks, 2, "sallyport"); /* an earlier one of ours */
    add_cert(&jks, one.cert);
    add_entry(&jks, 2, "sallyport-1");
    add_cert(&jks, one.cert);
    add_entry(&jks, 2, want[1].alias);
    add_cert(&jks, two.cert);
    add_digest(&jks);
    write_bytes(original, jks.data, jks.len, 0600);
    merge(merged, original);
    assert_true(assert_holds(merged, want, theirs) == 0x18f00000007);
    assert_adds(original, want, theirs);
    assert_adds(merged, want, ARRAY_SIZE(want));
    merge(original, merged); /* onto the original too, and once more the same */
    assert_holds(original, want, theirs);
}

static void adds_all_but_a_broken_certificate(void **state)
{
    const char *original = at(*state, "cacerts");
    const struct want want[] = {{"two", &two}};
    struct bytes jks = {0};

    add_head(&jks, 2, 2);
    add_entry(&jks, 2, "broken");
    add(&jks, "\0\5X.509\0\0\0\4oops", 15);
    add_entry(&jks, 2, "two");
    add_cert(&jks, two.cert);
    add_digest(&jks);
    write_bytes(original, jks.data, jks.len, 0644);
    assert_adds(original, want, ARRAY_SIZE(want));
}

static void takes_a_jks_under_any_password(void **state)
{
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    const struct want want[] = {{"one", &one}};
    struct bytes jks = {0};

    add_head(&jks, 2, 1);
    add_entry(&jks, 2, "one");
    add_cert(&jks, one.cert);
    add(&jks, "digest by another pw", SHA_DIGEST_LENGTH);
    write_bytes(original, jks.data, jks.len, 0644);
    merge(merged, original);
    assert_holds(merged, want, ARRAY_SIZE(want));
}

static void refuses_a_jks_cut_anywhere(void **state)
{
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    struct bytes jks = {0};

    add_head(&jks, 2, 2);
    add_entry(&jks, 1, "a private key");
    add(&jks, "\0\0\0\4open\0\0\0\1", 12);
    add_cert(&jks, one.cert);
    add_entry(&jks, 2, "two");
    add_cert(&jks, two.cert);
    add_digest(&jks);
    for (size_t len = 0; len < jks.len; len++) {
        struct err err = {0};

        write_bytes(original, jks.data, len, 0644);
        assert_int_equal(cacerts_merge(merged, original, ours(root.cert), &err), -EINVAL);
        assert_non_null(strstr(err.text, "/cacerts"));
        assert_int_equal(access(merged, F_OK), -1);
    }
    add(&jks, "", 1);
    write_bytes(original, jks.data, jks.len, 0644);
    assert_int_equal(cacerts_merge(merged, original, ours(root.cert), NULL), -EINVAL);
}

static void refuses_what_is_no_truststore(void **state)
{
    static const struct {
        const char *name;
        struct span bytes;
        const char *says;
    } cases[] = {
        {"an empty file", BYTES(""), "neither a JKS nor a PKCS #12"},
        {"text", BYTES("hello, world"), "neither a JKS nor a PKCS #12"},
        {"version 1",
         BYTES("\xfe\xed\xfe\xed\0\0\0\1\0\0\0\0"
               "01234567890123456789"),
         "version"},
        {"an entry of an unknown kind",
         BYTES("\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\3\0\1a"
               "01234567"
               "01234567890123456789"),
         "entry 1"},
        {"more certificates than bytes",
         BYTES("\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\1\0\1a"
               "01234567\0\0\0\0\xff\xff\xff\xff"
               "01234567890123456789"),
         "entry 1"},
        {"more entries than bytes",
         BYTES("\xfe\xed\xfe\xed\0\0\0\2\xff\xff\xff\xff"
               "01234567890123456789"),
         "entry 1"},
        {"a certificate of another type",
         BYTES("\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\2\0\1a"
               "01234567\0\3PGP\0\0\0\1x"
               "01234567890123456789"),
         "entry 1"},
    };
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    CLEANUP(own_x509_store) X509_STORE *store = X509_STORE_new();
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        write_bytes(original, cases[i].bytes.data, cases[i].bytes.len, 0644);
        assert_int_equal(cacerts_merge(merged, original, ours(root.cert), &err), -EINVAL);
        assert_non_null(strstr(err.text, cases[i].says));
        assert_non_null(strstr(err.text, original));
        assert_int_equal(access(merged, F_OK), -1);
        err.text[0] = 0;
        assert_int_equal(cacerts_add(store, original, NULL, &err), -EINVAL);
        assert_non_null(strstr(err.text, cases[i].says));
    }
    assert_int_equal(remove(original), 0);
    assert_int_equal(cacerts_merge(merged, original, ours(root.cert), &err), -ENOENT);
    assert_int_equal(cacerts_add(store, original, NULL, &err), -ENOENT);
}

/* A PKCS #12 file as Java makes it. cipher: -1 for none; password NULL: no MAC either. */
static void write_pkcs12(const char *path, int cipher, const char *password)
{
    static const struct {
        struct span alias; /* UTF-16; empty: none */
        const struct made *made;
        bool trusted;
    } entries[] = {
        {BYTES("\0O\0n\0e"), &one, true},
        {BYTES("\0F\1\x51\xd8\x3d\xdd\x11"), &two, true}, /* the last one takes two units */
        {{0}, &one, true},
        {BYTES("\0c\0h\0a\0i\0n"), &two, false},
    };
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12 *store;
    FILE *file = fopen(path, "w");

    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        PKCS12_SAFEBAG *bag = PKCS12_add_cert(&bags, entries[i].made->cert);

        assert_non_null(bag);
        if (entries[i].alias.len)
            assert_true(
                PKCS12_add_friendlyname_uni(bag, entries[i].alias.data, (int)entries[i].alias.len));
        if (entries[i].trusted)
            assert_true(PKCS12_add1_attr_by_txt(bag, TRUSTED_BY_JAVA, MBSTRING_ASC,
                                                (const unsigned char *)"any", -1));
    }
    assert_true(PKCS12_add_safe(&safes, bags, cipher, 1000, password));
    store = PKCS12_add_safes(safes, 0);
    assert_non_null(store);
    if (password)
        assert_true(PKCS12_set_mac(store, password, -1, NULL, 0, 1000, NULL));
    assert_true(i2d_PKCS12_fp(file, store));
    fclose(file);
    PKCS12_free(store);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

static void keeps_what_a_pkcs12_trusts(void **state)
{
    static const struct {
        const char *name;
        int cipher;
        const char *password;
    } cases[] = {
        {"encrypted, as keytool does", NID_aes_256_cbc, "changeit"},
        {"plain with a MAC", -1, "changeit"},
        {"plain without a password, as Java brings it since 18", -1, NULL},
    };
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    /* Modified UTF-8: the pair of surrogates stands for itself. */
    const struct want want[] = {
        {"one", &one}, {"f\xc5\x91\xed\xa0\xbd\xed\xb4\x91", &two}, {"unnamed-2", &one}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        write_pkcs12(original, cases[i].cipher, cases[i].password);
        merge(merged, original);
        assert_holds(merged, want, ARRAY_SIZE(want));
        assert_adds(original, want, ARRAY_SIZE(want));
    }
}

static void refuses_a_pkcs12_under_another_password(void **state)
{
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    struct err err = {0};

    write_pkcs12(original, NID_aes_256_cbc, "secret");
    assert_int_equal(cacerts_merge(merged, original, ours(root.cert), &err), -EACCES);
    assert_non_null(strstr(err.text, original));
    assert_int_equal(access(merged, F_OK), -1);
}

static void survives_a_pkcs12_with_any_byte_wrong(void **state)
{
    const char *original = at(*state, "cacerts"), *merged = at(*state, "merged");
    CLEANUP(text_free) char *text = NULL;
    size_t len, refused = 0;

    write_pkcs12(original, -1, NULL);
    text = read_text(original, &len);
    for (size_t i = 0; i < len; i++) {
        text[i] ^= 0x41;
        write_bytes(original, text, len, 0644);
        refused += cacerts_merge(merged, original, ours(root.cert), NULL) < 0;
        text[i] ^= 0x41;
    }
    assert_true(refused > 0 && refused < len); /* some bytes are only a name or a signature */
}

/* The command's standard output and error, up to size; false unless it succeeded. */
PRINTF_LIKE(3, 4) static bool run(char *out, size_t size, const char *format, ...)
{
    char command[1024];
    va_list args;
    FILE *pipe;
    size_t len;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    len = fread(out, 1, size - 1, pipe);
    out[len] = 0;
    return pclose(pipe) == 0;
}

static void java_reads_what_we_write(void **state)
{
    static const struct {
        const char *name, *options;
    } cases[] = {
        {"JKS", "-storetype JKS"},
        {"PKCS #12", "-storetype PKCS12"},
        {"PKCS #12 without a password", "-storetype PKCS12 -J-Dkeystore.pkcs12.macAlgorithm=NONE "
                                        "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE"},
    };
    char out[8192];

    if (!run(out, sizeof(out), "command -v keytool"))
        skip();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *dir = make_empty_dir(state);

        print_message("  %s\n", cases[i].name);
        write_cert(at(dir, "one.pem"), one.cert);
        if (!run(out, sizeof(out),
                 "cd %s && keytool -importcert -noprompt -alias One -file one.pem -keystore "
                 "cacerts -storepass changeit %s 2>&1",
                 dir, cases[i].options))
            fail_msg("%s", out);
        merge(at(dir, "merged"), at(dir, "cacerts"));
        if (!run(out, sizeof(out), "keytool -list -keystore %s -storepass changeit 2>&1",
                 at(dir, "merged")))
            fail_msg("%s", out);
        assert_non_null(strstr(out, "contains 2 entries"));
        assert_non_null(strstr(out, "one, "));
        assert_non_null(strstr(out, "sallyport, "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_a_jks_trusts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(adds_all_but_a_broken_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_a_jks_under_any_password, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_a_jks_cut_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_truststore, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_what_a_pkcs12_trusts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_a_pkcs12_under_another_password, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_pkcs12_with_any_byte_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(java_reads_what_we_write, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
