/* voice: what libbpf says while it loads programs: the errno alone never tells which one the kernel
 * refused, or why.
 *
 * Must not be listened to by two threads at a time: libbpf has one voice for all.
 * Called by:  hooks.c, kernel/backend.c. */
#pragma once

#include <bpf/libbpf.h>

#include "base/err.h"

/* From here to voice_leave() what is said is kept instead of printed; voice_forget() begins anew.
 */
libbpf_print_fn_t voice_listen(void);
void voice_leave(libbpf_print_fn_t before);
void voice_forget(void);

/* The sentence for a load that failed; returns the code. */
int voice_refused(int code, struct err *err);
