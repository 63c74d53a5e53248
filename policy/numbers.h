/* numbers: payment cards, IBANs and US social security numbers in a text.
 *
 * An automaton would have to follow every digit of every body; most texts have few, and fewer that
 * begin such a number. So bytes are looked at eight at once for where one may begin. Pure. Private
 * to inspect.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

enum number_kind { NUMBER_CARD, NUMBER_IBAN, NUMBER_SSN, NUMBER_MAX };
enum {
    NUMBERS_CONTEXT = 8,  /* bytes before a place that say whether one may begin there */
    NUMBERS_LONGEST = 72, /* bytes from there on that say whether one does, with what follows it */
};

/* False: enough. */
typedef bool numbers_on_found(enum number_kind kind, struct span text, size_t at, void *arg);

/* Looks for those kinds (a bit each) whose digits begin in [from, to) of bytes. ended: nothing
 * follows bytes. Returns where the first begins of which that is not known yet, else to; SIZE_MAX:
 * on_found said enough. */
size_t numbers_scan(struct span bytes, size_t from, size_t to, bool ended, unsigned kinds,
                    numbers_on_found *on_found, void *arg);
