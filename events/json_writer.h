/* json_writer: JSON objects by appending. Pure.
 *
 * Every member is written with a comma behind it; json_end() takes the last one back. Protobuf's
 * rules as Tetragon's readers know them: empty texts and objects are left out, 64-bit integers
 * are strings, times are RFC 3339. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events/buffer.h"

/* Opens a member that is an object or, by the bracket, an array; key NULL: inside an array.
 * Returns the mark that json_end() wants. */
size_t json_begin(struct buffer *out, const char *key, char bracket);
/* Closes it, or, when nothing was written in it, takes all of it back up to mark. */
void json_end(struct buffer *out, size_t mark, char bracket);

void json_key(struct buffer *out, const char *key);
void json_text(struct buffer *out, const char *key, const char *text); /* not NULL nor "" */
void json_item(struct buffer *out, const char *text);                  /* a text in an array */
/* An entry of a map: its key may be any text, its value "". */
void json_entry(struct buffer *out, const char *key, const char *text);
/* An array of texts, without those that are NULL or "". */
void json_list(struct buffer *out, const char *key, const char *const *texts, size_t len);
void json_number(struct buffer *out, const char *key, uint32_t number);
void json_long(struct buffer *out, const char *key, uint64_t number);
void json_flag(struct buffer *out, const char *key, bool flag);
void json_time(struct buffer *out, const char *key, uint64_t ns);
