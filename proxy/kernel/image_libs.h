/* image_libs: which libraries for TLS a process has mapped: for why it does not use kTLS.
 *
 * Called by:  programs.c. */
#pragma once

#include <stdint.h>

#include "base/span.h"
#include "proxy/kernel/program.h"

/* Fills openssl and own_bio as far as /proc tells. */
void image_libs_look(uint32_t pid, struct program_facts *facts);

/* Pure: the same by the text of /proc/PID/maps, or a part of it that ends with a whole line. */
void image_libs_read(struct span maps, struct program_facts *facts);
