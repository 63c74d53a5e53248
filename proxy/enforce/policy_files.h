/* policy_files: policies from files and directories, or everything that is wrong with them.
 *
 * Touches nothing but the files, so any thread may read.
 * Called by:  sources_reading.c, command/.
 * Leads to:   ../../policy/compile.h. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "policy/compile.h"

/* Begins zeroed, and is the caller's. What is wrong, fault by fault, a line each with the line it
 * is about, as log_story() takes it. */
struct policy_story {
    char *text; /* NULL: nothing */
    size_t len, faults;
    bool failed; /* there was no memory for all of it */
};
void policy_story_fini(struct policy_story *story);
/* One that belongs to no place: "PATH: error: …". */
void policy_story_add(struct policy_story *story, const char *path, const char *sentence);
/* What is left to say where the story was told. Returns -EINVAL. */
int policy_story_summary(const struct policy_story *story, struct err *err);

struct policy_files_visit { /* fn's result: false, there are faults, in story */
    bool (*fn)(void *arg, const char *file, struct span bytes, struct policy_story *story);
    void *arg;
};
/* Reads path: a file, or what ends in .yaml or .yml in a directory, in the order of the names.
 * may_miss: that there is nothing there is no fault. false: there are faults, in story. */
bool policy_files_each(const char *path, bool may_miss, const struct policy_files_visit *visit,
                       struct policy_story *story);
/* Adds the policies there to list. */
bool policy_files_read(struct policy_list *list, const char *path, bool may_miss,
                       struct policy_story *story);
/* A set of what is in all of these, and nothing else. -EINVAL: there are faults, in story. */
int policy_files_load(struct policy_set **out, const char *const *paths, size_t len,
                      struct policy_story *story, struct err *err);
/* The same of bytes that somebody has read; file: what they are called. */
bool policy_files_compile(struct policy_list *list, struct span bytes, const char *file,
                          struct policy_story *story);
