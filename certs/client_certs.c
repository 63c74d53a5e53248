#include "certs/client_certs.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "certs/err_tls.h"
#include "certs/file_set.h"
#include "certs/mint.h"
#include "certs/own.h"
#include "certs/pem.h"

enum { CLIENT_CERTS_MAX = 4096 };

struct client_certs {
    struct client_cert *list; /* by name */
    const char **names;       /* the same names, as client_certs_choose() wants them */
    size_t len, room;
};

/* ---- choosing ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int find(const char *const *names, size_t len, const char *name)
{
    const char *const *found = bsearch(&name, names, len, sizeof(*names), by_text);

    return found ? (int)(found - names) : -1;
}

static bool is_address(const char *name)
{
    unsigned char ip[16];

    return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

int client_certs_choose(const char *const *names, size_t len, const char *server)
{
    char name[MINT_NAME_SIZE], suffix[MINT_NAME_SIZE + 2];
    int found;

    if (!len || !mint_name_spell(server, name))
        return -1;
    found = find(names, len, name);
    if (found >= 0 || is_address(name))
        return found;
    for (const char *dot = strchr(name, '.'); found < 0 && dot; dot = strchr(dot + 1, '.')) {
        snprintf(suffix, sizeof(suffix), "*%s", dot);
        found = find(names, len, suffix);
    }
    return found;
}

const struct client_cert *client_certs_find(const struct client_certs *certs, const char *server)
{
    int found = certs ? client_certs_choose(certs->names, certs->len, server) : -1;

    return found < 0 ? NULL : &certs->list[found];
}

/* ---- loading ---- */

void client_cert_fini(struct client_cert *cert)
{
    free(cert->name);
    X509_free(cert->cert);
    EVP_PKEY_free(cert->key);
    sk_X509_pop_free(cert->chain, X509_free);
    *cert = (struct client_cert){0};
}

void client_certs_free(struct client_certs **certs)
{
    struct client_certs *gone = TAKE(*certs);

    if (!gone)
        return;
    for (size_t i = 0; i < gone->len; i++)
        client_cert_fini(&gone->list[i]);
    free(gone->list);
    free(gone->names);
    free(gone);
}

struct pair {
    struct client_cert cert;
    char cert_path[PATH_MAX], key_path[PATH_MAX];
};

static void pair_fini(struct pair *pair)
{
    client_cert_fini(&pair->cert);
}

static int read_pair(void *arg, const char *dir, const char *version, struct err *err)
{
    struct pair *pair = arg;
    struct client_cert *cert = &pair->cert;
    int rc;

    (void)dir, (void)version;
    client_cert_fini(cert);
    cert->chain = sk_X509_new_null();
    if (!cert->chain)
        return err_set(err, -ENOMEM, "cannot read %s", pair->cert_path);
    rc = pem_read_whole(cert->chain, pair->cert_path, err);
    if (rc < 0)
        return rc;
    cert->cert = sk_X509_shift(cert->chain);
    return pem_read_key(&cert->key, cert->cert, pair->key_path, pair->cert_path, err);
}

int client_cert_load(struct client_cert *out, const char *path, struct err *err)
{
    CLEANUP(pair_fini) struct pair pair = {0};
    struct stat st;
    bool is_dir;
    int rc;

    if (stat(path, &st) < 0)
        return err_sys(err, -errno, "cannot read %s", path);
    is_dir = S_ISDIR(st.st_mode);
    if (snprintf(pair.cert_path, PATH_MAX, "%s%s", path, is_dir ? "/tls.crt" : "") >= PATH_MAX ||
        snprintf(pair.key_path, PATH_MAX, "%s%s", path, is_dir ? "/tls.key" : "") >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "%.200s: name too long", path);
    rc = is_dir ? file_set_read(path, read_pair, &pair, err) : read_pair(&pair, path, "", err);
    if (rc < 0)
        return rc;
    pair.cert.name = strdup(path);
    if (!pair.cert.name)
        return err_set(err, -ENOMEM, "cannot keep %s", path);
    *out = pair.cert;
    pair.cert = (struct client_cert){0};
    return 0;
}

/* "*.Example.com" -> "*.example.com"; NULL: nothing that a server could be called. */
static char *spell(const char *name)
{
    const char *rest = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
    char spelled[MINT_NAME_SIZE], *out = NULL;

    if (!mint_name_spell(rest, spelled) || (rest != name && is_address(spelled)) ||
        asprintf(&out, "%s%s", rest == name ? "" : "*.", spelled) < 0)
        return NULL;
    return out;
}

