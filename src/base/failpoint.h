/*
 * failpoint.h - named places at which a test build ends the process as kill -9 would, or holds it. Ordinary builds contain nothing of it.
 */
#pragma once

#ifdef CHANCERY_FAILPOINTS
/* With "name" or "name:n" in the list CHANCERY_FAILPOINT, separated by commas, ends the process with SIGKILL at the n-th passage. With
 * "name:n:hold" stops it at each n-th passage, as SIGSTOP does, until it gets SIGCONT or is killed: what others meet that die then. */
void failpoint(const char *name);
#define FAILPOINT(name) failpoint(name)
#else
#define FAILPOINT(name) ((void)0)
#endif
