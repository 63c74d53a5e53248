/* From the kernel come exec, fork and exit, in the order they happened for any one process, for all
 * that run in a pod. A process that was never seen to begin (it is older than its pod's
 * registration, or the ring buffer was full) is read from /proc when somebody asks.
 *
 * Other threads hold references to processes and read them, so a process is finished before the
 * first reference is handed out, and an exec makes a new one in the old one's place. */
#include "proxy/identity/identity.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "proxy/identity/image.h"
#include "proxy/identity/snapshot.h"
#include "proxy/identity/table.h"
#include "proxy/pods/pods.h"
#include "sallyport.skel.h"

enum {
    STEP_RECORDS_MAX =
        65536, /* more than the ring holds; then the loop's other work has its turn */
    SWEEP_MIN = 1024,
    CLOCK_STEP_NS = 10 * 1000 * 1000, /* less is the clock's own steering, or ours to measure it */
};
static const uint64_t second_ns = 1000000000;
static const uint32_t lost_and_told = 1;               /* its place in the map */
static const uint64_t exit_wait_ns = 500 * 1000000ull; /* DESIGN section 7 */

struct identity {
    struct sallyport_bpf *bpf;
    struct pods *pods;
    struct bus_producer *producer;
    struct image_host host;
    struct ring_buffer *ring;
    int wake_fd;
    struct table table;
    bool paused;       /* records wait */
    bool reading;      /* a record of the ring, inside which no other can be */
    size_t records;    /* handled in this turn */
    uint64_t lost;     /* by the kernel, and told */
    uint64_t sweep_ns; /* when to look for processes whose exit was lost; 0: no need */
    size_t sweep_len;  /* ... and from how many on */
    void (*on_exec)(void *arg, const struct identity_begin *begin);
    void *on_exec_arg;
    void (*on_image)(void *arg, const struct process *process);
    void *on_image_arg;
    void (*before_exits)(void *arg);
    void *before_exits_arg;
    void (*on_socket)(void *arg, const struct abi_socket *record);
    void *on_socket_arg;
    void (*on_syn)(void *arg, const struct abi_syn *record);
    void *on_syn_arg;
    void (*on_ktls)(void *arg, const struct abi_ktls *record);
    void *on_ktls_arg;
    void (*on_datagram)(void *arg, const struct abi_datagram *record);
    void *on_datagram_arg;
};

/* ---- the table ---------------------------------------------------------------------------------
 */

static bool is_dead(void *arg, struct table_entry *entry)
{
    (void)arg;
    return !snapshot_is_alive(entry->process->pid, entry->process->start_ns);
}

/* Those whose exit was never told: it was lost, or they had been moved out of their pod. */
static void sweep(struct identity *identity)
{
    table_sweep(&identity->table, is_dead, NULL);
    identity->sweep_len = 2 * identity->table.len;
    if (identity->sweep_len < SWEEP_MIN)
        identity->sweep_len = SWEEP_MIN;
    identity->sweep_ns = 0;
}

/* It may be known from /proc alone, which tells the start less exactly. */
static struct table_entry *find_living(const struct identity *identity, uint32_t pid,
                                       uint64_t start_ns)
{
    struct table_entry *entry = table_find(&identity->table, pid, start_ns);

    return entry ? entry : table_find(&identity->table, pid, snapshot_start_ns(start_ns));
}

/* Before anybody else sees the process: it goes on with the life of the image before. */
static struct table_entry *put(struct identity *identity, struct process *process)
{
    const struct table_entry *before = find_living(identity, process->pid, process->start_ns);

    process->life = before ? process_life_ref(before->process->life) : process_life_new();
    if (!process->life)
        return NULL;
    if (identity->table.len >= identity->sweep_len)
        sweep(identity);
    return table_put(&identity->table, process);
}

/* A finished process out of the table, living or just ended; borrowed, or NULL. */
static struct process *known(struct identity *identity, uint32_t pid, uint64_t start_ns)
{
    struct table_entry *entry = table_find(&identity->table, pid, start_ns);

    if (!entry)
        entry = table_find_ended(&identity->table, pid, start_ns);
    if (!entry || !image_complete(&identity->host, entry->process))
        return NULL;
    return entry->process;
}

/* A reference, or NULL. */
static struct process *from_proc(struct identity *identity, uint32_t pid, uint64_t start_ns)
{
    CLEANUP(process_unref) struct process *process = snapshot_take(pid, start_ns);

    if (!process || !image_name(&identity->host, process))
        return NULL;
    return TAKE(process);
}

/* Who forked the process of the record. A reference, or NULL when nobody knows. One outside any pod
 * is read anew each time: nobody would tell us when it changes its image or ends. */
