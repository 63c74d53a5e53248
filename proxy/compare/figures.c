#include "proxy/compare/figures.h"

#include <stdlib.h>

#include "base/cleanup.h"

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct figures figures_of(double *values, size_t len)
{
    qsort(values, len, sizeof(*values), by_size);
    return (struct figures){
        .median = (values[(len - 1) / 2] + values[len / 2]) / 2,
        .least = values[0],
        .most = values[len - 1],
    };
}

double figures_quantile(const double *ordered, size_t len, double share)
{
    size_t rank = (size_t)(share * (double)len);

    if ((double)rank < share * (double)len)
        rank++; /* the nearest rank: no number is made up between two */
    return ordered[rank ? rank - 1 : 0];
}

/* Twice the number of pairs in which the one of a is the lesser; equal ones count half. */
static size_t count_pairs(const double *a, size_t a_len, const double *b, size_t b_len)
{
    size_t twice = 0;

    for (size_t i = 0; i < a_len; i++)
        for (size_t j = 0; j < b_len; j++)
            twice += a[i] < b[j] ? 2 : a[i] == b[j];
    return twice;
}

static void doubles_free(double **values)
{
    free(*values);
    *values = NULL;
}

bool figures_differ(const double *a, size_t a_len, const double *b, size_t b_len)
{
    const size_t all = a_len + b_len, width = a_len * all + 1;
    size_t twice = count_pairs(a, a_len, b, b_len), pairs;
    double few = 0, ways = 0;
    /* ways[k * width + s]: in how many ways k of the ranks 1, 2, ... sum up to s */
    CLEANUP(doubles_free) double *sums = calloc((a_len + 1) * width, sizeof(*sums));

    if (!sums || !a_len || !b_len)
        return false;
    if (twice > a_len * b_len)
        twice = 2 * a_len * b_len - twice;
    pairs = (twice + 1) / 2; /* a half counts against a difference */
    sums[0] = 1;
    for (size_t rank = 1; rank <= all; rank++)
        for (size_t k = rank < a_len ? rank : a_len; k > 0; k--)
            for (size_t sum = width - 1; sum >= rank; sum--)
                sums[k * width + sum] += sums[(k - 1) * width + sum - rank];
    for (size_t sum = 0; sum < width; sum++) {
        const size_t least = a_len * (a_len + 1) / 2;

        ways += sums[a_len * width + sum];
        if (sum <= least + pairs)
            few += sums[a_len * width + sum];
    }
    return 2 * few <= 0.05 * ways;
}
