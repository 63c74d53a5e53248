#include "proxy/kernel/ktls_conf.h"

#include <errno.h>
#include <limits.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>

#include "certs/own.h"

static void own_conf(CONF **conf)
{
    NCONF_free(*conf);
}

static int load(CONF **out, struct span text, struct err *err)
{
    CLEANUP(own_bio) BIO *bio = NULL;
    CLEANUP(own_conf) CONF *conf = NCONF_new(NULL);
    const char *why;
    long line = 0;

    if (text.len > INT_MAX)
        return err_set(err, -EFBIG, "too large");
    bio = BIO_new_mem_buf(text.len ? (const void *)text.data : "", (int)text.len);
    ERR_clear_error();
    if (!conf || !bio)
        return err_set(err, -ENOMEM, "an OpenSSL configuration");
    if (NCONF_load_bio(conf, bio, &line) <= 0) {
        why = ERR_reason_error_string(ERR_peek_error());
        err_set(err, -EINVAL, "line %ld: %s", line, why ? why : "OpenSSL cannot read it");
        ERR_clear_error();
        return -EINVAL;
    }
    *out = TAKE(conf);
    return 0;
}

/* ---- what it says ---- */

/* Where the words are that count, as far as there are such: each is the value of a name in the
 * section before. */
struct chain {
    const char *init;   /* of openssl_conf, which is in no section */
    const char *ssl;    /* of ssl_conf in that */
    const char *system; /* of system_default in that */
    bool asks;          /* the last of its Options that speaks of KTLS asks for it */
};

/* A module's name may have something behind a dot, so that it can be there twice; the last one is
 * in force. */
static bool is_ssl_module(const char *name)
{
    static const char module[] = "ssl_conf";
    const char *dot = strrchr(name, '.');

    return strlen(module) == (dot ? (size_t)(dot - name) : strlen(name)) &&
           strncmp(name, module, sizeof(module) - 1) == 0;
}

/* ... a command's something before one. */
static bool is_options(const char *name)
{
    const char *dot = strchr(name, '.');

    return strcasecmp(dot ? dot + 1 : name, "Options") == 0;
}

/* "KTLS", "-KTLS, NoTicket": the last word about it counts. An item that OpenSSL does not take ends
 * the list, and which it takes depends on who reads it: so only by itself it is sure to be heard.
 */
static void read_options(const char *list, bool *asks)
{
    static const char word[] = "ktls";

    for (bool first = true;; first = false) {
        size_t len;
        char sign;

        list += strspn(list, " \t");
        sign = *list == '-' || *list == '+' ? *list++ : '+';
        len = strcspn(list, " \t,");
        if (len == sizeof(word) - 1 && strncasecmp(list, word, len) == 0)
            *asks = sign == '+' && (*asks || first);
        list += strcspn(list, ",");
        if (!*list++)
            return;
    }
}

static const char *find_ssl(const STACK_OF(CONF_VALUE) *section)
{
    const char *found = NULL;

    for (int i = 0; i < sk_CONF_VALUE_num(section); i++)
        if (is_ssl_module(sk_CONF_VALUE_value(section, i)->name))
            found = sk_CONF_VALUE_value(section, i)->value;
    return found;
}

static const char *find_system(const STACK_OF(CONF_VALUE) *section)
{
    for (int i = 0; i < sk_CONF_VALUE_num(section); i++)
        if (strcmp(sk_CONF_VALUE_value(section, i)->name, "system_default") == 0)
            return sk_CONF_VALUE_value(section, i)->value;
    return NULL;
}

static void read_chain(const CONF *conf, struct chain *out)
{
    const STACK_OF(CONF_VALUE) *section;

    *out = (struct chain){.init = NCONF_get_string(conf, NULL, "openssl_conf")};
    section = out->init ? NCONF_get_section(conf, out->init) : NULL;
    out->ssl = section ? find_ssl(section) : NULL;
    section = out->ssl ? NCONF_get_section(conf, out->ssl) : NULL;
    out->system = section ? find_system(section) : NULL;
    section = out->system ? NCONF_get_section(conf, out->system) : NULL;
    for (int i = 0; i < sk_CONF_VALUE_num(section); i++)
        if (is_options(sk_CONF_VALUE_value(section, i)->name))
            read_options(sk_CONF_VALUE_value(section, i)->value, &out->asks);
    ERR_clear_error(); /* of what is not there */
}

/* ---- what is added ---- */

#define INIT   "sallyport_init"
#define SSL    "sallyport_ssl"
#define SYSTEM "sallyport_system_default"

static void add(struct buffer *out, const char *section, const char *name, const char *value)
{
    buffer_format(out, "[ %s ]\n%s = %s\n", section, name, value);
}

/* A section may be opened again, to add to it. */
static void append(struct buffer *out, struct span conf, const struct chain *chain)
{
    buffer_append(out, conf.data, conf.len);
    /* two: the last line may be one that goes on in the next */
    buffer_text(out, "\n\n# by Sallyport, for kTLS: as above, and\n");
    if (!chain->init)
        add(out, "default", "openssl_conf", INIT);
    if (!chain->ssl)
        add(out, chain->init ? chain->init : INIT, "ssl_conf", SSL);
    if (!chain->system)
        add(out, chain->ssl ? chain->ssl : SSL, "system_default", SYSTEM);
    /* of another name than Options, which would take the place of those that are there */
    add(out, chain->system ? chain->system : SYSTEM, "sallyport.Options", "KTLS");
}

int ktls_conf_make(struct buffer *out, struct span conf, struct err *err)
{
    CLEANUP(own_conf) CONF *before = NULL, *after = NULL;
    struct chain chain, made;
    int result = load(&before, conf, err);

    if (result < 0)
        return result;
    read_chain(before, &chain);
    if (chain.asks)
        return KTLS_CONF_ASKS;
    append(out, conf, &chain);
    if (out->failed)
        return err_set(err, -ENOMEM, "an OpenSSL configuration");
    result = load(&after, span_of(out->data, out->len), err);
    if (result < 0)
        return result;
    read_chain(after, &made);
    return made.asks ? KTLS_CONF_MADE
                     : err_set(err, -EINVAL, "its sections have names that cannot be added to");
}
