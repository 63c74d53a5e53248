/* run_options: what `sallyport run` is asked for on its command line. */
#pragma once

#include "proxy/config.h"

struct run_options { /* texts borrow from argv */
    const char *config_file;
    bool replace; /* take over from an agent that runs */
    struct config_args args;
};

/* 0: go on; else the exit status plus one, and what is wrong, or the help, was said. */
int run_options_parse(struct run_options *options, int argc, char **argv);
