#include "proxy/overlay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/cacerts.h"
#include "certs/file.h"
#include "certs/own.h"
#include "certs/trust.h"
#include "proxy/kernel/ktls_conf.h"

/* Java keeps its own: Debian's path, then where JDKs of other makers have it. */
static const char *const java_stores[] = {
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/etc/pki/java/cacerts",
    NULL,
};

/* Directories that OpenSSL searches by subject hash where a file does not have the root. */
static const char *const hashed_dirs[] = {"/etc/ssl/certs", "/etc/pki/tls/certs", NULL};

/* Where builds of OpenSSL look for their configuration: Debian's, Fedora's, its own. */
static const char *const openssl_confs[] = {
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/local/ssl/openssl.cnf",
    NULL,
};

/* ---- which places matter ---- */

static void add_place(struct overlay_places *to, struct span path, enum overlay_kind kind)
{
    if (path.len && to->len < OVERLAY_PLACES_MAX)
        to->all[to->len++] = (struct overlay_place){.path = path, .kind = kind};
}

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names;
}

static void add_variable(struct overlay_places *to, const char *name, const char *value)
{
    static const char *const dirs[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE", NULL};
    static const char *const adds[] = {"NODE_EXTRA_CA_CERTS", "DENO_CERT", NULL};

    if (to->len == OVERLAY_PLACES_MAX)
        return;
    to->all[to->len++] = (struct overlay_place){.path = span_of_text(value),
                                                .kind = OVERLAY_PEM,
                                                .dirs = is_one_of(name, dirs),
                                                .adds = is_one_of(name, adds)};
}

static void add_places(struct overlay_places *to, const char *const *paths, enum overlay_kind kind)
{
    for (size_t i = 0; paths[i]; i++)
        add_place(to, span_of_text(paths[i]), kind);
}

/* Colons between, as in PATH. */
static void add_list(struct overlay_places *to, const char *list)
{
    for (;;) {
        size_t len = strcspn(list, ":");

        add_place(to, span_of(list, len), OVERLAY_DIR);
        if (!list[len])
            return;
        list += len + 1;
    }
}

static bool is_set(const char *value)
{
    return value && *value;
}

void overlay_choose(struct overlay_places *out, char *(*look_up)(const char *name))
{
    const char *dirs = look_up("SSL_CERT_DIR"), *home = look_up("JAVA_HOME");
    size_t bundles;

    out->len = 0;
    add_places(out, java_stores, OVERLAY_JAVA);
    if (is_set(home) && snprintf(out->java_home, sizeof(out->java_home), "%s/lib/security/cacerts",
                                 home) < (int)sizeof(out->java_home))
        add_place(out, span_of_text(out->java_home), OVERLAY_JAVA);
    bundles = out->len;
    add_places(out, trust_bundles, OVERLAY_PEM);
    while (bundles < out->len)
        out->all[bundles++].dirs = true;
    for (size_t i = 0; trust_variables[i]; i++) {
        const char *value = look_up(trust_variables[i]);

        if (is_set(value))
            add_variable(out, trust_variables[i], value);
    }
    if (is_set(dirs))
        add_list(out, dirs);
    else
        add_places(out, hashed_dirs, OVERLAY_DIR);
}

/* ---- which of them there are ---- */

static bool is_regular(const char *path)
{
    struct stat stat_;

    return stat(path, &stat_) == 0 && S_ISREG(stat_.st_mode);
}

/* One file may stand under several names: whoever reads it under one of them trusts it. */
static void add_file(struct overlay *overlay, const char *path, const struct overlay_place *place)
{
    struct overlay_file *file = &overlay->files[overlay->len];

    if (overlay->len == OVERLAY_MAX || !realpath(path, file->path) || !is_regular(file->path))
        return;
    file->kind = place->kind;
    file->dirs = false;
    file->adds = true;
    for (size_t i = 0; i < overlay->len; i++)
        if (strcmp(overlay->files[i].path, file->path) == 0) {
            file = &overlay->files[i];
            break;
        }
    if (file == &overlay->files[overlay->len])
        overlay->len++;
    file->dirs |= place->dirs;
    file->adds &= place->adds; /* whoever has no other roots must not get more */
}

static void add_dir(struct overlay *overlay, const char *path)
{
    struct stat stat_;

    if (overlay->dirs_len < OVERLAY_MAX && stat(path, &stat_) == 0 && S_ISDIR(stat_.st_mode))
        snprintf(overlay->dirs[overlay->dirs_len++], sizeof(overlay->dirs[0]), "%s", path);
}

void overlay_find(struct overlay *overlay)
{
    const char *cert_file = getenv("SSL_CERT_FILE");
    struct overlay_places places;
    char path[PATH_MAX];

    overlay_choose(&places, getenv);
    overlay->len = overlay->dirs_len = 0;
    overlay->no_conf = false;
    overlay->no_cert_file = is_set(cert_file) && !is_regular(cert_file);
    for (size_t i = 0; i < places.len; i++) {
        const struct overlay_place *place = &places.all[i];

        if (!span_to_text(place->path, path, sizeof(path)))
            continue;
        if (place->kind == OVERLAY_DIR)
            add_dir(overlay, path);
        else
            add_file(overlay, path, place);
    }
}

void overlay_find_ktls(struct overlay *overlay)
{
    static const struct overlay_place place = {.kind = OVERLAY_OPENSSL, .adds = true};
    const char *named = getenv("OPENSSL_CONF");
    size_t before = overlay->len;

    if (is_set(named))
        add_file(overlay, named, &place);
    overlay->no_conf = is_set(named) && overlay->len == before;
    for (size_t i = 0; openssl_confs[i]; i++)
        add_file(overlay, openssl_confs[i], &place);
    overlay->no_conf |= overlay->len == before;
}

/* ---- what is done with them ---- */

int overlay_roots(const struct overlay *overlay, const char *extra, struct known *known,
                  X509_STORE **out, struct err *err)
{
    const char *paths[2 * OVERLAY_MAX + 1];
    bool required[2 * OVERLAY_MAX + 1] = {false};
    size_t len = 0;
    int result;

    for (size_t i = 0; i < overlay->len; i++)
        if (overlay->files[i].kind == OVERLAY_PEM)
            paths[len++] = overlay->files[i].path;
    for (size_t i = 0; i < overlay->dirs_len; i++)
        paths[len++] = overlay->dirs[i];
    if (extra) {
        required[len] = true;
        paths[len++] = extra;
    }
    result = trust_roots_new(out, paths, required, len, known, err);
    for (size_t i = 0; result == 0 && i < overlay->len; i++)
        if (overlay->files[i].kind == OVERLAY_JAVA)
            cacerts_add(*out, overlay->files[i].path, known, NULL); /* skipped, as a bundle */
    return result;
}

static int trust_of(const struct overlay *overlay, const struct overlay_file *file,
                    const char *extra, struct known *known, X509_STORE **out, struct err *err)
{
    const char *paths[OVERLAY_MAX + 2];
    const bool required[OVERLAY_MAX + 2] = {false};
    size_t len = 0;
    int result;

    if (file->kind == OVERLAY_PEM)
        paths[len++] = file->path;
    for (size_t i = 0; file->dirs && i < overlay->dirs_len; i++)
        paths[len++] = overlay->dirs[i];
    if (extra)
        paths[len++] = extra;
    result = trust_roots_new(out, paths, required, len, known, err);
    if (result == 0 && file->kind == OVERLAY_JAVA)
        cacerts_add(*out, file->path, known, NULL);
    return result;
}

/* The number of the store that is, or becomes, the same as *trust, which is kept or freed. */
static size_t file_under(X509_STORE *out[ANCHORS_MAX], size_t *len, X509_STORE **trust)
{
    size_t at = 0;

    while (at < *len && !trust_same(out[at], *trust))
        at++;
    if (at < ANCHORS_MAX && at == *len) {
        out[(*len)++] = TAKE(*trust);
        return at;
    }
    if (at == ANCHORS_MAX)
        trust_join(out[--at], *trust);
    return at;
}

int overlay_trust(struct overlay *overlay, const char *extra, struct known *known,
                  X509_STORE *out[ANCHORS_MAX], size_t *len, struct err *err)
{
    const struct overlay_file none = {.kind = OVERLAY_DIR, .dirs = true};
    int result = 0;

    *len = 0;
    overlay->cert_file_trust = ANCHORS_ANY;
    for (size_t i = 0; result == 0 && i <= overlay->len; i++) {
        bool last = i == overlay->len; /* what SSL_CERT_FILE names, though it is not there */
        const struct overlay_file *file = last ? &none : &overlay->files[i];
        CLEANUP(own_x509_store) X509_STORE *trust = NULL;

        if (!last)
            overlay->files[i].trust = ANCHORS_ANY;
        if (last ? !overlay->no_cert_file : file->adds)
            continue;
        result = trust_of(overlay, file, extra, known, &trust, err);
        if (result == 0)
            *(last ? &overlay->cert_file_trust : &overlay->files[i].trust) =
                file_under(out, len, &trust);
    }
    while (result < 0 && *len)
        X509_STORE_free(out[--*len]);
    return result;
}

/* What is wrong with one, nobody needs to hear from us but who asked for kTLS. */
static int write_conf(struct overlay_file *file, struct err *err)
{
    CLEANUP(buffer_fini) struct buffer made = {0};
    CLEANUP(file_free) struct file original = {0};
    struct err why = {0};
    int result = file_read(&original, file->path, &why);

    if (result == 0)
        result = ktls_conf_make(&made, span_of(original.data, original.len), &why);
    if (result < 0)
        log_warn("%s stays as it is, so that who reads it does not use kTLS: %s", file->path,
                 why.text);
    if (result != KTLS_CONF_MADE) {
        file->with[0] = 0;
        return 0;
    }
    return file_replace(file->with, span_of(made.data, made.len), &original, err);
}

int overlay_write(struct overlay *overlay, const char *dir, const struct anchors_shown *shown,
                  struct err *err)
{
    int result = 0;

    for (size_t i = 0; result == 0 && i < overlay->len; i++) {
        struct overlay_file *file = &overlay->files[i];
        const STACK_OF(X509) *roots = shown->roots[file->trust];

        snprintf(file->with, sizeof(file->with), "%s/%zu", dir, i);
        if (file->kind == OVERLAY_OPENSSL)
            result = write_conf(file, err);
        else if (file->kind == OVERLAY_JAVA)
            result = cacerts_merge(file->with, file->path, roots, err);
        else
            result = trust_merge(file->with, file->path, roots, err);
    }
    return result;
}
