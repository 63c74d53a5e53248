/* kernel_images: which lists of binaries there are, told to the kernel, which notes for each
 * process of a pod on which of them it is (bpf/image.h); and that noted here for processes which
 * the kernel did not see begin, or saw before it knew a list. Control thread only.
 * Called by:  kernel_rules.c. */
#pragma once

#include "base/err.h"
#include "policy/binaries.h"

struct kernel_images;
struct sallyport_bpf;

/* Knows the lists of an agent before us, as long as its tables are there. */
int kernel_images_new(struct kernel_images **out, struct sallyport_bpf *bpf, struct err *err);
void kernel_images_free(struct kernel_images **images);

/* For tables to use; then kernel_images_tell(), which says whether there is one that was not there
 * before. -errno: the kernel has no room. */
struct binaries *kernel_images_lists(struct kernel_images *images);
int kernel_images_tell(struct kernel_images *images, bool *more, struct err *err);
/* The tables of an agent before us are gone. */
void kernel_images_sweep(struct kernel_images *images);

void kernel_images_note(struct kernel_images *images, const struct process *process);
