/* session_cache: see session_cache.h. Copies on the way in and out: OpenSSL marks a session whose
 * connection was cut as not to be resumed, on whatever thread that ends, and no two may write to
 * one. */
#include "certs/session_cache.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"

enum { SESSION_SIZE = 1500 }; /* OpenSSL's, and ours of it, without ticket and chain */

struct kept {
    uint8_t key[SESSION_CACHE_KEY_SIZE];
    SSL_SESSION *session;
    struct session_facts facts;
    size_t size;
    LIST_ENTRY(kept) in_bucket;
    TAILQ_ENTRY(kept) by_use;
};
LIST_HEAD(bucket, kept);

struct session_cache {
    size_t capacity, bytes_max; /* as many buckets */
    pthread_mutex_t lock;       /* of what follows */
    bool has_lock;
    struct bucket *buckets;
    TAILQ_HEAD(by_use_head, kept) by_use; /* most recent first */
    size_t len, bytes;
};

void session_facts_fini(struct session_facts *facts)
{
    X509_free(facts->issuer);
    OPENSSL_free((void *)facts->staple.data);
    *facts = (struct session_facts){0};
}

static bool facts_copy(const struct session_facts *facts, struct session_facts *out)
{
    *out = *facts;
    if (facts->issuer)
        X509_up_ref(facts->issuer);
    out->staple = (struct span){0};
    if (!facts->staple.len)
        return true;
    out->staple.data = OPENSSL_memdup(facts->staple.data, facts->staple.len);
    out->staple.len = facts->staple.len;
    return out->staple.data;
}

static void own_session(SSL_SESSION **session)
{
    SSL_SESSION_free(*session);
}

static void kept_free(struct kept **kept)
{
    if (!*kept)
        return;
    SSL_SESSION_free((*kept)->session);
    session_facts_fini(&(*kept)->facts);
    free(TAKE(*kept));
}

int session_cache_new(struct session_cache **out, size_t capacity, size_t bytes, struct err *err)
{
    CLEANUP(session_cache_free) struct session_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return err_set(err, -ENOMEM, "TLS sessions: out of memory");
    TAILQ_INIT(&cache->by_use);
    cache->capacity = capacity;
    cache->bytes_max = bytes;
    cache->buckets = calloc(capacity, sizeof(*cache->buckets));
    if (!cache->buckets || pthread_mutex_init(&cache->lock, NULL) != 0)
        return err_set(err, -ENOMEM, "TLS cache, %zu of them: out of memory", capacity);
    cache->has_lock = true;
    *out = TAKE(cache);
    return 0;
}

/* The caller holds the lock, from here to forget(). */
static struct bucket *bucket_of(struct session_cache *cache,
                                const uint8_t key[SESSION_CACHE_KEY_SIZE])
{
    size_t hash;

    memcpy(&hash, key, sizeof(hash));
    return &cache->buckets[hash % cache->capacity];
}

static void detach(struct session_cache *cache, struct kept *kept)
{
    LIST_REMOVE(kept, in_bucket);
    TAILQ_REMOVE(&cache->by_use, kept, by_use);
    cache->len--;
    cache->bytes -= kept->size;
}

static void forget(struct session_cache *cache, struct kept *kept)
{
    detach(cache, kept);
    kept_free(&kept);
}

void session_cache_free(struct session_cache **cache)
{
    struct session_cache *gone = TAKE(*cache);

    if (!gone)
        return;
    while (!TAILQ_EMPTY(&gone->by_use))
        forget(gone, TAILQ_FIRST(&gone->by_use));
    if (gone->has_lock)
        pthread_mutex_destroy(&gone->lock);
    free(gone->buckets);
    free(gone);
}

static bool over(const struct kept *kept, uint64_t now_ns, time_t now)
{
    unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(kept->session);
    long age = (long)now - SSL_SESSION_get_time(kept->session); /* < 0: the clock was put back */

    return now_ns - kept->facts.seen_ns >= SESSION_CACHE_SECONDS * UINT64_C(1000000000) ||
           now >= kept->facts.not_after || age < 0 ||
           age >= SSL_SESSION_get_timeout(kept->session) || (hint && (unsigned long)age >= hint);
}

