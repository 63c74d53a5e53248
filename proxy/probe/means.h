/* means: what this kernel offers of the kernel route, found by trying.
 *
 * As probe does it, but of the rest nothing, and in the process that wants to know: a connection
 * over loopback, and programs that are gone again. Where there is no kTLS that is all, for then
 * nothing else needs to be tried. The kernel loads its tls module for it, if there is one.
 *
 * Called by:  kernel/backend.c. */
#pragma once

#include "proxy/probe/report.h"

struct kernel_means means_find(void);
