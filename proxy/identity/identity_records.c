/* What the kernel tells, handled as it is read: images begin, processes fork and end, or are met in
 * a pod; what is about sockets goes on to whom it concerns. */
#include "proxy/identity/identity_own.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "proxy/pods/pods.h"

enum {
    STEP_RECORDS_MAX =
        65536, /* more than the ring holds; then the loop's other work has its turn */
};

/* Who forked the process of the record. A reference, or NULL when nobody knows. One outside any pod
 * is read anew each time: nobody would tell us when it changes its image or ends. */
static struct process *parent_of(struct identity *identity, const struct abi_process *record)
{
    struct process *parent;

    if (!record->ppid)
        return NULL;
    parent = identity_known(identity, record->ppid, record->parent_start_ns);
    if (parent)
        return process_ref(parent);
    return identity_from_proc(identity, record->ppid, record->parent_start_ns);
}

void identity_emit(struct identity *identity, struct flow_event *event, uint64_t boot_ns)
{
    if (event)
        event->time_ns = identity_wall_ns(identity, boot_ns);
    bus_emit(identity->producer, &event);
}

/* The new image, with its pod and parent. A reference; NULL when out of memory. */
static struct process *make_image(struct identity *identity, const struct abi_process *record)
{
    const struct table_entry *before =
        identity_find_living(identity, record->pid, record->start_ns);
    CLEANUP(process_unref) struct process *process = image_exec(&identity->host, record);
    CLEANUP(process_unref) struct process *parent = NULL;

    if (!process)
        return NULL;
    process->pod = pod_ref(pods_find(identity->pods, record->pod));
    /* who forked it, even if that one is gone and init has adopted it */
    parent = before ? process_ref(before->process->parent) : NULL;
    if (!parent)
        parent = parent_of(identity, record);
    if (!image_set_parent(process, parent))
        return NULL;
    return TAKE(process);
}

static void begins(const struct identity *identity, const struct identity_begin *begin)
{
    if (identity->on_exec)
        identity->on_exec(identity->on_exec_arg, begin);
}

static void handle_exec(struct identity *identity, const struct abi_process *record)
{
    CLEANUP(process_unref) struct process *process = make_image(identity, record);
    struct table_entry *entry = process ? identity_put(identity, process) : NULL;

    begins(identity, &(struct identity_begin){record->pid, record->start_ns, record->netns_cookie,
                                              record->pod});
    if (entry)
        table_tell(&identity->table, entry);
    if (entry && identity->on_image)
        identity->on_image(identity->on_image_arg, process);
    identity_emit(identity, entry ? flow_event_new(FLOW_EVENT_EXEC, process, process->pod) : NULL,
                  record->time_ns);
}

static void handle_fork(struct identity *identity, const struct abi_process *record)
{
    CLEANUP(process_unref) struct process *parent = parent_of(identity, record);
    CLEANUP(process_unref) struct process *process = NULL;

    /* an exec may still tell of the child, or else /proc, when somebody asks */
    if (!parent || !(process = image_fork(record, parent)))
        return;
    process->pod = pod_ref(pods_find(identity->pods, record->pod));
    identity_put(identity, process);
}

static void handle_exit(struct identity *identity, const struct abi_process *record)
{
    struct table_entry *entry = identity_find_living(identity, record->pid, record->start_ns);

    if (!entry)
        return; /* older than its pod's registration; or told by two last threads at once */
    entry->exit_code = record->exit_code;
    entry->exit_ns = record->time_ns;
    entry->read_ns = clock_read_ns(CLOCK_BOOTTIME);
    entry->waits = entry->told;
    table_end(&identity->table, entry);
    /* before the count of flows is looked at: see identity_flow_end */
    atomic_store(&entry->process->life->exited, true);
}

static void handle_process(struct identity *identity, const struct abi_process *record)
{
    switch (record->kind) {
    case ABI_PROCESS_EXEC:
        handle_exec(identity, record);
        break;
    case ABI_PROCESS_FORK:
        handle_fork(identity, record);
        break;
    case ABI_PROCESS_EXIT:
        handle_exit(identity, record);
        break;
    }
}

/* It is where it was not known to be, without an image that it began there. */
static void handle_entered(struct identity *identity, const struct abi_entered *record)
{
    struct pod *pod = pods_find(identity->pods, record->pod);
    const struct table_entry *before =
        identity_find_living(identity, record->pid, record->start_ns);
    CLEANUP(process_unref) struct process *process = NULL;

    if (!pod)
        return;
    process = identity_take_in(identity, record->pid, record->start_ns, pod,
                               before ? before->process : NULL);
    if (process)
        begins(identity, &(struct identity_begin){record->pid, record->start_ns,
                                                  record->netns_cookie, record->pod});
}

int identity_on_record(void *arg, void *data, size_t len)
{
    struct identity *identity = arg;
    uint32_t kind;

    if (len < sizeof(kind))
        return 0;
    memcpy(&kind, data, sizeof(kind));
    if (kind == ABI_NET_UNKNOWN) {
        if (len >= sizeof(struct abi_entered))
            handle_entered(identity, data);
    } else if (kind == ABI_KTLS) {
        if (identity->on_ktls && len >= sizeof(struct abi_ktls))
            identity->on_ktls(identity->on_ktls_arg, data);
    } else if (kind == ABI_DATAGRAM) {
        if (identity->on_datagram && len >= sizeof(struct abi_datagram))
            identity->on_datagram(identity->on_datagram_arg, data);
    } else if (kind == ABI_SYN_HELD || kind == ABI_SYN_GONE) {
        if (identity->on_syn && len >= offsetof(struct abi_syn, packet))
            identity->on_syn(identity->on_syn_arg, data);
    } else if (kind >= ABI_SOCKET_CONNECT) {
        if (identity->on_socket && len >= sizeof(struct abi_socket))
            identity->on_socket(identity->on_socket_arg, data);
    } else if (image_is_whole(data, len)) {
        handle_process(identity, data);
    }
    return ++identity->records < STEP_RECORDS_MAX ? 0 : -EAGAIN;
}

enum ringbuf_turn identity_read_records(struct identity *identity)
{
    enum ringbuf_turn turn;

    if (!identity->ring || identity->paused)
        return RINGBUF_ALL; /* retired, or not yet ours to read */
    identity->reading = true;
    identity->records = 0;
    turn = ringbuf_read(identity->ring);
    if (identity->on_syn)
        identity->on_syn(identity->on_syn_arg, NULL);
    identity->reading = false;
    return turn;
}
