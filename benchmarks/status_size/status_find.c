/* How long the ca looks for a status, and for a certificate with its status, in a database that status_fill has filled. */
#include "ca.h"
#include "log.h"
#include "status_rows.h"
#include <stdio.h>
#include <stdlib.h>

static st find_status(struct scope *s, struct db_tx *tx, void *arg)
{
	struct db_row row;
	return db_one(s, tx, &sql_status_of, DB_VALUES(db_blob(*(const span *)arg)), &row);
}

static st look_for_status(struct scope *s, uint64_t number, void *arg)
{
	struct ca *ca = arg;
	uint8_t serial[ROWS_LEN];
	rows_value(ROWS_SERIAL, number, serial);
	span wanted = SPAN_ARRAY(serial);
	return db_read(s, ca->db, find_status, &wanted);
}

static st look_for_certificate(struct scope *s, uint64_t number, void *arg)
{
	uint8_t serial[ROWS_LEN];
	struct ca_certificate found;
	rows_value(ROWS_SERIAL, number, serial);
	TRY(ca_certificate_find(s, arg, SPAN_ARRAY(serial), &found));
	bool revoked = found.state == CA_REVOKED;
	return revoked == rows_revoked(number)
		       ? OK
		       : fail(s, E_BUG, "certificate %llu has another's status", (unsigned long long)number);
}

static st run(struct scope *s, int argc, char **argv)
{
	struct ca ca = { 0 };
	struct rows_times status, certificate = { 0 };
	if (argc != 5 && argc != 6)
		return fail(s, E_INPUT, "usage: status_find DATABASE COUNT UNTIMED LOOKUPS [CERTIFICATES]");
	uint64_t count = strtoull(argv[2], NULL, 10);
	size_t untimed = (size_t)strtoull(argv[3], NULL, 10), lookups = (size_t)strtoull(argv[4], NULL, 10);
	TRY(db_open(s, argv[1], &ca_schema, &ca.db));
	TRY(rows_time(s, count, untimed, lookups, look_for_status, &ca, &status));
	if (argc == 6)
		TRY(rows_time(s, count, 0, (size_t)strtoull(argv[5], NULL, 10), look_for_certificate, &ca, &certificate));
	db_close(ca.db);
	(void)printf(
		"{\"status_p50_us\": %.2f, \"status_p99_us\": %.2f, \"certificate_p50_us\": %.2f, \"certificate_p99_us\": %.2f}\n",
		status.p50, status.p99, certificate.p50, certificate.p99);
	return OK;
}

int main(int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (run(&s, argc, argv).code != E_OK)
		log_die("%s", s.message);
	return EXIT_SUCCESS;
}
