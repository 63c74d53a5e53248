#include "proxy/enforce/kernel_rules.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/kernel_images.h"
#include "proxy/enforce/kernel_names.h"
#include "proxy/enforce/kernel_spells.h"
#include "proxy/enforce/kernel_spoken.h"
#include "proxy/enforce/kernel_tables.h"
#include "proxy/identity/identity.h"

/* What looks up by a number that it read a moment ago finds what it needs, for as long. */
static const uint64_t kept_ns = 1000000000;

struct rules { /* of all pods with the same policies */
    uint32_t number;
    struct policy_view *view;   /* a reference */
    struct policy_table *table; /* NULL: the agent decides */
    unsigned users;
    uint64_t unused_ns; /* since when it has none; monotonic clock */
    struct rules *next;
};
struct judged {         /* a pod */
    uint64_t cgroup_id; /* first: what the tree sorts by */
    struct rules *now, *next;
    struct kernel_names *names, *next_names;
};
struct kernel_rules {
    pthread_mutex_t lock; /* of names, which any thread adds, and of their tables */
    struct sallyport_bpf *bpf;
    struct kernel_images *images;
    struct kernel_spells *spells;
    struct names *names;
    struct identity *identity;
    struct rules *list;
    void *pods; /* tsearch(3) of struct judged */
    uint32_t last;
    bool leaving;
};

