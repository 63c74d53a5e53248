/* A tree of pods, in each a tree of its addresses, in each a list of names, the newest first. All
 * names of a pod are in a second list in the order they were last answered: what must make way is
 * at its end. Trees, not hashes: who chooses the addresses is a stranger. */
#include "proxy/dns/names_own.h"

#include <errno.h>
#include <search.h>
#include <string.h>

static int by_pod(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int by_ip(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(((struct place *)NULL)->ip));
}

/* What the tree holds under this key, which it begins with; a new one of `size` bytes where there
 * is none and size is not 0. */
static void *look_up(void **tree, const void *key, size_t key_len, size_t size,
                     int (*compare)(const void *, const void *))
{
    void **found = tfind(key, tree, compare);
    void *made;

    if (found || !size)
        return found ? *found : NULL;
    made = calloc(1, size);
    if (!made)
        return NULL;
    memcpy(made, key, key_len);
    if (tsearch(made, tree, compare))
        return made;
    free(made);
    return NULL;
}

/* ---- the lists ---- */

static void link_newest(struct resolved *pod, struct binding *binding)
{
    struct place *place = binding->place;

    binding->newer = binding->newer_here = NULL;
    binding->older = pod->newest;
    binding->older_here = place->newest;
    *(pod->newest ? &pod->newest->newer : &pod->oldest) = binding;
    *(place->newest ? &place->newest->newer_here : &place->oldest) = binding;
    pod->newest = place->newest = binding;
}

static void unlink_binding(struct resolved *pod, struct binding *binding)
{
    struct place *place = binding->place;

    *(binding->newer ? &binding->newer->older : &pod->newest) = binding->older;
    *(binding->older ? &binding->older->newer : &pod->oldest) = binding->newer;
    *(binding->newer_here ? &binding->newer_here->older_here : &place->newest) =
        binding->older_here;
    *(binding->older_here ? &binding->older_here->newer_here : &place->oldest) =
        binding->newer_here;
}

static void drop_place(struct resolved *pod, struct place *place)
{
    tdelete(place, &pod->places, by_ip);
    free(place);
}

static void drop(struct resolved *pod, struct binding *binding)
{
    struct place *place = binding->place;

    unlink_binding(pod, binding);
    pod->len--;
    pod->bytes -= binding->len;
    free(binding);
    if (!--place->len)
        drop_place(pod, place);
}

static void drop_pod(struct names *names, struct resolved *pod)
{
    while (pod->oldest)
        drop(pod, pod->oldest);
    tdelete(pod, &names->pods, by_pod);
    configured_free(&pod->configured);
    free(pod);
}

struct resolved *names_find_pod(struct names *names, uint64_t pod, bool make)
{
    return look_up(&names->pods, &pod, sizeof(pod), make ? sizeof(struct resolved) : 0, by_pod);
}

struct place *names_find_place(struct resolved *pod, const struct addr *address, bool make)
{
    return look_up(&pod->places, address->ip, sizeof(address->ip), make ? sizeof(struct place) : 0,
                   by_ip);
}

/* ---- the calls ---- */

int names_new(struct names **out, struct err *err)
{
    struct names *names = calloc(1, sizeof(*names));

    if (!names)
        return err_set(err, -ENOMEM, "table of names");
    pthread_mutex_init(&names->lock, NULL);
    *out = names;
    return 0;
}

void names_free(struct names **names)
{
    if (!*names)
        return;
    while ((*names)->pods)
        drop_pod(*names, *(struct resolved **)(*names)->pods);
    pthread_mutex_destroy(&(*names)->lock);
    free(TAKE(*names));
}

void names_forget(struct names *names, uint64_t pod_id)
{
    struct resolved *pod;

    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, false);
    if (pod)
        drop_pod(names, pod);
    pthread_mutex_unlock(&names->lock);
}

static struct binding *find_name(const struct place *place, const char *name)
{
    struct binding *binding = place->newest;

    while (binding && strcmp(binding->name, name) != 0)
        binding = binding->older_here;
    return binding;
}

static struct binding *bind_new(struct resolved *pod, struct place *place, const char *name)
{
    size_t len = strlen(name) + 1;
    struct binding *binding = malloc(sizeof(*binding) + len);

    if (!binding)
        return NULL;
    *binding = (struct binding){.place = place, .len = len};
    memcpy(binding->name, name, len);
    place->len++;
    pod->len++;
    pod->bytes += len;
    return binding;
}

/* Whether it is trusted for longer than it was. */
static bool prolong(struct binding *binding, uint64_t until_ns, bool trusted)
{
    bool longer = trusted && until_ns > binding->trusted_until_ns;

    if (until_ns > binding->until_ns)
        binding->until_ns = until_ns;
    if (longer)
        binding->trusted_until_ns = until_ns;
    return longer;
}

