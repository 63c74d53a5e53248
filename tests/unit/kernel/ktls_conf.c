/* ktls_conf: whatever an OpenSSL configuration says stays, and KTLS is among its options. What a
 * program makes of it is asked of OpenSSL itself. */
#include "proxy/kernel/ktls_conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/conf.h>
#include <openssl/ssl.h>

#define DEBIAN                                                                                     \
    "openssl_conf = openssl_init\n[openssl_init]\nproviders = provider_sect\n"                     \
    "[provider_sect]\ndefault = default_sect\n[default_sect]\nactivate = 1\n"
#define CHAIN "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"

static const struct {
    const char *name, *conf;
    bool asks;
    const char *ciphers; /* a program has but these for TLS 1.2; NULL: whatever */
    int version_min;     /* ... and this; 0: whatever */
} cases[] = {
    {"nothing", "", false, NULL, 0},
    {"comments alone", "# a\n# b", false, NULL, 0},
    {"Debian's", DEBIAN, false, NULL, 0},
    {"without a line's end", "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c", false,
     NULL, 0},
    {"a last line that goes on", CHAIN "MinProtocol = TLSv1.3 \\", false, NULL, TLS1_3_VERSION},
    {"options of other kinds",
     CHAIN "MinProtocol = TLSv1.3\nCipherString = ECDHE-RSA-AES128-GCM-SHA256\n", false,
     "ECDHE-RSA-AES128-GCM-SHA256", TLS1_3_VERSION},
    {"other options", CHAIN "Options = NoTicket, -SessionTicket\n", false, NULL, 0},
    {"asks already", CHAIN "Options = KTLS\n", true, NULL, 0},
    {"... before others", CHAIN "Options = KTLS , NoTicket\n", true, NULL, 0},
    {"... behind what a client does not take", CHAIN "Options = ServerPreference,KTLS\n", false,
     NULL, 0},
    {"... in small letters, by another name", CHAIN "x.options = ktls\n", true, NULL, 0},
    {"... and takes it back", CHAIN "Options = KTLS, -KTLS\n", false, NULL, 0},
    {"turns it off", CHAIN "Options = -KTLS\n", false, NULL, 0},
    {"a section that is not there", "openssl_conf = nowhere\n", false, NULL, 0},
    {"another server's section alone",
     "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nserver = c\n[c]\nOptions = KTLS\n", false, NULL, 0},
    {"the module twice",
     "openssl_conf = a\n[a]\nssl_conf.1 = x\nssl_conf.2 = b\n[b]\nsystem_default = c\n"
     "[c]\nMinProtocol = TLSv1.3\n[x]\nsystem_default = y\n[y]\nOptions = KTLS\n",
     false, NULL, TLS1_3_VERSION},
    {"by a variable",
     "name = c\nopenssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = $default::name\n[c]\n"
     "MinProtocol = TLSv1.3\n",
     false, NULL, TLS1_3_VERSION},
    {"with .pragma",
     ".pragma dollarid:true\nopenssl_conf = a$b\n[a$b]\nssl_conf = b\n[b]\nsystem_default = c\n"
     "[c]\nMinProtocol = TLSv1.3\n",
     false, NULL, TLS1_3_VERSION},
    {"quoted, with a comment",
     "openssl_conf = 'a' # x\n[ a ]\nssl_conf = \"b\"\n[b]\nsystem_default = c\n[c]\n"
     "MinProtocol = TLSv1.3\n",
     false, NULL, TLS1_3_VERSION},
    {"a mark of UTF-8 before it", "\xef\xbb\xbf" CHAIN "MinProtocol = TLSv1.3\n", false, NULL,
     TLS1_3_VERSION},
    {"names of other sections",
     "a::ssl_conf = b\nopenssl_conf = a\nb::system_default = c\n[c]\nMinProtocol = TLSv1.3\n",
     false, NULL, TLS1_3_VERSION},
    {"names like ours",
     "openssl_conf = sallyport_init\n[sallyport_init]\nssl_conf = sallyport_ssl\n"
     "[sallyport_ssl]\nsystem_default = "
     "sallyport_system_default\n[sallyport_system_default]\nMinProtocol = TLSv1.3\n",
     false, NULL, TLS1_3_VERSION},
};

/* A program of its own: what OpenSSL has read once it keeps. Exit status 0: all is as wanted. */
static int behave(const char *path, const char *ciphers, int version_min)
{
    SSL_CTX *ctx;

    if (CONF_modules_load_file(path, NULL, CONF_MFLAGS_DEFAULT_SECTION) != 1)
        return 1;
    ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || !(SSL_CTX_get_options(ctx) & SSL_OP_ENABLE_KTLS))
        return 2;
    if (version_min && SSL_CTX_get_min_proto_version(ctx) != version_min)
        return 3;
    if (ciphers) {
        STACK_OF(SSL_CIPHER) *list = SSL_CTX_get_ciphers(ctx);
        const SSL_CIPHER *last = sk_SSL_CIPHER_value(list, sk_SSL_CIPHER_num(list) - 1);

        if (strcmp(SSL_CIPHER_get_name(last), ciphers) != 0)
            return 4;
    }
    SSL_CTX_free(ctx);
    return 0;
}

static int behave_apart(struct span conf, const char *ciphers, int version_min)
{
    char path[] = "/tmp/ktls_conf.XXXXXX";
    int fd = mkstemp(path), status;
    pid_t pid;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, conf.data, conf.len), conf.len);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(behave(path, ciphers, version_min));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unlink(path);
    close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void adds_the_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer made = {0};
        struct span conf = span_of_text(cases[i].conf);
        struct err err = {0};
        int result = ktls_conf_make(&made, conf, &err);

        print_message("  %s\n", cases[i].name);
        if (result < 0)
            fail_msg("%s", err.text);
        assert_int_equal(result, cases[i].asks ? KTLS_CONF_ASKS : KTLS_CONF_MADE);
        if (cases[i].asks) {
            assert_int_equal(made.len, 0);
            assert_int_equal(behave_apart(conf, cases[i].ciphers, cases[i].version_min), 0);
            continue;
        }
        assert_true(made.len > conf.len && memcmp(made.data, conf.data, conf.len) == 0);
        assert_int_equal(
            behave_apart(span_of(made.data, made.len), cases[i].ciphers, cases[i].version_min), 0);
    }
}

static void leaves_alone_what_is_broken(void **state)
{
    static const struct {
        const char *conf, *why;
    } broken[] = {
        {"openssl_conf\n", "line 1: missing equal sign"},
        {"a = b\n[c\n", "line 2: missing close square bracket"},
        {"a = $nothing::here\n", "line 1: variable has no value"},
        {".pragma what:ever\n.pragma\n", "line 2"},
        {"openssl_conf = '['\n", "line 5"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        CLEANUP(buffer_fini) struct buffer made = {0};
        struct err err = {0};

        assert_true(ktls_conf_make(&made, span_of_text(broken[i].conf), &err) < 0);
        if (strncmp(err.text, broken[i].why, strlen(broken[i].why)) != 0)
            fail_msg("%s: %s", broken[i].conf, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_the_option),
        cmocka_unit_test(leaves_alone_what_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
