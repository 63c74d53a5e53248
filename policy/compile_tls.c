/* How TLS with upstream must be. */
#include "policy/compile_own.h"

#include <string.h>

#include "policy/compile_words.h"

static const char *const versions[] = {"1.2", "1.3", NULL};
static const uint16_t version_numbers[] = {0x0303, 0x0304};

static void read_version(struct compile *c, const struct node *node, const struct key *key,
                         void *into)
{
    uint16_t *version = (uint16_t *)((char *)into + key->field);

    for (size_t i = 0; versions[i]; i++)
        if (strcmp(versions[i], node->text) == 0) {
            *version = version_numbers[i];
            return;
        }
    if (strcmp(node->text, "1.0") == 0 || strcmp(node->text, "1.1") == 0)
        faults_add(c->faults, node->mark,
                   "TLS %s is spoken by nobody here, so %s can be 1.2 or 1.3", node->text,
                   key->name);
    else
        faults_add(c->faults, node->mark, "%s cannot be '%.100s'; say 1.2 or 1.3", key->name,
                   node->text);
}

static void read_cipher(struct compile *c, const struct node *node, size_t i, const struct key *key,
                        void *into)
{
    struct policy_tls *tls = into;

    (void)i;
    if (!compile_cipher_version(node->text))
        compile_unknown(c, node->mark, key->name, node->text, compile_ciphers);
    else
        compile_add_text(c, node->text, &tls->ciphers, &tls->ciphers_len);
}

static void read_file(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    char *copy = compile_copy(c, node->text);

    if (node->text[0] != '/')
        faults_add(c->faults, node->mark,
                   "%s is '%.100s', which is no path from the root on; say /etc/…", key->name,
                   node->text);
    memcpy((char *)into + key->field, &copy, sizeof(copy));
}

static const struct key tls_keys[] = {
    {.name = "minVersion",
     .kind = NODE_TEXT,
     .read = read_version,
     .field = offsetof(struct policy_tls, version_min)},
    {.name = "maxVersion",
     .kind = NODE_TEXT,
     .read = read_version,
     .field = offsetof(struct policy_tls, version_max)},
    {.name = "ciphers",
     .kind = NODE_LIST,
     .item = read_cipher,
     .items = NODE_TEXT,
     .empty = "no connection could come about; leave it out for all"},
    {.name = "trustedCA",
     .kind = NODE_TEXT,
     .read = read_file,
     .field = offsetof(struct policy_tls, trusted_ca)},
    {.name = "clientCertificate",
     .kind = NODE_TEXT,
     .read = read_file,
     .field = offsetof(struct policy_tls, client_certificate)},
};
static const struct shape tls_shape = {"tls", tls_keys, ARRAY_SIZE(tls_keys)};

static void check(struct compile *c, const struct node *node, const struct policy_tls *tls)
{
    const struct node *max = compile_find(node, "maxVersion");
    const struct node *ciphers = compile_find(node, "ciphers");

    if (compile_is_empty(c, node))
        faults_add(c->faults, node->mark, "tls says nothing; leave it out");
    if (tls->version_max && tls->version_min > tls->version_max)
        faults_add(c->faults, max->mark, "maxVersion is older than minVersion");
    for (const struct node *at = ciphers ? ciphers->first : NULL; at; at = at->next) {
        uint16_t version = at->kind == NODE_TEXT ? compile_cipher_version(at->text) : 0;

        if (version && version < tls->version_min)
            faults_add(c->faults, at->mark, "%s is of TLS 1.2, which minVersion excludes",
                       at->text);
        else if (version && tls->version_max && version > tls->version_max)
            faults_add(c->faults, at->mark, "%s is of TLS 1.3, which maxVersion excludes",
                       at->text);
    }
}

void compile_tls(struct compile *c, const struct node *node, const struct key *key, void *into)
{
    struct policy_to_ports *to = into;
    size_t before = compile_enter(c, "%s", key->name);

    to->tls = calloc(1, sizeof(*to->tls));
    if (!to->tls) {
        c->no_memory = true;
        return;
    }
    compile_place(c, &to->tls->place, node->mark);
    compile_map(c, node, &tls_shape, to->tls);
    check(c, node, to->tls);
    compile_leave(c, before);
}
