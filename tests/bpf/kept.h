/* kept: agents that come one after another, as far as they matter here, with what outlives them:
 * the pins in the bed's bpffs, and a keeper process. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "fixture.h"

extern char kept_runtime_dir[32];

/* cmocka's, for the group: the bed and that directory. */
int kept_set_up(void **state);
int kept_take_down(void **state);
/* An agent starts the keeper as what it is itself: true when that is what we are to be, and were.
 */
bool kept_was_keeper(int argc, char **argv, int *status);

/* cmocka's, for a test: an agent, and the cgroup "pod" is its pod. */
int kept_begin(void **state);
int kept_end(void **state); /* of the last agent, whoever it is: with its pod goes everything */
#define kept_test(test) cmocka_unit_test_setup_teardown(test, kept_begin, kept_end)

void kept_begin_agent(void);
void kept_end_agent(void); /* as a killed one: nothing is taken back */
void register_pod(bool open);
void take_over(void);

/* The only one of these agents but `other`; 0: none. */
pid_t keeper_but(pid_t other);
pid_t keeper_pid(void);
void expect_end(pid_t keeper);

ino_t inode_of(int fd);
size_t entries_in(const char *path);
