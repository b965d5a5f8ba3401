/*
 * cli_crl_books.h - the CRLs of the ca's database against the records crl.issued, number by number: two bits each, so that a hundred thousand CRLs
 * cost 25 KB. First the database is read, then every record is shown in the order of the log, then they are compared.
 */
#pragma once
#include "audit_record.h"
#include "cli_outbox.h"

#define CLI_CRL_CAS_MAX 256

struct cli_crl_books;
struct cli_crl_books *cli_crl_books_new(void);
void cli_crl_books_free(struct cli_crl_books *b);
typedef struct cli_crl_books cli_crl_books;
DEFINE_AUTO(cli_crl_books, cli_crl_books_free)

/* A CA that issues here: reads the numbers of its CRLs. E_LIMIT: more CAs or higher numbers than this has room for. */
st cli_crl_books_add(struct scope *s, struct cli_api *api, struct cli_crl_books *b, const char *ca);
/* A record crl.issued or backup.restored; others are passed over. */
st cli_crl_books_see(struct scope *s, struct cli_crl_books *b, const struct audit_envelope *e);

/* So many records are without content because their time was over and two persons let them go, and nobody missed them yet: any of them may have been
 * one of the oldest CRLs. */
void cli_crl_books_removed(struct cli_crl_books *b, uint64_t count);

struct cli_crl_answer {
	uint64_t stored;   /* CRLs in the database */
	uint64_t let_go;   /* older than every CRL of their CA that is on record, and so many records are without content */
	uint64_t restored; /* only the log has them, and the database was put back from a copy since, on record */
};
/* Behind the last record, `find` with each difference, of each CA the lowest number first. What waits in the outbox is none. */
st cli_crl_books_compare(struct scope *s, struct cli_api *api, struct cli_crl_books *b, const struct cli_outbox *waiting,
			 void (*find)(void *state, const char *about, const char *text), void *state,
			 struct cli_crl_answer *out);
