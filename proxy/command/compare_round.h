/* compare_round: one run of the command on one route, in a process of its own, which is an `exec`.
 */
#pragma once

#include <signal.h>

#include "proxy/command/exec_measured.h"
#include "proxy/compare/rows.h"

/* Signals while runs are under way: what ends us ends the run first. */
struct compare_signals {
    sigset_t caught, old; /* old: as our caller had them */
    int got;              /* the one that ends us; 0: none */
};
void compare_signals_catch(struct compare_signals *signals);
/* Whether one has come in between. */
bool compare_signals_got(struct compare_signals *signals);

/* Runs it and adds what was measured and seen to row, or says in row->why why there is nothing.
 * keep: false for a run that only warms up. Fails where we cannot even try. */
int compare_round_run(struct compare_row *row, const struct exec_options *options,
                      enum compare_route route, bool keep, struct compare_signals *signals,
                      struct err *err);
