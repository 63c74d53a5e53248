#include "proxy/kernel/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/abi.h"
#include "policy/decide.h"
#include "proxy/enforce/policies.h"
#include "proxy/host.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/image_libs.h"
#include "proxy/kernel/program.h"
#include "proxy/kernel/programs_own.h"
#include "proxy/pods/pods.h"
#include "sallyport.skel.h"

/* ---- the table ---- */

static int by_name(const void *a, const void *b)
{
    const struct known *x = a, *y = b;

    if (x->pod != y->pod)
        return x->pod < y->pod ? -1 : 1;
    return strcmp(x->path, y->path);
}

static void tell_kernel(const struct programs *programs, const struct known *known,
                        const struct known_image *image)
{
    struct abi_program key = {.pod = known->pod, .inode = image->inode, .device = image->device};
    uint32_t use = ABI_PROGRAM_BYPASSES | (known->http2 ? ABI_PROGRAM_HTTP2 : 0u);

    if (known->use.bypasses) /* where it has no room the program stays with us */
        bpf_map_update_elem(programs->fd, &key, &use, BPF_ANY);
    else
        bpf_map_delete_elem(programs->fd, &key);
}

static void tell_all_images(const struct programs *programs, const struct known *known)
{
    for (size_t i = 0; i < known->images_len; i++)
        tell_kernel(programs, known, &known->images[i]);
}

static void forget(struct programs *programs, struct known *known)
{
    known->use.bypasses = false;
    tell_all_images(programs, known);
    tdelete(known, &programs->tree, by_name);
    *known->link = known->next;
    if (known->next)
        known->next->link = known->link;
    programs->len--;
    process_unref(&known->process);
    free(known->path);
    free(known);
}

/* Whom a pod that has too many loses first: who does not use kTLS, of those whoever was met longest
 * ago. NULL: it has none. */
static struct known *least(const struct programs *programs, uint64_t pod, size_t *len)
{
    struct known *found = NULL;

    *len = 0;
    for (struct known *known = programs->first; known; known = known->next) {
        if (known->pod != pod)
            continue;
        ++*len;
        if (!found || known->facts.tx < found->facts.tx ||
            (known->facts.tx == found->facts.tx && known->met_ns < found->met_ns))
            found = known;
    }
    return found;
}

static struct known *find(const struct programs *programs, uint64_t pod, char *path)
{
    struct known like = {.pod = pod, .path = path},
                 **found = tfind(&like, &programs->tree, by_name);

    return found ? *found : NULL;
}

static struct known *find_of(const struct programs *programs, const struct process *process)
{
    return process->pod ? find(programs, process->pod->cgroup_id, process->binary) : NULL;
}

/* NULL: there is no room. */
static struct known *add(struct programs *programs, uint64_t pod, const char *path)
{
    size_t len;
    struct known *known, *other = least(programs, pod, &len);

    if (len >= PROGRAMS_OF_POD_MAX)
        forget(programs, other);
    if (programs->len >= PROGRAMS_MAX || !(known = calloc(1, sizeof(*known))))
        return NULL;
    known->pod = pod;
    known->path = strdup(path);
    if (!known->path || !tsearch(known, &programs->tree, by_name)) {
        free(known->path);
        free(known);
        return NULL;
    }
    known->facts.host = programs->host;
    known->link = &programs->first;
    known->next = programs->first;
    if (known->next)
        known->next->link = &known->next;
    programs->first = known;
    programs->len++;
    return known;
}

static struct known *find_or_add(struct programs *programs, uint64_t pod, const char *path)
{
    struct known *known = find(programs, pod, (char *)(uintptr_t)path);

    if (!known)
        known = add(programs, pod, path);
    if (known)
        known->met_ns = clock_ns();
    return known;
}

/* ---- what is seen ---- */

static void see(struct programs *programs, struct known *known, enum program_sight sight)
{
    if (program_saw(&known->use, sight))
        tell_all_images(programs, known);
}

static void add_image(struct programs *programs, struct known *known, const struct abi_ktls *record)
{
    struct known_image *image = known->images;
    bool bypasses = known->use.bypasses;

    for (size_t i = 0; i < known->images_len; i++)
        if (known->images[i].inode == record->inode && known->images[i].device == record->device)
            return;
    if (known->images_len == PROGRAM_IMAGES_MAX) { /* the oldest goes */
        known->use.bypasses = false;
        tell_kernel(programs, known, image);
        known->use.bypasses = bypasses;
        memmove(image, image + 1, sizeof(*image) * (PROGRAM_IMAGES_MAX - 1));
        known->images_len--;
    }
    image = &known->images[known->images_len++];
    *image = (struct known_image){.inode = record->inode, .device = record->device};
    if (bypasses)
        tell_kernel(programs, known, image);
}

