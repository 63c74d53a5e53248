/* Only the control thread changes anything; the lock is held for the moments in which it does, and
 * for look-ups by others. Views are made outside it. */
#include "proxy/enforce/policies.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct ruled {
    uint64_t cgroup_id; /* first: what the tree sorts by */
    struct pod *pod;    /* a reference */
    struct policy_view *view, *fresh;
    bool removed; /* it is here for flows that are left */
    struct ruled *next, **link;
};

struct policies {
    pthread_mutex_t lock;
    void *tree;            /* tsearch(3) of struct ruled */
    struct ruled *entries; /* the same, as a list: the control thread's */
    struct policy_set *set;
    atomic_uint_fast64_t generation;
    int (*on_view)(void *arg, const struct pod *pod, struct policy_view *view, struct err *err);
    void *arg;
};

static int by_cgroup(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static struct ruled *find(const struct policies *policies, uint64_t cgroup_id)
{
    struct ruled **found = tfind(&cgroup_id, &policies->tree, by_cgroup);

    return found ? *found : NULL;
}

static void ruled_free(struct ruled **entry)
{
    if (!*entry)
        return;
    policy_view_unref(&(*entry)->view);
    policy_view_unref(&(*entry)->fresh);
    pod_unref(&(*entry)->pod);
    free(TAKE(*entry));
}

static void drop(struct policies *policies, struct ruled *entry)
{
    pthread_mutex_lock(&policies->lock);
    tdelete(entry, &policies->tree, by_cgroup);
    pthread_mutex_unlock(&policies->lock);
    *entry->link = entry->next;
    if (entry->next)
        entry->next->link = entry->link;
    ruled_free(&entry);
}

/* Those whose last flow has ended. */
static void sweep(struct policies *policies)
{
    struct ruled *next;

    for (struct ruled *entry = policies->entries; entry; entry = next) {
        next = entry->next;
        if (entry->removed && atomic_load(&entry->pod->refs) == 1)
            drop(policies, entry);
    }
}

int policies_new(struct policies **out, struct err *err)
{
    CLEANUP(policies_free) struct policies *policies = calloc(1, sizeof(*policies));

    if (!policies)
        return err_set(err, -ENOMEM, "policies");
    pthread_mutex_init(&policies->lock, NULL);
    policies->set = policy_set_new(NULL, 0, 0);
    if (!policies->set)
        return err_set(err, -ENOMEM, "policies");
    *out = TAKE(policies);
    return 0;
}

void policies_free(struct policies **policies)
{
    struct policies *gone = TAKE(*policies);

    if (!gone)
        return;
    while (gone->entries)
        drop(gone, gone->entries);
    policy_set_unref(&gone->set);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}

void policies_on_view(struct policies *policies,
                      int (*on_view)(void *arg, const struct pod *pod, struct policy_view *view,
                                     struct err *err),
                      void *arg)
{
    policies->on_view = on_view;
    policies->arg = arg;
}

static int tell(const struct policies *policies, const struct ruled *entry,
                struct policy_view *view, struct err *err)
{
    if (!policies->on_view || entry->removed)
        return 0;
    return policies->on_view(policies->arg, entry->pod, view, err);
}

/* ---- another set ---- */

static int make_views(struct policies *policies, struct policy_set *set, struct err *err)
{
    for (struct ruled *entry = policies->entries; entry; entry = entry->next) {
        entry->fresh = policy_view_new(set, entry->pod);
        if (!entry->fresh)
            return err_set(err, -ENOMEM, "the policies of pod %s", entry->pod->name);
    }
    return 0;
}

static void forget_views(struct policies *policies)
{
    for (struct ruled *entry = policies->entries; entry; entry = entry->next)
        policy_view_unref(&entry->fresh);
}

static int tell_all(struct policies *policies, struct err *err)
{
    struct ruled *entry = policies->entries;
    int result = 0;

    while (entry && (result = tell(policies, entry, entry->fresh, err)) == 0)
        entry = entry->next;
    if (result == 0)
        return 0;
    for (struct ruled *told = policies->entries; told != entry->next; told = told->next)
        tell(policies, told, told->view, NULL);
    return result;
}

int policies_use(struct policies *policies, struct policy_set *set, struct err *err)
{
    struct policy_set *gone = policies->set;
    int result;

    sweep(policies);
    result = make_views(policies, set, err);
    if (result == 0)
        result = tell_all(policies, err);
    if (result < 0) {
        forget_views(policies);
        return result;
    }
    pthread_mutex_lock(&policies->lock);
    policies->set = policy_set_ref(set);
    for (struct ruled *entry = policies->entries; entry; entry = entry->next) {
        struct policy_view *old = entry->view;

        entry->view = entry->fresh;
        entry->fresh = old;
    }
    atomic_fetch_add(&policies->generation, 1);
    pthread_mutex_unlock(&policies->lock);
    forget_views(policies);
    policy_set_unref(&gone);
    return 0;
}

struct policy_set *policies_set(struct policies *policies)
{
    struct policy_set *set;

    pthread_mutex_lock(&policies->lock);
    set = policy_set_ref(policies->set);
    pthread_mutex_unlock(&policies->lock);
    return set;
}

/* ---- pods ---- */

static int insert(struct policies *policies, struct ruled *entry)
{
    bool ok;

    pthread_mutex_lock(&policies->lock);
    ok = tsearch(entry, &policies->tree, by_cgroup);
    atomic_fetch_add(&policies->generation, 1);
    pthread_mutex_unlock(&policies->lock);
    if (!ok)
        return -ENOMEM;
    entry->next = policies->entries;
    entry->link = &policies->entries;
    if (entry->next)
        entry->next->link = &entry->next;
    policies->entries = entry;
    return 0;
}

/* The same cgroup once more: what it is now counts, for the flows of what it was, too. */
static void replace(struct policies *policies, struct ruled *entry, struct ruled *fresh)
{
    pthread_mutex_lock(&policies->lock);
    struct pod *pod = entry->pod;
    struct policy_view *view = entry->view;

    entry->pod = fresh->pod;
    entry->view = fresh->view;
    entry->removed = false;
    atomic_fetch_add(&policies->generation, 1);
    pthread_mutex_unlock(&policies->lock);
    fresh->pod = pod;
    fresh->view = view;
}

int policies_add_pod(struct policies *policies, struct pod *pod, struct err *err)
{
    CLEANUP(ruled_free) struct ruled *fresh = calloc(1, sizeof(*fresh));
    struct ruled *same;
    int result;

    if (!fresh)
        return err_set(err, -ENOMEM, "the policies of pod %s", pod->name);
    sweep(policies);
    same = find(policies, pod->cgroup_id);
    fresh->cgroup_id = pod->cgroup_id;
    fresh->pod = pod_ref(pod);
    fresh->view = policy_view_new(policies->set, pod);
    if (!fresh->view)
        return err_set(err, -ENOMEM, "the policies of pod %s", pod->name);
    result = tell(policies, fresh, fresh->view, err);
    if (result < 0 && same)
        tell(policies, same, same->view, NULL);
    if (result < 0)
        return result;
    if (same)
        replace(policies, same, fresh);
    else if (insert(policies, fresh) < 0)
        return err_set(err, -ENOMEM, "the policies of pod %s", pod->name);
    else
        TAKE(fresh); /* the tree's now */
    return 0;
}

void policies_remove_pod(struct policies *policies, uint64_t cgroup_id)
{
    struct ruled *entry = find(policies, cgroup_id);

    if (!entry || entry->removed)
        return;
    tell(policies, entry, NULL, NULL);
    entry->removed = true;
    sweep(policies);
}

size_t policies_count_pods(const struct policies *policies, const struct policy *policy)
{
    size_t len = 0;

    for (const struct ruled *entry = policies->entries; entry; entry = entry->next)
        len += !entry->removed && policy_selects(policy, entry->pod);
    return len;
}

/* ---- what is in force ---- */

uint64_t policies_generation(const struct policies *policies)
{
    return atomic_load(&policies->generation);
}

struct policy_view *policies_view(struct policies *policies, uint64_t cgroup_id)
{
    struct policy_view *view = NULL;
    const struct ruled *entry;

    pthread_mutex_lock(&policies->lock);
    entry = find(policies, cgroup_id);
    if (entry)
        view = policy_view_ref(entry->view);
    pthread_mutex_unlock(&policies->lock);
    return view;
}
