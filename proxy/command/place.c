#include "proxy/command/place.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/runtime.h"
#include "proxy/succession/predecessor.h"

enum { PLACE_MS = 5000, AGAIN_US = 20000 };

int place_find(struct runtime *runtime, bool alone, bool replace, bool *replaces, struct err *err)
{
    uint64_t until = clock_ns() + PLACE_MS * UINT64_C(1000000);
    int result;

    for (;;) {
        result = alone ? 0 : predecessor_would(runtime->dir, replace, replaces, err);
        if (result < 0 || *replaces)
            return result;
        result = runtime_lock(runtime, err);
        if (result != -EBUSY || clock_ns() >= until)
            return result;
        usleep(AGAIN_US);
    }
}
