/* tracers: which programs of bpf/ktls.bpf.c and bpf/records.bpf.c fit this kernel.
 *
 * Called by:  backend.c, before the object is loaded: all others are left out. */
#pragma once

#include "proxy/probe/report.h"

struct route_bpf;

/* The tls module is there if it can be: the means were found by it. */
void tracers_choose(struct route_bpf *bpf, const struct kernel_means *means);
