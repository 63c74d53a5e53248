/* identity_own: what identity.c, identity_known.c and identity_records.c share; nobody else's. */
#pragma once

#include "bpf/abi.h"
#include "proxy/identity/identity.h"
#include "proxy/identity/image.h"
#include "proxy/identity/snapshot.h"
#include "proxy/identity/table.h"
#include "proxy/ringbuf.h"

enum { IDENTITY_SWEEP_MIN = 1024 };

struct identity {
    struct sallyport_bpf *bpf;
    struct pods *pods;
    struct bus_producer *producer;
    struct image_host host;
    struct ringbuf *ring;
    int wake_fd;
    struct table table;
    bool paused;       /* records wait */
    bool reading;      /* a record of the ring, inside which no other can be */
    size_t records;    /* handled in this turn */
    uint64_t lost;     /* by the kernel, and told */
    uint64_t heard_ns; /* identity_heard() */
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

/* ---- identity_known.c ---- */

/* Drops those whose exit was never told: it was lost, or they had been moved out of their pod. */
void identity_sweep(struct identity *identity);
/* It may be known from /proc alone, which tells the start less exactly. */
struct table_entry *identity_find_living(const struct identity *identity, uint32_t pid,
                                         uint64_t start_ns);
/* Before anybody else sees the process: it goes on with the life of the image before. */
struct table_entry *identity_put(struct identity *identity, struct process *process);
/* A finished process out of the table, living or just ended; borrowed, or NULL. */
struct process *identity_known(struct identity *identity, uint32_t pid, uint64_t start_ns);
/* A reference, or NULL. */
struct process *identity_from_proc(struct identity *identity, uint32_t pid, uint64_t start_ns);
/* A process out of /proc becomes one of this pod's, so its next exec and its exit will be told.
 * `before`: as which it was known until now, or NULL. A reference, or NULL. */
struct process *identity_take_in(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                 struct pod *pod, const struct process *before);

/* ---- identity_records.c ---- */

/* For the ring buffer; arg: the identity. */
int identity_on_record(void *arg, void *data, size_t len);
/* Exits are noted here and told by identity_step(): a flow whose accept we are just handling may
 * belong to one of them. */
enum ringbuf_turn identity_read_records(struct identity *identity);
/* NULL: there was no memory for it, which is counted. */
void identity_emit(struct identity *identity, struct flow_event *event, uint64_t boot_ns);