/* Makes room for it: of its key, and of all. */
static void insert(struct session_cache *cache, struct kept *kept)
{
    struct bucket *bucket = bucket_of(cache, kept->key);
    struct kept *at, *oldest = NULL;
    size_t same = 0;

    LIST_FOREACH(at, bucket, in_bucket) /* newest first */
    if (memcmp(at->key, kept->key, SESSION_CACHE_KEY_SIZE) == 0) {
        oldest = at;
        same++;
    }
    if (same >= SESSION_CACHE_OF_KEY)
        forget(cache, oldest);
    while (cache->len &&
           (cache->len >= cache->capacity || cache->bytes + kept->size > cache->bytes_max))
        forget(cache, TAILQ_LAST(&cache->by_use, by_use_head));
    LIST_INSERT_HEAD(bucket, kept, in_bucket);
    TAILQ_INSERT_HEAD(&cache->by_use, kept, by_use);
    cache->len++;
    cache->bytes += kept->size;
}

void session_cache_keep(struct session_cache *cache, const uint8_t key[SESSION_CACHE_KEY_SIZE],
                        const SSL_SESSION *session, const struct session_facts *facts)
{
    CLEANUP(kept_free) struct kept *kept = NULL;
    const unsigned char *ticket;
    size_t size;

    SSL_SESSION_get0_ticket(session, &ticket, &size);
    size += SESSION_SIZE + facts->size + facts->staple.len;
    if (size > cache->bytes_max / 16 || !SSL_SESSION_is_resumable(session))
        return;
    kept = calloc(1, sizeof(*kept));
    if (!kept)
        return;
    memcpy(kept->key, key, SESSION_CACHE_KEY_SIZE);
    kept->size = size;
    kept->session = SSL_SESSION_dup(session);
    if (!facts_copy(facts, &kept->facts) || !kept->session)
        return;
    pthread_mutex_lock(&cache->lock);
    insert(cache, TAKE(kept));
    pthread_mutex_unlock(&cache->lock);
}

/* Detached, if it is for one use; else a copy of it. NULL: there is none, or no memory for one. */
static SSL_SESSION *give(struct session_cache *cache, struct kept *kept,
                         struct session_facts *facts)
{
    CLEANUP(own_session) SSL_SESSION *session = NULL;

    if (SSL_SESSION_get_protocol_version(kept->session) >= TLS1_3_VERSION) {
        *facts = kept->facts;
        kept->facts = (struct session_facts){0};
        session = TAKE(kept->session);
        detach(cache, kept);
        kept_free(&kept);
        return TAKE(session);
    }
    TAILQ_REMOVE(&cache->by_use, kept, by_use);
    TAILQ_INSERT_HEAD(&cache->by_use, kept, by_use);
    session = SSL_SESSION_dup(kept->session);
    if (session && facts_copy(&kept->facts, facts))
        return TAKE(session);
    if (session)
        session_facts_fini(facts);
    return NULL;
}

SSL_SESSION *session_cache_take(struct session_cache *cache,
                                const uint8_t key[SESSION_CACHE_KEY_SIZE], uint64_t now_ns,
                                struct session_facts *facts)
{
    struct kept *at, *next;
    SSL_SESSION *session = NULL;
    time_t now = time(NULL);

    pthread_mutex_lock(&cache->lock);
    for (at = LIST_FIRST(bucket_of(cache, key)); at && !session; at = next) {
        next = LIST_NEXT(at, in_bucket);
        if (memcmp(at->key, key, SESSION_CACHE_KEY_SIZE) != 0)
            continue;
        if (over(at, now_ns, now))
            forget(cache, at);
        else
            session = give(cache, at, facts);
    }
    pthread_mutex_unlock(&cache->lock);
    return session;
}

void session_cache_drop(struct session_cache *cache, const uint8_t key[SESSION_CACHE_KEY_SIZE])
{
    struct kept *at, *next;

    pthread_mutex_lock(&cache->lock);
    for (at = LIST_FIRST(bucket_of(cache, key)); at; at = next) {
        next = LIST_NEXT(at, in_bucket);
        if (memcmp(at->key, key, SESSION_CACHE_KEY_SIZE) == 0)
            forget(cache, at);
    }
    pthread_mutex_unlock(&cache->lock);
}