static int keep(struct client_certs *certs, struct client_cert *cert, const char *path,
                struct err *err)
{
    if (certs->len == certs->room) {
        size_t room = certs->room ? 2 * certs->room : 16;
        struct client_cert *list = reallocarray(certs->list, room, sizeof(*list));

        if (!list)
            return err_set(err, -ENOMEM, "cannot keep %s", path);
        certs->list = list;
        certs->room = room;
    }
    if (certs->len == CLIENT_CERTS_MAX)
        return err_set(err, -E2BIG, "%s is one certificate too many: there is room for %d", path,
                       CLIENT_CERTS_MAX);
    certs->list[certs->len++] = *cert;
    *cert = (struct client_cert){0};
    return 0;
}

static bool cut(char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);

    if (len <= end_len || strcmp(name + len - end_len, end) != 0)
        return false;
    name[len - end_len] = 0;
    return true;
}

static bool name_pair(struct pair *pair, const char *dir, const char *name, bool is_dir)
{
    const char *between = is_dir ? "/tls" : "";

    return snprintf(pair->cert_path, PATH_MAX, "%s/%s%s.crt", dir, name, between) < PATH_MAX &&
           snprintf(pair->key_path, PATH_MAX, "%s/%s%s.key", dir, name, between) < PATH_MAX;
}

static int load_entry(struct client_certs *certs, const char *dir, const char *entry,
                      struct err *err)
{
    CLEANUP(pair_fini) struct pair pair = {0};
    char path[PATH_MAX], name[NAME_MAX + 1];
    struct stat st;
    bool is_dir;
    int rc;

    snprintf(name, sizeof(name), "%s", entry);
    if (snprintf(path, sizeof(path), "%s/%s", dir, entry) >= (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "%.200s: name too long", dir);
    if (stat(path, &st) < 0)
        return err_sys(err, -errno, "cannot read %s", path);
    is_dir = S_ISDIR(st.st_mode);
    if (!is_dir && !cut(name, ".crt")) {
        if (cut(name, ".key") && name_pair(&pair, dir, name, false) &&
            access(pair.cert_path, F_OK) == 0)
            return 0; /* read with its certificate */
        return err_set(err, -EINVAL,
                       "%s belongs to no certificate: say NAME.crt and NAME.key, or "
                       "NAME/tls.crt and NAME/tls.key",
                       path);
    }
    if (!name_pair(&pair, dir, name, is_dir))
        return err_set(err, -ENAMETOOLONG, "%.200s: name too long", dir);
    rc = file_set_read(is_dir ? path : dir, read_pair, &pair, err);
    if (rc < 0)
        return rc;
    pair.cert.name = spell(name);
    if (!pair.cert.name)
        return err_set(err, -EINVAL,
                       "%s is named after no server: say a host, an address or "
                       "*.SUFFIX",
                       path);
    return keep(certs, &pair.cert, path, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct client_cert *)a)->name, ((const struct client_cert *)b)->name);
}

static int sort(struct client_certs *certs, const char *dir, struct err *err)
{
    if (certs->len)
        qsort(certs->list, certs->len, sizeof(*certs->list), by_name);
    certs->names = calloc(certs->len + 1, sizeof(*certs->names));
    if (!certs->names)
        return err_set(err, -ENOMEM, "cannot read %s", dir);
    for (size_t i = 0; i < certs->len; i++) {
        certs->names[i] = certs->list[i].name;
        if (i && strcmp(certs->names[i], certs->names[i - 1]) == 0)
            return err_set(err, -EEXIST, "%s has two certificates for %s", dir, certs->names[i]);
    }
    return 0;
}

static int load_dir(void *arg, const char *path, const char *version, struct err *err)
{
    struct client_certs **out = arg;
    CLEANUP(client_certs_free) struct client_certs *certs = calloc(1, sizeof(*certs));
    const struct dirent *entry;
    DIR *dir;
    int rc = 0;

    (void)version;
    client_certs_free(out);
    if (!certs)
        return err_set(err, -ENOMEM, "cannot read %s", path);
    dir = opendir(path);
    if (!dir)
        return err_sys(err, -errno, "cannot read %s", path);
    while (rc == 0 && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            rc = load_entry(certs, path, entry->d_name, err);
    closedir(dir);
    if (rc == 0)
        rc = sort(certs, path, err);
    if (rc == 0)
        *out = TAKE(certs);
    return rc;
}

int client_certs_load(struct client_certs **out, const char *dir, struct err *err)
{
    CLEANUP(client_certs_free) struct client_certs *certs = NULL;
    int rc = file_set_read(dir, load_dir, &certs, err);

    if (rc < 0)
        return rc;
    *out = TAKE(certs);
    return 0;
}
