/* policy: what command/policy.c picks from; one file a verb. Each gets its own arguments, argv[0]
 * being "sallyport policy VERB", and returns the process's exit status. */
#pragma once

int command_policy_apply(int argc, char **argv);
int command_policy_check(int argc, char **argv);
int command_policy_explain(int argc, char **argv);
int command_policy_list(int argc, char **argv);
int command_policy_remove(int argc, char **argv);
