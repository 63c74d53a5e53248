/* captures: the decrypted bytes of a pod's connections, or their keys, for who asks at the control
 * socket: verb "capture". Each is told by two events, when it begins and when it ends.
 *
 * The answer's line is followed by loads: four bytes, their length (most significant first), then
 * that many of the file. A load of length 0 is the last; a line of JSON that says why it ended, and
 * what is missing, follows. Who asked ends it by shutting its side down.
 * Control thread; flow/tap.c puts in, on workers' threads.
 * Called by:  agent.c.
 * Leads to:   command/capture.c, which writes the file. */
#pragma once

#include "events/bus.h"
#include "proxy/capture/capture.h"
#include "proxy/control/control.h"

enum {
    CAPTURE_SECONDS = 300, /* when nobody says; and at most: */
    CAPTURE_SECONDS_MAX = 3600,
};
#define CAPTURE_BYTES     (UINT64_C(100) * 1000 * 1000)
#define CAPTURE_BYTES_MAX (UINT64_C(10) * 1000 * 1000 * 1000)

struct captures;
struct pods;
struct worker;

struct captures_parts { /* all borrowed; they outlive it, but workers end before it does */
    struct event_base *base;
    struct pods *pods;
    struct bus_producer *producer;
};

int captures_new(struct captures **out, const struct captures_parts *parts, struct err *err);
/* After the workers have ended. */
void captures_free(struct captures **captures);
struct capture_table *captures_table(struct captures *captures); /* borrowed */

/* Serves the verb: "namespace", "pod", "what" ("keys", "pcap"), "seconds" and "bytes". */
int captures_serve(struct captures *captures, struct control *control,
                   struct worker *const *workers, unsigned workers_len, struct err *err);
/* Ends all that are under way, and grants no more. why: a literal. While the loop runs they are
 * sent their rest. */
void captures_end(struct captures *captures, const char *why);
