/* capture_options: what `sallyport capture` is asked for on its command line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct capture_options { /* texts borrow from argv */
    const char *runtime_dir;
    char space[256];
    const char *pod;
    const char *what; /* "keys" or "pcap" */
    const char *file; /* "-": stdout */
    time_t seconds;
    uint64_t bytes;
};

/* Pure: bytes such as 4096, 100k, 20Mi or 1G; false when it is none, 0, or more than max. */
bool capture_size_parse(const char *text, uint64_t max, uint64_t *out);
/* 0: go on; else the exit status plus one, and what is wrong, or the help, was said. */
int capture_options_parse(struct capture_options *options, int argc, char **argv);
