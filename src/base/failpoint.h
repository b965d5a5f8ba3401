/*
 * failpoint.h - named places at which a test build ends the process as kill -9 would. Ordinary builds contain nothing of it.
 */
#pragma once

#ifdef CHANCERY_FAILPOINTS
/* Ends the process with SIGKILL at the n-th passage, when CHANCERY_FAILPOINT is "name" or "name:n". */
void failpoint(const char *name);
#define FAILPOINT(name) failpoint(name)
#else
#define FAILPOINT(name) ((void)0)
#endif
