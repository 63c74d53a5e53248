/* streams_own: what streams.c and streams_told.c share; private to them. */
#pragma once

#include "proxy/http2/http2.h"

/* The argument is the flow. */
extern const struct http2_hooks streams_hooks;
