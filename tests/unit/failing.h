/* failing: memory that runs out where a test says, on the threads it says. For programs linked
 * with FAILING_WRAPS (tests/unit/CMakeLists.txt), so that our own calls come here, too; libc's and
 * the test's own never fail.
 *
 * failing_begin(FAILING_WORKER, 7, 1): the 7th allocation from now on, on threads of that kind, is
 * refused, and so would be those that follow if the last number were higher. With failing_ours only
 * our own calls count, which are few among OpenSSL's. */
#pragma once

#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <search.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum failing_kind { FAILING_NOBODY, FAILING_WORKER, FAILING_EVENTS, FAILING_TEST };

static _Thread_local enum failing_kind failing_kind; /* of this thread */
static enum failing_kind failing_next;               /* of the threads begun from now on */
static _Atomic enum failing_kind failing_who;
static atomic_bool failing_ours;
static atomic_ulong failing_count, failing_first, failing_len;

static inline void failing_begin(enum failing_kind who, unsigned long first, unsigned long len)
{
    failing_count = 0;
    failing_first = first;
    failing_len = len;
    failing_who = who;
}

/* Whether any was refused. */
static inline bool failing_end(void)
{
    failing_who = FAILING_NOBODY;
    return failing_count >= failing_first;
}

static bool refused(void)
{
    unsigned long number;

    if (!failing_kind || failing_kind != failing_who)
        return false;
    number = atomic_fetch_add(&failing_count, 1) + 1;
    return number >= failing_first && number - failing_first < failing_len;
}

/* ---- our own calls ---- */

#define FAILING(type, name, parameters, arguments)                                                 \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return refused() ? NULL : __real_##name arguments;                                         \
    }

FAILING(void *, malloc, (size_t size), (size))
FAILING(void *, calloc, (size_t count, size_t size), (count, size))
FAILING(void *, realloc, (void *old, size_t size), (old, size))
FAILING(char *, strdup, (const char *text), (text))
FAILING(char *, strndup, (const char *text, size_t len), (text, len))
FAILING(void *, tsearch, (const void *key, void **tree, int (*compare)(const void *, const void *)),
        (key, tree, compare))

int __wrap_asprintf(char **out, const char *format, ...) PRINTF_LIKE(2, 3);
int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list arguments;
    int len;

    if (refused())
        return -1;
    va_start(arguments, format);
    len = vasprintf(out, format, arguments);
    va_end(arguments);
    return len;
}

/* ---- the libraries' ---- */

static bool refused_library(void)
{
    return !failing_ours && refused();
}

static void *library_malloc(size_t size)
{
    return refused_library() ? NULL : __real_malloc(size);
}

static void *library_realloc(void *old, size_t size)
{
    return refused_library() ? NULL : __real_realloc(old, size);
}

/* libevent's are few, and count as ours. */
static void *event_malloc(size_t size)
{
    return malloc(size);
}

static void *event_realloc(void *old, size_t size)
{
    return realloc(old, size);
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return library_malloc(size);
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return library_realloc(old, size);
}

static void crypto_free(void *gone, const char *file, int line)
{
    (void)file, (void)line;
    free(gone);
}

/* Before anything else. */
static inline bool failing_init(void)
{
    event_set_mem_functions(event_malloc, event_realloc, free);
    return CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free);
}

/* ---- threads ---- */

struct failing_thread {
    void *(*run)(void *arg);
    void *arg;
    enum failing_kind kind;
};

static void *thread_of_a_kind(void *arg)
{
    struct failing_thread thread = *(struct failing_thread *)arg;

    free(arg);
    failing_kind = thread.kind;
    return thread.run(thread.arg);
}

int __real_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg)
{
    struct failing_thread *thread = __real_malloc(sizeof(*thread));
    int code;

    if (!thread)
        return EAGAIN;
    *thread = (struct failing_thread){.run = run, .arg = arg, .kind = failing_next};
    code = __real_pthread_create(out, how, thread_of_a_kind, thread);
    if (code)
        free(thread);
    return code;
}
