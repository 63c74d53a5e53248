/* ca_options: what `sallyport ca` is asked for on its command line. */
#pragma once

#include <stdbool.h>
#include <time.h>

enum { CA_OVERLAP_MAX = 30 * 24 * 3600 };

enum ca_action { CA_INIT, CA_SHOW, CA_BUNDLE, CA_ROTATE };

struct ca_options { /* texts borrow from argv */
    enum ca_action action;
    const char *dir;
    bool json;
    time_t overlap; /* seconds */
    bool at_once;
};

/* Where the CA is when nobody says: $STATE_DIRECTORY/ca (systemd's), /var/lib/sallyport/ca. */
const char *ca_default_dir(void);

/* Pure: a duration such as 90s, 30m, 24h or 7d; false when it is none, or longer than max. */
bool ca_duration_parse(const char *text, time_t max, time_t *out);

/* 0: go on; else the exit status plus one, and what is wrong, or the help, was said. */
int ca_options_parse(struct ca_options *options, int argc, char **argv);
