/* json_process: a process as Tetragon's JSON tells it. Event thread only. */
#pragma once

#include "events/buffer.h"
#include "policy/facts.h"

/* Appends the member "key":{…} of a process: from process->json, rendered at the first use and
 * kept. Nothing for NULL. */
void json_process(struct buffer *out, const char *key, struct process *process);

/* Appends "pod":{…}; nothing for NULL or for a pod without a name. */
void json_pod(struct buffer *out, const struct pod *pod);
