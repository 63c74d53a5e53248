/* compile_words: the long lists of words that policies may use. Each is closed by NULL. */
#pragma once

#include <stdint.h>

extern const char *const compile_dns_types[];
/* The number of a type, by its name or as TYPE65; -1: there is none. */
int compile_dns_type(const char *name);

extern const char *const compile_ciphers[]; /* IANA's names of those that we speak */
/* 0x0303 or 0x0304, which alone uses it; 0: we do not speak it. */
uint16_t compile_cipher_version(const char *name);
