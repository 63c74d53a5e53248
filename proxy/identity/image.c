#include "proxy/identity/image.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/span.h"
#include "proxy/identity/arguments.h"

bool image_is_whole(const struct abi_process *record, size_t len)
{
    const size_t head = offsetof(struct abi_process, text);

    return len >= head && len - head >= (size_t)record->path_len + record->cwd_len +
                                            record->file_len + record->args_len;
}

/* All that a record tells in numbers. */
static struct process *process_of(const struct abi_process *record)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    atomic_init(&process->refs, 1);
    process->pid = record->pid;
    process->nspid = record->nspid;
    process->uid = record->uid;
    process->euid = record->euid;
    process->gid = record->gid;
    process->auid = record->auid;
    process->start_ns = record->start_ns;
    process->cap_permitted = record->cap_permitted;
    process->cap_effective = record->cap_effective;
    process->cap_inheritable = record->cap_inheritable;
    process->ns = (struct process_namespaces){
        .uts = record->ns_uts,
        .ipc = record->ns_ipc,
        .mnt = record->ns_mnt,
        .pid = record->ns_pid,
        .net = record->ns_net,
        .cgroup = record->ns_cgroup,
        .user = record->ns_user,
        .time = record->ns_time,
    };
    return process;
}

static char *text_of(struct span from, const char *behind)
{
    char *text = malloc(from.len + strlen(behind) + 1);

    if (text)
        strcpy(mempcpy(text, from.data, from.len), behind);
    return text;
}

struct process *image_exec(const struct image_host *host, const struct abi_process *record)
{
    CLEANUP(process_unref) struct process *process = process_of(record);
    struct span texts = span_of(record->text, sizeof(record->text));
    struct span path, cwd, file, args;

    if (!process || !span_take(&texts, record->path_len, &path) ||
        !span_take(&texts, record->cwd_len, &cwd) || !span_take(&texts, record->file_len, &file) ||
        !span_take(&texts, record->args_len, &args))
        return NULL;
    /* without a path: the name it was called by, which is more than nothing */
    process->binary =
        text_of(path.len ? path : file, record->flags & ABI_PROCESS_DELETED ? " (deleted)" : "");
    process->exec_ns = record->time_ns;
    process->cwd = text_of(cwd, "");
    process->arguments = arguments_join(args);
    process->arguments_cut = record->flags & ABI_PROCESS_ARGS_CUT;
    process->parent_exec_id =
        record->ppid ? arguments_exec_id(host->node_name, record->parent_start_ns, record->ppid)
                     : strdup("");
    if (!process->binary || !process->cwd || !process->arguments || !process->parent_exec_id ||
        !image_name(host, process))
        return NULL;
    return TAKE(process);
}

struct process *image_fork(const struct abi_process *record, struct process *parent)
{
    CLEANUP(process_unref) struct process *process = process_of(record);

    if (!process || !image_set_parent(process, parent))
        return NULL;
    process->exec_ns = parent->exec_ns;
    return TAKE(process);
}

static bool copy_texts(struct process *to, const struct process *from)
{
    to->binary = strdup(from->binary);
    to->arguments = strdup(from->arguments);
    to->cwd = strdup(from->cwd);
    to->arguments_cut = from->arguments_cut;
    return to->binary && to->arguments && to->cwd;
}

bool image_complete(const struct image_host *host, struct process *process)
{
    if (process->binary)
        return true;
    if (copy_texts(process, process->parent) && image_name(host, process))
        return true;
    free(TAKE(process->binary));
    free(TAKE(process->arguments));
    free(TAKE(process->cwd));
    free(TAKE(process->exec_id));
    return false;
}

bool image_name(const struct image_host *host, struct process *process)
{
    process->start_time_ns = process->start_ns + host->wall_ns;
    process->exec_id = arguments_exec_id(host->node_name, process->start_ns, process->pid);
    if (!process->parent_exec_id)
        process->parent_exec_id = strdup("");
    return process->exec_id && process->parent_exec_id;
}

/* The same process without ancestors. It is no key to anything: flows and exits know the real one.
 */
static struct process *without_ancestors(const struct process *process)
{
    CLEANUP(process_unref) struct process *copy = calloc(1, sizeof(*copy));

    if (!copy)
        return NULL;
    atomic_init(&copy->refs, 1);
    copy->pod = pod_ref(process->pod);
    copy->pid = process->pid;
    copy->nspid = process->nspid;
    copy->uid = process->uid;
    copy->euid = process->euid;
    copy->gid = process->gid;
    copy->auid = process->auid;
    copy->start_ns = process->start_ns;
    copy->start_time_ns = process->start_time_ns;
    copy->cap_permitted = process->cap_permitted;
    copy->cap_effective = process->cap_effective;
    copy->cap_inheritable = process->cap_inheritable;
    copy->ns = process->ns;
    copy->exec_id = strdup(process->exec_id);
    copy->parent_exec_id = strdup(process->parent_exec_id);
    if (!copy_texts(copy, process) || !copy->exec_id || !copy->parent_exec_id)
        return NULL;
    return TAKE(copy);
}

bool image_set_parent(struct process *process, struct process *parent)
{
    CLEANUP(process_unref) struct process *taken = NULL;
    CLEANUP(text_free) char *parent_exec_id = NULL;
    const struct process *ancestor = parent;
    int ancestors = 0;

    if (!parent)
        return true;
    while ((ancestor = ancestor->parent))
        ancestors++;
    taken = ancestors < IMAGE_ANCESTORS_MAX ? process_ref(parent) : without_ancestors(parent);
    parent_exec_id = strdup(parent->exec_id);
    if (!taken || !parent_exec_id)
        return false;
    process_unref(&process->parent);
    free(process->parent_exec_id);
    process->parent = TAKE(taken);
    process->parent_exec_id = TAKE(parent_exec_id);
    return true;
}
