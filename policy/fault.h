/* fault: what is wrong with a file that a person wrote: every fault of one pass, each with its
 * place, told as a compiler tells it:
 *
 *   edge.yaml:12:14: error: 'alow' is no verdict; say allow, deny or alert
 *       verdict: alow
 *                ^
 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/span.h"

struct mark { /* in characters, from 1; line 0: the file as a whole */
    unsigned line, column;
};

enum { FAULTS_MAX = 100 };

struct fault {
    struct mark mark;
    char *text;
};

struct faults { /* begins zeroed */
    struct fault list[FAULTS_MAX];
    size_t len;
    size_t untold; /* beyond the list, or there was no memory for them */
};

void faults_fini(struct faults *faults);
void faults_add(struct faults *faults, struct mark mark, const char *format, ...) PRINTF_LIKE(3, 4);
size_t faults_count(const struct faults *faults);

/* A file's bytes without the byte order mark that some editors put in front: nobody sees it, and no
 * place counts it. */
struct span fault_text(struct span bytes);
/* Where a byte of a file stands. */
struct mark fault_mark(struct span bytes, size_t offset);
/* A line of a file, from 1, without its end; empty: there is none. */
struct span fault_line(struct span bytes, unsigned number);

/* All of them, in the order of their places, a line's end behind each line. bytes: the file's, for
 * the lines that are shown. The caller's; NULL without memory. */
char *faults_tell(struct faults *faults, const char *file, struct span bytes);
/* "3 faults in FILE; the first: FILE:12:14: error: …" */
void faults_summary(struct faults *faults, const char *file, struct err *err);