static struct process *parent_of(struct identity *identity, const struct abi_process *record)
{
    struct process *parent;

    if (!record->ppid)
        return NULL;
    parent = known(identity, record->ppid, record->parent_start_ns);
    if (parent)
        return process_ref(parent);
    return from_proc(identity, record->ppid, record->parent_start_ns);
}

/* ---- what the kernel tells ---------------------------------------------------------------------
 */

static void emit(struct identity *identity, struct flow_event *event, uint64_t boot_ns)
{
    if (event)
        event->time_ns = identity_wall_ns(identity, boot_ns);
    bus_emit(identity->producer, &event);
}

/* The new image, with its pod and parent. A reference; NULL when out of memory. */
static struct process *make_image(struct identity *identity, const struct abi_process *record)
{
    const struct table_entry *before = find_living(identity, record->pid, record->start_ns);
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
    struct table_entry *entry = process ? put(identity, process) : NULL;

    begins(identity, &(struct identity_begin){record->pid, record->start_ns, record->netns_cookie,
                                              record->pod});
    if (entry)
        table_tell(&identity->table, entry);
    if (entry && identity->on_image)
        identity->on_image(identity->on_image_arg, process);
    emit(identity, entry ? flow_event_new(FLOW_EVENT_EXEC, process, process->pod) : NULL,
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
    put(identity, process);
}

static void handle_exit(struct identity *identity, const struct abi_process *record)
{
    struct table_entry *entry = find_living(identity, record->pid, record->start_ns);

    if (!entry)
        return; /* older than its pod's registration; or told by two last threads at once */
    entry->exit_code = record->exit_code;
    entry->exit_ns = record->time_ns;
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

/* A process out of /proc becomes one of this pod's, so its next exec and its exit will be told.
 * `before`: as which it was known until now, or NULL. A reference, or NULL. */
static struct process *take_in(struct identity *identity, uint32_t pid, uint64_t start_ns,
                               struct pod *pod, const struct process *before)
{
    CLEANUP(process_unref) struct process *process = from_proc(identity, pid, start_ns);

    if (!process)
        return NULL;
    process->pod = pod_ref(pod);
    if (before && !image_set_parent(process, before->parent))
        return NULL;
    put(identity, process);
    if (identity->on_image)
        identity->on_image(identity->on_image_arg, process);
    return process->life ? TAKE(process) : NULL; /* else out of memory */
}

/* It is where it was not known to be, without an image that it began there. */
static void handle_entered(struct identity *identity, const struct abi_entered *record)
{
    struct pod *pod = pods_find(identity->pods, record->pod);
    const struct table_entry *before = find_living(identity, record->pid, record->start_ns);
    CLEANUP(process_unref) struct process *process = NULL;

    if (!pod)
        return;
    process =
        take_in(identity, record->pid, record->start_ns, pod, before ? before->process : NULL);
    if (process)
        begins(identity, &(struct identity_begin){record->pid, record->start_ns,
                                                  record->netns_cookie, record->pod});
}

static int on_record(void *arg, void *data, size_t len)
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

/* False when there is more than a turn's worth. Exits are noted here and told by tell_exits(): a
 * flow whose accept we are just handling may belong to one of them. */
static bool read_records(struct identity *identity)
{
    bool all;

    if (!identity->ring || identity->paused)
        return true; /* retired, or not yet ours to read */
    identity->reading = true;
    identity->records = 0;
    all = ring_buffer__consume(identity->ring) != -EAGAIN;
    identity->reading = false;
    return all;
}

static void tell_lost(struct identity *identity)
{
    uint32_t zero = 0;
    uint64_t lost = identity->lost;
    struct flow_event *event;

    if (bpf_map_lookup_elem(bpf_map__fd(identity->bpf->maps.records_lost), &zero, &lost) ||
        lost == identity->lost)
        return;
    /* an exit may be among them; the process is still on its way out */
    identity->sweep_ns = clock_read_ns(CLOCK_BOOTTIME) + second_ns;
    event = flow_event_new(FLOW_EVENT_LOST, NULL, NULL);
    if (!event)
        return; /* out of memory: told later, with those lost until then */
    event->lost.count = lost - identity->lost;
    event->lost.reason = "the kernel's ring buffer of processes and sockets was full";
    bus_emit(identity->producer, &event);
    identity->lost = lost;
    bpf_map_update_elem(bpf_map__fd(identity->bpf->maps.records_lost), &lost_and_told, &lost,
                        BPF_ANY);
}

static void tell_exit(struct identity *identity, struct table_entry *entry)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_EXIT, entry->process, entry->process->pod);

