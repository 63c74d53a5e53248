#include "proxy/passthrough.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/match.h"

struct item {
    char *pattern; /* NULL: it is a network */
    struct match_cidr cidr;
};

struct items {
    struct item *list;
    size_t len;
};

/* Of pod, program and name, all at once. */
struct learnt {
    uint8_t digest[16];
};

struct passthrough {
    pthread_rwlock_t lock; /* of what follows; a flow reads it once */
    bool has_lock;
    struct items items;
    struct learnt learnt[PASSTHROUGH_LEARNT_MAX];
    size_t learnt_len, learnt_at; /* where the next one goes */
};

static void items_fini(struct items *items)
{
    for (size_t i = 0; i < items->len; i++)
        free(items->list[i].pattern);
    free(items->list);
    *items = (struct items){0};
}

int passthrough_new(struct passthrough **out, struct err *err)
{
    CLEANUP(passthrough_free) struct passthrough *passthrough = calloc(1, sizeof(*passthrough));

    if (!passthrough || pthread_rwlock_init(&passthrough->lock, NULL) != 0)
        return err_set(err, -ENOMEM, "what is passed on: out of memory");
    passthrough->has_lock = true;
    *out = TAKE(passthrough);
    return 0;
}

void passthrough_free(struct passthrough **passthrough)
{
    struct passthrough *gone = TAKE(*passthrough);

    if (!gone)
        return;
    items_fini(&gone->items);
    if (gone->has_lock)
        pthread_rwlock_destroy(&gone->lock);
    free(gone);
}

int passthrough_check(const char *item, struct err *err)
{
    struct match_cidr cidr;

    if (match_cidr_parse(item, &cidr) || (!strchr(item, '/') && match_pattern_ok(item)))
        return 0;
    return err_set(err, -EINVAL,
                   "'%.260s' is no name; say one such as example.com, *.example.com or "
                   "**.example.com, or an address or its network such as 192.0.2.0/24",
                   item);
}

static int item_read(struct item *item, const char *text, struct err *err)
{
    if (match_cidr_parse(text, &item->cidr))
        return 0;
    if (passthrough_check(text, err) < 0)
        return err->code;
    item->pattern = strdup(text);
    return item->pattern ? 0 : err_set(err, -ENOMEM, "what is passed on: out of memory");
}

int passthrough_set(struct passthrough *passthrough, char *const *items, size_t len,
                    struct err *err)
{
    CLEANUP(items_fini) struct items fresh = {.list = calloc(len ? len : 1, sizeof(*fresh.list))};
    struct items before;

    if (!fresh.list)
        return err_set(err, -ENOMEM, "what is passed on: out of memory");
    while (fresh.len < len) {
        int result = item_read(&fresh.list[fresh.len], items[fresh.len], err);

        if (result < 0)
            return result;
        fresh.len++;
    }
    pthread_rwlock_wrlock(&passthrough->lock);
    before = passthrough->items;
    passthrough->items = fresh;
    pthread_rwlock_unlock(&passthrough->lock);
    fresh = before; /* let go of on return */
    return 0;
}

bool passthrough_name(struct passthrough *passthrough, const char *name)
{
    bool found = false;

    pthread_rwlock_rdlock(&passthrough->lock);
    for (size_t i = 0; i < passthrough->items.len && !found; i++) {
        const struct item *item = &passthrough->items.list[i];

        found = item->pattern && match_pattern(item->pattern, name);
    }
    pthread_rwlock_unlock(&passthrough->lock);
    return found;
}

bool passthrough_address(struct passthrough *passthrough, const struct addr *address)
{
    bool found = false;

    pthread_rwlock_rdlock(&passthrough->lock);
    for (size_t i = 0; i < passthrough->items.len && !found; i++) {
        const struct item *item = &passthrough->items.list[i];

        found = !item->pattern && match_cidr(&item->cidr, address);
    }
    pthread_rwlock_unlock(&passthrough->lock);
    return found;
}

/* ---- learnt ---- */

static bool digest(uint64_t pod, const char *program, const char *name, struct learnt *out)
{
    CLEANUP(text_free) char *text = NULL;
    uint8_t whole[EVP_MAX_MD_SIZE];
    int len = asprintf(&text, "%llu %s\n%s", (unsigned long long)pod, program, name);

    if (len < 0) {
        text = NULL;
        return false;
    }
    if (EVP_Digest(text, (size_t)len, whole, NULL, EVP_sha256(), NULL) != 1)
        return false;
    memcpy(out->digest, whole, sizeof(out->digest));
    return true;
}

static bool holds(const struct passthrough *passthrough, const struct learnt *one)
{
    for (size_t i = 0; i < passthrough->learnt_len; i++)
        if (memcmp(&passthrough->learnt[i], one, sizeof(*one)) == 0)
            return true;
    return false;
}

void passthrough_learn(struct passthrough *passthrough, uint64_t pod, const char *program,
                       const char *name)
{
    struct learnt one;

    if (!digest(pod, program, name, &one))
        return;
    pthread_rwlock_wrlock(&passthrough->lock);
    if (!holds(passthrough, &one)) {
        passthrough->learnt[passthrough->learnt_at] = one;
        passthrough->learnt_at = (passthrough->learnt_at + 1) % PASSTHROUGH_LEARNT_MAX;
        if (passthrough->learnt_len < PASSTHROUGH_LEARNT_MAX)
            passthrough->learnt_len++;
    }
    pthread_rwlock_unlock(&passthrough->lock);
}

bool passthrough_learnt(struct passthrough *passthrough, uint64_t pod, const char *program,
                        const char *name)
{
    struct learnt one;
    bool found;

    if (!digest(pod, program, name, &one))
        return false;
    pthread_rwlock_rdlock(&passthrough->lock);
    found = holds(passthrough, &one);
    pthread_rwlock_unlock(&passthrough->lock);
    return found;
}
