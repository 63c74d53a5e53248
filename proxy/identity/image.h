/* image: the kernel's record of an exec or a fork -> struct process.
 *
 * Pure: a record in, a process out. Called by identity.c alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "policy/facts.h"

/* What is the same for all processes of a host. */
struct image_host {
    const char *node_name; /* borrowed */
    uint64_t wall_ns;      /* add to a time of the boot clock for the wall clock's */
};

enum { IMAGE_ANCESTORS_MAX = 16 };

/* The record is whole: as long as its lengths say. */
bool image_is_whole(const struct abi_process *record, size_t len);

/* A process that began an image. A reference; NULL when out of memory. parent_exec_id is set by the
 * record, parent is not. */
struct process *image_exec(const struct image_host *host, const struct abi_process *record);

/* A process that goes on with its parent's image. Most of these exec at once and nobody ever asks,
 * so it has no texts until image_complete(). parent is borrowed, and complete. */
struct process *image_fork(const struct abi_process *record, struct process *parent);

/* Gives a forked process the texts of its parent; before anybody else sees it. False when out of
 * memory; true at once when it has them. */
bool image_complete(const struct image_host *host, struct process *process);

/* Ids and the start by the wall clock, for a process from elsewhere (snapshot.h). False when out of
 * memory. */
bool image_name(const struct image_host *host, struct process *process);

/* Takes a reference on the parent, which is complete; NULL is fine and does nothing. Of a parent
 * with IMAGE_ANCESTORS_MAX ancestors a copy without them is taken: or else a process that forks and
 * leaves, again and again, would make a chain without end. False when out of memory. */
bool image_set_parent(struct process *process, struct process *parent);