/* One whose time is over makes way first. */
static struct binding *oldest_here(const struct place *place, uint64_t now_ns)
{
    struct binding *binding = place->oldest;

    while (binding && binding->until_ns > now_ns)
        binding = binding->newer_here;
    return binding ? binding : place->oldest;
}

static bool add(struct names *names, uint64_t pod_id, const char *name, const struct addr *address,
                uint64_t until_ns, bool trusted, uint64_t now_ns)
{
    struct resolved *pod = names_find_pod(names, pod_id, true);
    struct place *place = pod ? names_find_place(pod, address, true) : NULL;
    struct binding *binding = place ? find_name(place, name) : NULL;
    bool longer = false;

    if (binding)
        unlink_binding(pod, binding);
    else if (place)
        binding = bind_new(pod, place, name);
    if (binding) {
        longer = prolong(binding, until_ns, trusted);
        link_newest(pod, binding);
        if (place->len > NAMES_OF_ADDRESS_MAX)
            drop(pod, oldest_here(place, now_ns));
        while (pod->len > NAMES_OF_POD_MAX || pod->bytes > NAMES_BYTES_OF_POD)
            drop(pod, pod->oldest);
    } else if (place && !place->len) {
        drop_place(pod, place);
    }
    return longer;
}

void names_add(struct names *names, uint64_t pod, const char *name, const struct addr *address,
               uint32_t ttl, bool trusted, uint64_t now_ns)
{
    uint64_t seconds = ttl > NAMES_KEPT_SECONDS ? ttl : NAMES_KEPT_SECONDS;
    uint64_t until_ns = now_ns + seconds * 1000000000u;
    bool longer;

    pthread_mutex_lock(&names->lock);
    longer = add(names, pod, name, address, until_ns, trusted, now_ns);
    pthread_mutex_unlock(&names->lock);
    if (longer)
        names_tell_one(names, pod, name, address, until_ns);
}

void names_keep(struct names *names, uint64_t pod, const char *name, const struct addr *address,
                uint64_t until_ns, uint64_t trusted_until_ns)
{
    bool longer = false;

    pthread_mutex_lock(&names->lock);
    add(names, pod, name, address, until_ns, false, 0);
    if (trusted_until_ns)
        longer = add(names, pod, name, address, trusted_until_ns, true, 0);
    pthread_mutex_unlock(&names->lock);
    if (longer)
        names_tell_one(names, pod, name, address, trusted_until_ns);
}

void names_find(struct names *names, uint64_t pod_id, const struct addr *address, uint64_t now_ns,
                struct names_found *out)
{
    struct resolved *pod;
    struct place *place;
    size_t bytes = 0;

    *out = (struct names_found){0};
    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, false);
    place = pod ? names_find_place(pod, address, false) : NULL;
    for (const struct binding *binding = place ? place->newest : NULL; binding;
         binding = binding->older_here) {
        if (now_ns < binding->until_ns && out->len < NAMES_TOLD_MAX &&
            (!out->len || bytes + binding->len <= NAMES_TOLD_BYTES)) {
            out->text[out->len] = strdup(binding->name);
            out->incomplete |= !out->text[out->len];
            bytes += binding->len;
            out->len += out->text[out->len] != NULL;
        }
    }
    pthread_mutex_unlock(&names->lock);
}

struct visit {
    void (*visit)(void *arg, uint64_t pod, const char *name, const struct addr *address,
                  uint64_t until_ns, uint64_t trusted_until_ns);
    void *arg;
    uint64_t now_ns;
};

static void visit_pod(const void *node, VISIT when, void *closure)
{
    const struct resolved *pod = *(struct resolved *const *)node;
    const struct visit *visit = closure;

    if (when != postorder && when != leaf)
        return;
    for (const struct binding *binding = pod->oldest; binding; binding = binding->newer) {
        struct addr address = {.port = 0};

        if (binding->until_ns <= visit->now_ns)
            continue;
        memcpy(address.ip, binding->place->ip, sizeof(address.ip));
        visit->visit(visit->arg, pod->pod, binding->name, &address, binding->until_ns,
                     binding->trusted_until_ns);
    }
}

void names_each(struct names *names, uint64_t now_ns,
                void (*visit)(void *arg, uint64_t pod, const char *name, const struct addr *address,
                              uint64_t until_ns, uint64_t trusted_until_ns),
                void *arg)
{
    struct visit closure = {visit, arg, now_ns};

    pthread_mutex_lock(&names->lock);
    twalk_r(names->pods, visit_pod, &closure);
    pthread_mutex_unlock(&names->lock);
}

void names_found_fini(struct names_found *found)
{
    while (found->len)
        free(found->text[--found->len]);
}
