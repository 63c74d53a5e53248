/* pod_files: the registered pods on disk, a JSON file each, so that the next agent finds them.
 *
 *   DIR/ID.json         ID: the cgroup's id, in digits
 *   DIR/ID.json.broken  one that could not be read, or registered again: set aside, for a person
 *
 * Called by:  registry.c. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

/* Makes the directory, 0700. */
int pod_files_init(const char *dir, struct err *err);
/* Whole or not at all; 0600. */
int pod_files_write(const char *dir, uint64_t id, const json_t *object, struct err *err);
void pod_files_remove(const char *dir, uint64_t id);

enum pod_files_fate { POD_FILES_KEEP, POD_FILES_DROP, POD_FILES_SET_ASIDE };
/* Calls visit(arg, id, object, err) for each that can be read, and does with the file as that says;
 * err: why one is set aside, which is told. */
void pod_files_each(const char *dir,
                    enum pod_files_fate (*visit)(void *arg, uint64_t id, const json_t *object,
                                                 struct err *err),
                    void *arg);
