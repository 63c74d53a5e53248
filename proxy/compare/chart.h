/* chart: bars in SVG, a row for each route. Pure. Colours are the page's: classes, see html.c.
 *
 * Called by:  html.c. */
#pragma once

#include <stddef.h>

#include "events/buffer.h"

struct chart {
    struct buffer *out;
    double most; /* what the whole width stands for, microseconds */
    size_t row;  /* the next one's */
};

/* rows: how many will come; most: the largest number in them. */
void chart_begin(struct chart *chart, struct buffer *out, const char *title, size_t rows,
                 double most);
void chart_end(struct chart *chart);

/* A row begins with its label; in it, from left to right or one over the other: */
void chart_row(struct chart *chart, const char *label);
void chart_bar(struct chart *chart, double from, double to, const char *kind);
void chart_spread(struct chart *chart, double least, double most);       /* of several rounds */
void chart_point(struct chart *chart, double at);                        /* one round */
void chart_words(struct chart *chart, double behind, const char *words); /* "812ms (x 1.20)" */
void chart_missing(struct chart *chart, const char *words);              /* in place of all these */