    if (event) {
        event->exit.signal = entry->exit_code & 0x7f;
        event->exit.status = event->exit.signal ? 0 : entry->exit_code >> 8 & 0xff;
    }
    emit(identity, event, entry->exit_ns);
    entry->waits = false;
}

/* Tells the exits that are due before `now`, of those until `accepted`, and forgets those who ended
 * long enough ago. Returns when the next one is due, or UINT64_MAX. */
static uint64_t tell_exits(struct identity *identity, uint64_t accepted, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (struct table_entry *entry = identity->table.ended; entry; entry = entry->next) {
        uint64_t due = entry->exit_ns + exit_wait_ns;

        if (!entry->waits)
            continue;
        if (entry->exit_ns > accepted)
            next = now;
        else if (now >= due || atomic_load(&entry->process->life->flows) == 0)
            tell_exit(identity, entry);
        else if (due < next)
            next = due;
    }
    while (identity->table.ended && !identity->table.ended->waits &&
           now >= identity->table.ended->exit_ns + exit_wait_ns)
        table_drop_first_ended(&identity->table);
    return next;
}

/* The wall clock may be set at any time; times of events follow it. */
static void follow_clock(struct identity *identity)
{
    uint64_t is = clock_read_ns(CLOCK_REALTIME) - clock_read_ns(CLOCK_BOOTTIME);
    uint64_t off =
        is > identity->host.wall_ns ? is - identity->host.wall_ns : identity->host.wall_ns - is;

    if (off > CLOCK_STEP_NS)
        identity->host.wall_ns = is;
}

int identity_step(struct identity *identity)
{
    eventfd_t woken;
    uint64_t accepted, now, next;
    bool all;

    follow_clock(identity);
    eventfd_read(identity->wake_fd, &woken);
    all = read_records(identity);
    accepted = clock_read_ns(CLOCK_BOOTTIME);
    if (identity->before_exits)
        identity->before_exits(identity->before_exits_arg);
    tell_lost(identity);
    now = clock_read_ns(CLOCK_BOOTTIME);
    if (identity->sweep_ns && now >= identity->sweep_ns)
        sweep(identity);
    next = tell_exits(identity, accepted, now);
    if (!all)
        return 0;
    if (identity->sweep_ns && identity->sweep_ns < next)
        next = identity->sweep_ns;
    return next == UINT64_MAX ? -1 : (int)((next - now + 999999) / 1000000);
}

void identity_finish(struct identity *identity)
{
    read_records(identity);
    tell_lost(identity);
    tell_exits(identity, UINT64_MAX, UINT64_MAX);
}

void identity_pause(struct identity *identity, bool pause)
{
    identity->paused = pause;
}

void identity_retire(struct identity *identity)
{
    identity_before_exits(identity, NULL, NULL);
    while (!read_records(identity))
        ;
    tell_lost(identity);
    tell_exits(identity, UINT64_MAX, UINT64_MAX);
    ring_buffer__free(identity->ring);
    identity->ring = NULL;
}

size_t identity_alive(const struct identity *identity)
{
    return identity->table.told;
}

void identity_each(const struct identity *identity,
                   void (*visit)(void *arg, const struct process *process, bool told), void *arg)
{
    table_each(&identity->table, visit, arg);
}

/* ---- flows -------------------------------------------------------------------------------------
 */

void identity_meet(struct identity *identity, uint32_t pid, struct pod *pod)
{
    struct table_entry *entry = table_find(&identity->table, pid, 0);
    const struct process *known = entry ? entry->process : NULL;
    CLEANUP(process_unref) struct process *process = NULL;

    if (!known || known->pod != pod)
        process = take_in(identity, pid, known ? known->start_ns : 0, pod, known);
    if (known && !process && known->pod != pod) /* the pid is another process's by now */
        process = take_in(identity, pid, 0, pod, NULL);
}

static bool is_of_pod(void *pod, struct table_entry *entry)
{
    return entry->process->pod == pod;
}

void identity_forget_pod(struct identity *identity, struct pod *pod)
{
    table_sweep(&identity->table, is_of_pod, pod);
}

void identity_catch_up(struct identity *identity)
{
    if (identity->reading)
        return;
    read_records(identity);
    if (identity->records)
        eventfd_write(identity->wake_fd, 1); /* identity_fd() is quiet now, but exits may wait */
}

struct process *identity_flow_begin(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                    uint64_t pod_id)
{
    CLEANUP(process_unref) struct process *process = NULL, *again = NULL;
    struct pod *pod;