void programs_on_ktls(void *arg, const struct abi_ktls *record)
{
    struct programs *programs = arg;
    struct process *process;
    struct known *known;

    if (!pods_find(programs->parts.pods, record->pod))
        return;
    process =
        identity_flow_begin(programs->parts.identity, record->pid, record->start_ns, record->pod);
    if (!process)
        return; /* it has ended already: there is nobody whose next connection it could be */
    known = find_or_add(programs, record->pod, process->binary);
    identity_flow_end(programs->parts.identity, &process);
    if (!known)
        return;
    known->facts.host = true;
    known->facts.openssl =
        known->facts.openssl == PROGRAM_UNKNOWN ? PROGRAM_YES : known->facts.openssl;
    known->facts.version = record->version;
    known->facts.cipher = NULL;
    if (record->direction == ABI_RX) {
        known->facts.rx = true;
        return;
    }
    known->facts.tx = true;
    add_image(programs, known, record);
    see(programs, known, PROGRAM_HANDS_KEYS);
}

void programs_on_flow(struct programs *programs, struct process *process, const struct addr *dst)
{
    struct known *known = find_of(programs, process);

    if (!process->pod)
        return;
    if (!known) {
        known = find_or_add(programs, process->pod->cgroup_id, process->binary);
        if (!known)
            return;
        image_libs_look(process->pid, &known->facts);
    }
    process_unref(&known->process);
    known->process = process_ref(process);
    known->dst = *dst;
}

/* Whether its policies deny what cannot be read, or want it back on the proxy. */
static bool is_refused(const struct programs *programs, const struct programs_closed *closed)
{
    CLEANUP(policy_view_unref)
    struct policy_view *view =
        policies_view(programs->parts.policies, closed->process->pod->cgroup_id);
    CLEANUP(policy_scope_free)
    struct policy_scope *scope = view ? policy_scope_new(view, closed->process) : NULL;
    const struct policy_facts facts = {.dst = closed->dst,
                                       .resolved = {closed->names.list, closed->names.len}};
    struct policy_verdict verdict;
    enum policy_unseen what;

    if (!scope)
        return false;
    policy_decide_unseen(scope, &facts, "", &what, &verdict);
    return what != POLICY_UNSEEN_ALERT;
}

/* What is no HTTP, nobody reads on the proxy, either. */
static bool proxy_would_read(enum opaque why)
{
    return why != OPAQUE_UNKNOWN && why != OPAQUE_SERVER_FIRST && why != OPAQUE_OTHER_PROTOCOL;
}

void programs_on_close(struct programs *programs, const struct programs_closed *closed)
{
    const struct process *process = closed->process;
    struct known *known = find_of(programs, process);

    if (!known)
        return;
    known->tls = known->tls || closed->tls;
    if (closed->tls_version) {
        known->facts.version = closed->tls_version;
        known->facts.cipher = closed->tls_cipher;
    }
    if (closed->route != ROUTE_KERNEL || closed->visibility != VISIBILITY_OPAQUE ||
        closed->undecided)
        return;
    if (is_refused(programs, closed))
        see(programs, known, PROGRAM_IS_REFUSED);
    else if (proxy_would_read(closed->opaque))
        see(programs, known, PROGRAM_IS_BLIND);
}

void programs_on_http2(struct programs *programs, const struct process *process)
{
    struct known *known = find_of(programs, process);

    if (!known || known->http2)
        return;
    known->http2 = true;
    if (known->use.bypasses)
        tell_all_images(programs, known);
}

void programs_on_undecided(struct programs *programs, const struct process *process)
{
    struct known *known = find_of(programs, process);

    if (known)
        see(programs, known, PROGRAM_IS_REFUSED);
}

void programs_forget_pod(struct programs *programs, uint64_t pod)
{
    struct known *next;

    for (struct known *known = programs->first; known; known = next) {
        next = known->next;
        if (known->pod == pod)
            forget(programs, known);
    }
}

/* ---- the whole ---- */

/* Of an agent before us: what it knew of them is gone, so they are met anew. */
static void clear(int fd)
{
    struct abi_program key;

    while (bpf_map_get_next_key(fd, NULL, &key) == 0 && bpf_map_delete_elem(fd, &key) == 0)
        ;
}

int programs_new(struct programs **out, const struct programs_parts *parts, struct err *err)
{
    struct programs *programs = calloc(1, sizeof(*programs));

    if (!programs)
        return err_set(err, -ENOMEM, "the programs that use kTLS");
    programs->parts = *parts;
    programs->fd = bpf_map__fd(parts->bpf->maps.ktls_programs);
    programs->route_fd = bpf_map__fd(parts->bpf->maps.route);
    programs->host = host_has_ktls();
    clear(programs->fd);
    *out = programs;
    return 0;
}

void programs_free(struct programs **programs)
{
    struct programs *gone = TAKE(*programs);

    if (!gone)
        return;
    gone->fd = -1; /* nothing is told from here on */
    while (gone->first)
        forget(gone, gone->first);
    free(gone);
}
