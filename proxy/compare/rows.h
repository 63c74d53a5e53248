/* rows: a command's runs on each route, side by side, and how that is told. Pure: numbers in, text
 * out.
 *
 * Filled by:  command/compare.c.
 * Leads to:   text.c json.c html.c, with verdict.c's words in each. */
#pragma once

#include "events/buffer.h"
#include "proxy/compare/figures.h"
#include "proxy/compare/seen.h"

/* In the order in which they are told; direct is what the others are compared with. */
enum compare_route {
    COMPARE_DIRECT, /* without us */
    COMPARE_PASSTHROUGH,
    COMPARE_PROXY,
    COMPARE_KERNEL,
    _COMPARE_ROUTES,
};
const char *compare_route_name(enum compare_route route);

/* What is measured of a run. CPU by whom: of the command and of the agent what they took by
 * themselves, and what the kernel took for either. */
enum compare_measure {
    COMPARE_WALL, /* microseconds from the command's first moment to its end */
    COMPARE_CPU,  /* microseconds, the three below together */
    COMPARE_PROGRAM,
    COMPARE_AGENT,
    COMPARE_SYSTEM,
    _COMPARE_MEASURES,
};

struct compare_row {
    char why[512];  /* there are no numbers, for this reason; else "" */
    bool failed;    /* ... the command did, or we; else this machine cannot take the route */
    int status;     /* ... the command's exit status, or ours where it is 125 */
    char note[256]; /* what the agent said meanwhile; else "" */
    size_t rounds;
    double round[_COMPARE_MEASURES][FIGURES_MAX]; /* as they came */
    uint64_t agent_rss_kb, program_peak_kb;       /* the most of all rounds; 0: not known */
    struct seen seen;                             /* of all rounds */
};

struct compare {
    char *const *argv; /* the command, borrowed */
    size_t rounds;     /* that were asked for */
    char kernel[160], cpu[128], backend[160];
    unsigned cpus;
    struct compare_row rows[_COMPARE_ROUTES];
};

/* ---- what follows from them ---- */

/* Of a row with rounds. */
struct figures compare_figures(const struct compare_row *row, enum compare_measure measure);
/* How much of direct's it is; 0: there is nothing to compare it with. */
double compare_ratio(const struct compare *compare, enum compare_route route,
                     enum compare_measure measure);
/* How many requests the command made in all rounds, as far as anybody saw. */
uint64_t compare_requests(const struct compare *compare);
/* How often a byte was encrypted or decrypted on this machine by the command and by us: of a row
 * that nobody looked into, by what the others saw. */
double compare_encryptions(const struct compare *compare, enum compare_route route);
/* Latency in microseconds: of requests, or, where nobody saw any, of the whole command. True:
 * of requests. */
bool compare_latency(struct compare_row *row, double *p50, double *p99);
/* A stranger's text as it is where all of it can be printed, else quoted. */
void compare_words(struct buffer *out, const char *text);
/* The command in one line, strangers' words quoted; what is too long is left out. */
void compare_command(struct buffer *out, char *const *argv);

/* ---- how it is told ---- */

/* What it comes to, a sentence for each route, each with a line feed behind it. */
void compare_verdict(struct buffer *out, const struct compare *compare);
/* These put numbers of the rows in order. */
void compare_text(struct buffer *out, struct compare *compare);
void compare_json(struct buffer *out, struct compare *compare);
void compare_html(struct buffer *out, struct compare *compare);
