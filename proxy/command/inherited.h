/* inherited: sockets that a command would be born with.
 *
 * The kernel asks who has made a socket, not who uses it, for the policies of whom it is: one from
 * outside goes where it wants, whatever is in force for the command. */
#pragma once

#include "base/err.h"

/* -EPERM and the sentence where a program that we execute now would have a socket that leads away
 * from this host: any but those of AF_UNIX and AF_NETLINK. */
int inherited_check(struct err *err);
