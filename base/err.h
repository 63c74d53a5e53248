/* err: a failure and its story.
 *
 * Functions return 0 or a negative errno and put a sentence into the caller's struct err; each
 * layer may put what it knows in front (err_wrap). Whoever knows the flow or file tells it,
 * once. Every function here accepts err == NULL and then only returns the code. */
#pragma once

#include "base/cleanup.h"

struct err {
    int code; /* 0 or a negative errno */
    char text[512];
};

/* Replaces the story. Returns code, so that `return err_set(...)` reads well. */
int err_set(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* As err_set, with ": " and the system's words for code behind the sentence. */
int err_sys(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "sentence: " in front of the story. Returns the story's code. */
int err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
