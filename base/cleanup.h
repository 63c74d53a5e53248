/* cleanup: ownership that shows in a function's own lines.
 *
 * CLEANUP(store_free) struct store *store = NULL; frees on every way out of the scope;
 * TAKE(store) hands the value on and leaves NULL (or another empty value) behind. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(ptr)                                                                                  \
    (__extension__({                                                                               \
        __typeof__(ptr) taken_ = (ptr);                                                            \
        (ptr) = NULL;                                                                              \
        taken_;                                                                                    \
    }))
#define ARRAY_SIZE(a)            (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* For CLEANUP(fd_close): closes a descriptor unless it is negative, leaves -1. */
static inline void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Moves a descriptor out of a variable that CLEANUP(fd_close) guards. */
static inline int fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* For CLEANUP(text_free) on a char *. */
static inline void text_free(char **text)
{
    free(*text);
    *text = NULL;
}
