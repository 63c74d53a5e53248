/* compare_options: what `sallyport compare` is asked for. */
#pragma once

#include "proxy/command/exec_options.h"

struct compare_options {      /* texts borrow from argv */
    struct exec_options exec; /* for each run; its output and events file are compare's to say */
    unsigned rounds;
    const char *html, *json_file;
    bool json;
};

/* 0: go on; else the exit status plus one, and what is wrong, or the help, was said. */
int compare_options_parse(struct compare_options *options, int argc, char **argv);