    /* always: what the kernel told before the connect may be an exec, and so another image */
    identity_catch_up(identity);
    process = process_ref(known(identity, pid, start_ns));
    pod = pods_find(identity->pods, pod_id);
    /* known as another pod's: one was registered, or removed, between it and its cgroup */
    if (!process || (pod && process->pod != pod))
        again = take_in(identity, pid, start_ns, pod, process);
    if (again) {
        process_unref(&process);
        process = TAKE(again);
    }
    if (!process)
        return NULL;
    atomic_fetch_add(&process->life->flows, 1);
    return TAKE(process);
}

void identity_adopt(struct identity *identity, uint32_t pid, uint64_t start_ns, uint64_t pod)
{
    struct process *process = identity_flow_begin(identity, pid, start_ns, pod);
    struct table_entry *entry = process ? table_find(&identity->table, pid, start_ns) : NULL;

    if (entry)
        table_tell(&identity->table, entry);
    identity_flow_end(identity, &process);
}

struct process *identity_flow_again(struct process *process)
{
    atomic_fetch_add(&process->life->flows, 1);
    return process_ref(process);
}

/* Either this thread sees `exited`, or the control thread sees that the flow is gone: each writes
 * before it reads. */
void identity_flow_end(struct identity *identity, struct process **process)
{
    if (!*process)
        return;
    if (atomic_fetch_sub(&(*process)->life->flows, 1) == 1 &&
        atomic_load(&(*process)->life->exited))
        eventfd_write(identity->wake_fd, 1);
    process_unref(process);
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

int identity_new(struct identity **out, struct sallyport_bpf *bpf, struct pods *pods,
                 struct bus_producer *producer, const char *node_name, struct err *err)
{
    CLEANUP(identity_free) struct identity *identity = calloc(1, sizeof(*identity));

    if (!identity)
        return err_set(err, -ENOMEM, "process table: out of memory");
    identity->bpf = bpf;
    identity->pods = pods;
    identity->producer = producer;
    identity->host.node_name = node_name;
    identity->host.wall_ns = clock_read_ns(CLOCK_REALTIME) - clock_read_ns(CLOCK_BOOTTIME);
    identity->sweep_len = SWEEP_MIN;
    identity->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (identity->wake_fd < 0)
        return err_sys(err, -errno, "process table: eventfd");
    bpf_map_lookup_elem(bpf_map__fd(bpf->maps.records_lost), &lost_and_told, &identity->lost);
    if (table_init(&identity->table) < 0)
        return err_set(err, -ENOMEM, "process table: out of memory");
    identity->ring = ring_buffer__new(bpf_map__fd(bpf->maps.records), on_record, identity, NULL);
    if (!identity->ring)
        return err_sys(err, -errno, "ring buffer of process events");
    *out = TAKE(identity);
    return 0;
}

void identity_free(struct identity **identity)
{
    if (!*identity)
        return;
    ring_buffer__free((*identity)->ring);
    table_fini(&(*identity)->table);
    fd_close(&(*identity)->wake_fd);
    free(TAKE(*identity));
}

int identity_fd(const struct identity *identity)
{
    return ring_buffer__epoll_fd(identity->ring);
}

int identity_wake_fd(const struct identity *identity)
{
    return identity->wake_fd;
}

void identity_on_exec(struct identity *identity,
                      void (*on_exec)(void *arg, const struct identity_begin *begin), void *arg)
{
    identity->on_exec = on_exec;
    identity->on_exec_arg = arg;
}

void identity_on_image(struct identity *identity,
                       void (*on_image)(void *arg, const struct process *process), void *arg)
{
    identity->on_image = on_image;
    identity->on_image_arg = arg;
}

void identity_on_socket(struct identity *identity,
                        void (*on_socket)(void *arg, const struct abi_socket *record), void *arg)
{
    identity->on_socket = on_socket;
    identity->on_socket_arg = arg;
}

void identity_on_ktls(struct identity *identity,
                      void (*on_ktls)(void *arg, const struct abi_ktls *record), void *arg)
{
    identity->on_ktls = on_ktls;
    identity->on_ktls_arg = arg;
}

void identity_on_datagram(struct identity *identity,
                          void (*on_datagram)(void *arg, const struct abi_datagram *record),
                          void *arg)
{
    identity->on_datagram = on_datagram;
    identity->on_datagram_arg = arg;
}

void identity_on_syn(struct identity *identity,
                     void (*on_syn)(void *arg, const struct abi_syn *record), void *arg)
{
    identity->on_syn = on_syn;
    identity->on_syn_arg = arg;
}

uint64_t identity_wall_ns(const struct identity *identity, uint64_t boot_ns)
{
    return boot_ns + identity->host.wall_ns;
}

void identity_before_exits(struct identity *identity, void (*before_exits)(void *arg), void *arg)
{
    identity->before_exits = before_exits;
    identity->before_exits_arg = arg;
}
