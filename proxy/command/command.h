/* command: what main.c picks from; one file a command. Each returns the process's exit status. */
#pragma once

int command_ca(int argc, char **argv);
int command_capture(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_events(int argc, char **argv);
int command_exec(int argc, char **argv);
int command_keeper(int argc, char **argv);
int command_pods(int argc, char **argv);
int command_policy(int argc, char **argv);
int command_probe(int argc, char **argv);
int command_run(int argc, char **argv);
int command_sessions(int argc, char **argv);
int command_status(int argc, char **argv);
