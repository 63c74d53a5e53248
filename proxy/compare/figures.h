/* figures: what can be said of a few numbers that were measured. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct figures {
    double median, least, most;
};

/* Of len > 0 numbers, which are put in order. */
struct figures figures_of(double *values, size_t len);
/* The least of them that a share of all (0 < share <= 1) does not exceed; of len > 0 in order. */
double figures_quantile(const double *ordered, size_t len, double share);

/* Whether these two rows of numbers were drawn from different ones: by the exact test of Mann and
 * Whitney, which looks at their order alone, with at most five errors in a hundred. So three a side
 * are never enough, however far apart they lie. At most FIGURES_MAX a side; false without memory.
 */
enum { FIGURES_MAX = 50 };
bool figures_differ(const double *a, size_t a_len, const double *b, size_t b_len);
