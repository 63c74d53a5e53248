/* arguments: how events spell a process: its arguments, and the id that names it for ever.
 *
 * Pure: bytes in, text out. Both are spelled as Tetragon spells them, so that a reader of its
 * events can read ours. Called by: image.c, snapshot.c. */
#pragma once

#include <stdint.h>

#include "base/span.h"

/* argv as the kernel keeps it, each argument with a NUL behind it, as one text: without argv[0],
 * joined by blanks; an argument that is empty or has a blank stands in quotes. What is inside is
 * left as it is: sinks escape it. The caller's to free; NULL when out of memory. */
char *arguments_join(struct span argv);

/* base64 of "node:start_ns:pid". The caller's to free; NULL when out of memory. */
char *arguments_exec_id(const char *node, uint64_t start_ns, uint32_t pid);