static int by_cgroup(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static struct judged *find(const struct kernel_rules *rules, uint64_t cgroup_id)
{
    struct judged **found = tfind(&cgroup_id, &rules->pods, by_cgroup);

    return found ? *found : NULL;
}

/* Sockets remember numbers: an agent before us may have used higher ones than are left. So ours go
 * on from what the clock says, which goes faster than policies change. */
static uint32_t number_before(struct sallyport_bpf *bpf)
{
    enum { PER_SECOND = 100 };
    uint32_t last = kernel_tables_last(bpf);
    uint32_t now = (uint32_t)(clock_read_ns(CLOCK_BOOTTIME) / (1000000000 / PER_SECOND));

    return now > last ? now : last;
}

int kernel_rules_new(struct kernel_rules **out, struct sallyport_bpf *bpf, struct err *err)
{
    CLEANUP(kernel_rules_free) struct kernel_rules *rules = calloc(1, sizeof(*rules));
    int code;

    if (!rules)
        return err_set(err, -ENOMEM, "the kernel's rules");
    pthread_mutex_init(&rules->lock, NULL);
    rules->bpf = bpf;
    rules->last = number_before(bpf);
    code = kernel_images_new(&rules->images, bpf, err);
    if (code == 0)
        code = kernel_spells_new(&rules->spells, bpf, err);
    if (code < 0)
        return code;
    *out = TAKE(rules);
    return 0;
}

/* ---- rules ---- */

static void erase(struct kernel_rules *rules, struct rules **at)
{
    struct rules *gone = *at;

    *at = gone->next;
    if (!rules->leaving) {
        kernel_tables_erase(rules->bpf, gone->number, gone->table);
        kernel_spells_erase(rules->spells, gone->number);
    }
    policy_table_free(&gone->table);
    policy_view_unref(&gone->view);
    free(gone);
}

/* Those that nobody has used for a while. */
static void erase_unused(struct kernel_rules *rules)
{
    uint64_t now = clock_ns();

    for (struct rules **at = &rules->list; *at;)
        if (!(*at)->users && now - (*at)->unused_ns >= kept_ns)
            erase(rules, at);
        else
            at = &(*at)->next;
}

static void release(struct rules *one)
{
    if (one && --one->users == 0)
        one->unused_ns = clock_ns();
}

static bool is_same(const struct policy_view *a, const struct policy_view *b)
{
    if (policy_view_len(a) != policy_view_len(b))
        return false;
    for (size_t i = 0; i < policy_view_len(a); i++)
        if (policy_view_at(a, i) != policy_view_at(b, i))
            return false;
    return true;
}

static void note(void *arg, const struct process *process, bool told)
{
    struct kernel_rules *rules = arg;

    (void)told;
    kernel_images_note(rules->images, process);
}

/* Lists that the new table looks at, before anybody is judged by it. */
static int tell_lists(struct kernel_rules *rules, struct err *err)
{
    bool more;
    int code = kernel_images_tell(rules->images, &more, err);

    if (code == 0 && more && rules->identity)
        identity_each(rules->identity, note, rules);
    return code;
}

static int make_table(struct kernel_rules *rules, struct rules *fresh, struct err *err)
{
    int code =
        policy_table_new(&fresh->table, fresh->view, kernel_images_lists(rules->images), err);

    if (code == 0)
        code = tell_lists(rules, err);
    if (code == 0)
        code = kernel_spells_write(rules->spells, fresh->number, fresh->table, err);
    if (code == 0)
        code = kernel_tables_write(rules->bpf, fresh->number, fresh->table, err);
    return code;
}

/* *out has no user yet. */
static int make_rules(struct kernel_rules *rules, const struct pod *pod, struct policy_view *view,
                      struct rules **out, struct err *err)
{
    struct rules *fresh = calloc(1, sizeof(*fresh));
    int code;

    if (!fresh)
        return err_set(err, -ENOMEM, "the kernel's rules");
    fresh->number = ++rules->last ? rules->last : ++rules->last;
    fresh->view = policy_view_ref(view);
    code = make_table(rules, fresh, err);
    if (code == -E2BIG || code == -ENOSPC) {
        log_warn("pod %s: every connection of it is looked into, and its datagrams are refused but "
                 "for name servers, for the kernel cannot decide about them: %s",
                 pod->name, err->text);
        policy_table_free(&fresh->table);
        kernel_spells_erase(rules->spells, fresh->number);
        code = kernel_tables_write(rules->bpf, fresh->number, NULL, err);
    }
    fresh->next = rules->list;
    rules->list = fresh;
    if (code < 0)
        erase(rules, &rules->list);
    else
        *out = fresh;
    return code;
}

static int find_rules(struct kernel_rules *rules, const struct pod *pod, struct policy_view *view,
                      struct rules **out, struct err *err)
{
    for (struct rules *one = rules->list; one; one = one->next)
        if (is_same(one->view, view)) {
            *out = one;
            return 0;
        }
    return make_rules(rules, pod, view, out, err);
}

/* ---- names ---- */

/* Any thread. */
static void on_trusted(void *arg, uint64_t pod, const char *name, const struct addr *address,
                       uint64_t until_ns)
{
    struct kernel_rules *rules = arg;
    struct judged *judged;

    pthread_mutex_lock(&rules->lock);
    judged = find(rules, pod);
    if (judged && judged->names)
        kernel_names_add(judged->names, name, address, until_ns, clock_ns());
    if (judged && judged->next_names)
        kernel_names_add(judged->next_names, name, address, until_ns, clock_ns());
    pthread_mutex_unlock(&rules->lock);
}

void kernel_rules_learn_names(struct kernel_rules *rules, struct names *names)
{
    if (rules->names)
        names_on_trusted(rules->names, NULL, NULL);
    rules->names = names;
    if (!names)
        return;
    kernel_spoken_restore(rules->bpf, names);
    names_on_trusted(names, on_trusted, rules);
}

static void on_image(void *arg, const struct process *process)
{
    note(arg, process, false);
}

void kernel_rules_learn_processes(struct kernel_rules *rules, struct identity *identity)
{
    if (rules->identity)
        identity_on_image(rules->identity, NULL, NULL);
    rules->identity = identity;
    if (identity)
        identity_on_image(identity, on_image, rules);
}

/* ---- pods ---- */

static struct judged *find_or_add(struct kernel_rules *rules, uint64_t cgroup_id)
{
    struct judged *judged = find(rules, cgroup_id);

    if (judged || !(judged = calloc(1, sizeof(*judged))))
        return judged;
    judged->cgroup_id = cgroup_id;
    if (tsearch(judged, &rules->pods, by_cgroup))
        return judged;
    free(judged);
    return NULL;
}

static void drop(struct kernel_rules *rules, struct judged *judged)
{
    tdelete(judged, &rules->pods, by_cgroup);
    release(judged->now);
    release(judged->next);
    kernel_names_free(&judged->names, rules->leaving);
    kernel_names_free(&judged->next_names, rules->leaving);
    free(judged);
}

static int add_next(struct kernel_rules *rules, uint64_t cgroup_id, struct rules *next,
                    struct err *err)
{
    struct judged *judged;
    int code = 0;

    pthread_mutex_lock(&rules->lock);
    judged = find_or_add(rules, cgroup_id);
    if (!judged)
        code = err_set(err, -ENOMEM, "the kernel's rules");
    else if (next && next->table && next->table->names && next != judged->now)
        code = kernel_names_new(&judged->next_names, rules->bpf, cgroup_id, next->number,
                                next->table, kernel_spells_key(rules->spells), err);
    if (code == 0) {
        judged->next = next;
        if (next)
            next->users++;
    }
    pthread_mutex_unlock(&rules->lock);
    return code;
}

int kernel_rules_prepare(struct kernel_rules *rules, const struct pod *pod,
                         struct policy_view *view, uint32_t *number, struct err *err)
{
    struct err story;
    struct rules *next = NULL;
    int code = 0;

    erase_unused(rules);
    if (view && !policy_view_is_empty(view))
        code = find_rules(rules, pod, view, &next, err ? err : &story);
    if (code == 0)
        code = add_next(rules, pod->cgroup_id, next, err);
    if (code < 0)
        return code;
    if (next && next->table && next->table->names && rules->names)
        names_tell_trusted(rules->names, pod->cgroup_id);
    *number = next ? next->number : 0;
    return 0;
}

void kernel_rules_use(struct kernel_rules *rules, uint64_t cgroup_id, bool written)
{
    struct judged *judged = find(rules, cgroup_id);
    bool same = judged && judged->now == judged->next;

    if (!judged)
        return;
    pthread_mutex_lock(&rules->lock);
    if (written && !same) {
        struct kernel_names *gone = judged->names;

        release(judged->now);
        judged->now = judged->next;
        judged->names = judged->next_names;
        judged->next_names = gone;
    } else {
        release(judged->next);
    }
    judged->next = NULL;
    kernel_names_free(&judged->next_names, rules->leaving);
    if (judged->names)
        kernel_names_remember(judged->names);
    if (!judged->now)
        drop(rules, judged);
    pthread_mutex_unlock(&rules->lock);
}

void kernel_rules_forget(struct kernel_rules *rules, uint64_t cgroup_id)
{
    struct judged *judged;

    pthread_mutex_lock(&rules->lock);
    judged = find(rules, cgroup_id);
    if (judged)
        drop(rules, judged);
    pthread_mutex_unlock(&rules->lock);
}

/* ---- other agents ---- */

static bool is_ours(void *arg, uint32_t number)
{
    const struct kernel_rules *rules = arg;

    for (const struct rules *one = rules->list; one; one = one->next)
        if (one->number == number)
            return true;
    return false;
}

void kernel_rules_sweep(struct kernel_rules *rules)
{
    kernel_tables_sweep(rules->bpf, is_ours, rules);
    kernel_spells_sweep(rules->spells, is_ours, rules);
    kernel_spoken_sweep(rules->bpf, is_ours, rules);
    kernel_images_sweep(rules->images);
}

void kernel_rules_leave(struct kernel_rules *rules)
{
    rules->leaving = true;
}

void kernel_rules_free(struct kernel_rules **rules)
{
    struct kernel_rules *gone = TAKE(*rules);

    if (!gone)
        return;
    while (gone->pods)
        drop(gone, *(struct judged **)gone->pods);
    while (gone->list)
        erase(gone, &gone->list);
    kernel_images_free(&gone->images);
    kernel_spells_free(&gone->spells);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}
