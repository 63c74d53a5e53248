/* Who is known by now: the living and those who have just ended, or else what /proc says. */
#include "proxy/identity/identity_own.h"

#include "base/clock.h"

static bool is_dead(void *arg, struct table_entry *entry)
{
    (void)arg;
    return !snapshot_is_alive(entry->process->pid, entry->process->start_ns);
}

void identity_sweep(struct identity *identity)
{
    table_sweep(&identity->table, is_dead, NULL);
    identity->sweep_len = 2 * identity->table.len;
    if (identity->sweep_len < IDENTITY_SWEEP_MIN)
        identity->sweep_len = IDENTITY_SWEEP_MIN;
    identity->sweep_ns = 0;
}

struct table_entry *identity_find_living(const struct identity *identity, uint32_t pid,
                                         uint64_t start_ns)
{
    struct table_entry *entry = table_find(&identity->table, pid, start_ns);

    return entry ? entry : table_find(&identity->table, pid, snapshot_start_ns(start_ns));
}

struct table_entry *identity_put(struct identity *identity, struct process *process)
{
    const struct table_entry *before =
        identity_find_living(identity, process->pid, process->start_ns);

    process->life = before ? process_life_ref(before->process->life) : process_life_new();
    if (!process->life)
        return NULL;
    if (identity->table.len >= identity->sweep_len)
        identity_sweep(identity);
    return table_put(&identity->table, process);
}

struct process *identity_known(struct identity *identity, uint32_t pid, uint64_t start_ns)
{
    struct table_entry *entry = table_find(&identity->table, pid, start_ns);

    if (!entry)
        entry = table_find_ended(&identity->table, pid, start_ns);
    if (!entry || !image_complete(&identity->host, entry->process))
        return NULL;
    return entry->process;
}

struct process *identity_from_proc(struct identity *identity, uint32_t pid, uint64_t start_ns)
{
    CLEANUP(process_unref) struct process *process = snapshot_take(pid, start_ns);

    if (!process || !image_name(&identity->host, process))
        return NULL;
    return TAKE(process);
}

struct process *identity_take_in(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                 struct pod *pod, const struct process *before)
{
    CLEANUP(process_unref) struct process *process = identity_from_proc(identity, pid, start_ns);

    if (!process)
        return NULL;
    process->pod = pod_ref(pod);
    if (before && !image_set_parent(process, before->parent))
        return NULL;
    identity_put(identity, process);
    if (identity->on_image)
        identity->on_image(identity->on_image_arg, process);
    return process->life ? TAKE(process) : NULL; /* else out of memory */
}
