/*
 * daemon_access.h - who used an interface of a daemon, and who was refused, on record: a first use, and the first after a pause, is a login
 * (access.granted); refusals that are equal within a second are counted (access.refused).
 */
#pragma once
#include "audit_tally.h"

struct daemon_access;
struct daemon_access *daemon_access_new(struct audit *audit);
/* Writes what has been counted; NULL is fine. */
void daemon_access_free(struct daemon_access *a);

struct daemon_visit {
	const char *route;  /* its path in the table of routes */
	const char *role;   /* that the route asks for, NULL: none */
	span certificate;   /* serial number of the client's; empty: it has none, or none that can be read */
	const char *source; /* address, or "local:UID" */
};
void daemon_access_granted(struct daemon_access *a, const struct daemon_visit *v);
void daemon_access_refused(struct daemon_access *a, const struct daemon_visit *v, const char *reason);
/* Whichever of the two it was. */
static inline void daemon_access_note(struct daemon_access *a, const struct daemon_visit *v, st permitted, const char *reason)
{
	if (permitted.code == E_OK)
		daemon_access_granted(a, v);
	else
		daemon_access_refused(a, v, reason);
}
