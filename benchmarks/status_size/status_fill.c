/*
 * Fills a ca's database, while the ca is stopped, by the statements that issuing has. The certificates are copies of one, each with a serial
 * and key of its own. Without such a one it is a new database, and gets nothing but its status table.
 */
#include "ca.h"
#include "file.h"
#include "log.h"
#include "status_rows.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

#define DER_MAX 4096
#define POINT   64 /* octets at the end of a P-256 key */

struct fill {
	struct db *db;
	int64_t ca, before, now; /* certificates that were there */
	uint8_t der[DER_MAX];    /* of the one that is copied */
	size_t der_len, serial_at, point_at;
};
typedef st enter_row(struct scope *s, struct db_tx *tx, struct fill *f, uint64_t number);

static void request_id(uint64_t number, char out[2 * ROWS_LEN + 1])
{
	uint8_t value[ROWS_LEN];
	rows_value(ROWS_REQUEST, number, value);
	(void)hex_write(SPAN_ARRAY(value), out);
}

static st enter_certificate(struct scope *s, struct db_tx *tx, struct fill *f, uint64_t number)
{
	char subject[96], id[2 * ROWS_LEN + 1];
	uint8_t serial[ROWS_LEN];
	rows_value(ROWS_SERIAL, number, serial);
	memcpy(f->der + f->serial_at, serial, sizeof serial);
	for (size_t i = 0; i < POINT; i += ROWS_LEN)
		rows_value(ROWS_OTHER, number * POINT + i, f->der + f->point_at + i);
	int len = snprintf(subject, sizeof subject, "C=BE, surname=Peeters, givenName=An, CN=An Peeters %llu",
			   (unsigned long long)number);
	request_id(number, id);
	return db_exec(s, tx, &sql_certificate_insert,
		       DB_VALUES(db_blob(SPAN_ARRAY(serial)), db_integer(f->ca), db_text(SPAN_LITERAL("ncp-plus-n")),
				 db_text(span_of(subject, (size_t)len)), db_integer(f->now),
				 db_integer(f->now + 365 * MOMENT_DAY), db_null(), db_text(span_str(id)),
				 db_text(SPAN_LITERAL("certificate:55b8a21c0f6d4e9387d15a2be37f9c04")),
				 db_blob(span_of(f->der, f->der_len))),
		       NULL);
}

static st enter_status(struct scope *s, struct db_tx *tx, struct fill *f, uint64_t number)
{
	uint8_t serial[ROWS_LEN];
	rows_value(ROWS_SERIAL, number, serial);
	bool revoked = rows_revoked(number);
	return db_exec(s, tx, &sql_status_insert,
		       DB_VALUES(db_blob(SPAN_ARRAY(serial)), db_integer(f->ca), db_integer(revoked ? CA_REVOKED : CA_GOOD),
				 db_integer(revoked ? 4 : 0), db_integer(revoked ? f->now : 0), db_integer(0),
				 db_integer(f->now + 365 * MOMENT_DAY), db_integer(f->before + (int64_t)number + 1)),
		       NULL);
}

static st enter_key(struct scope *s, struct db_tx *tx, struct fill *f, uint64_t number)
{
	(void)f;
	uint8_t key[2 * ROWS_LEN], subject[2 * ROWS_LEN];
	rows_value(ROWS_KEY, number, key);
	rows_value(ROWS_OTHER, number, key + ROWS_LEN);
	rows_value(ROWS_SUBJECT, number, subject);
	rows_value(ROWS_SUBJECT, ~number, subject + ROWS_LEN);
	return db_exec(s, tx, &sql_key_insert, DB_VALUES(db_blob(SPAN_ARRAY(key)), db_blob(SPAN_ARRAY(subject))), NULL);
}

static st enter_request(struct scope *s, struct db_tx *tx, struct fill *f, uint64_t number)
{
	char id[2 * ROWS_LEN + 1];
	uint8_t serial[ROWS_LEN], input[2 * ROWS_LEN];
	rows_value(ROWS_SERIAL, number, serial);
	rows_value(ROWS_OTHER, number, input);
	rows_value(ROWS_OTHER, ~number, input + ROWS_LEN);
	request_id(number, id);
	return db_exec(
		s, tx, &sql_request_insert,
		DB_VALUES(db_integer(f->ca), db_text(span_str(id)), db_blob(SPAN_ARRAY(input)), db_blob(SPAN_ARRAY(serial))),
		NULL);
}

/* ---- table by table ---- */

struct part {
	struct fill *fill;
	enter_row *enter;
	const uint64_t *number;
	size_t count;
};

static st enter_part(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct part *p = arg;
	for (size_t i = 0; i < p->count; i++)
		TRY(p->enter(s, tx, p->fill, p->number[i]));
	return OK;
}

static st take_numbers(struct scope *s, const uint64_t *number, size_t count, void *arg)
{
	struct part part = *(const struct part *)arg;
	part.number = number;
	part.count = count;
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	st status = db_tx(&own, part.fill->db, enter_part, &part);
	return status.code == E_OK ? OK : fail(s, status.code, "%s", own.message);
}

/* They lie in order of arrival. */
static st fill_certificates(struct scope *s, struct fill *f, uint64_t count)
{
	struct part part = { .fill = f, .enter = enter_certificate };
	uint64_t number[ROWS_TOGETHER];
	for (uint64_t done = 0; done < count;) {
		size_t now = count - done < ROWS_TOGETHER ? (size_t)(count - done) : ROWS_TOGETHER;
		for (size_t i = 0; i < now; i++)
			number[i] = done + i;
		TRY(take_numbers(s, number, now, &part));
		done += now;
	}
	return OK;
}

static st fill_all(struct scope *s, struct fill *f, uint64_t count)
{
	struct part status = { .fill = f, .enter = enter_status }, key = { .fill = f, .enter = enter_key },
		    request = { .fill = f, .enter = enter_request };
	if (f->der_len > 0) {
		TRY(fill_certificates(s, f, count));
		TRY(rows_each(s, ROWS_KEY, count, take_numbers, &key));
		TRY(rows_each(s, ROWS_REQUEST, count, take_numbers, &request));
	}
	return rows_each(s, ROWS_SERIAL, count, take_numbers, &status);
}

/* ---- where to ---- */

static st find_place(struct scope *s, struct db_tx *tx, void *arg)
{
	struct fill *f = arg;
	struct db_row row;
	TRY(db_one(s, tx, &sql_authority_of, DB_VALUES(db_text(SPAN_LITERAL("issuing"))), &row));
	f->ca = row.column[0].integer;
	TRY(db_one(s, tx, &sql_certificate_count, NULL, 0, &row));
	f->before = row.column[0].integer;
	return OK;
}

static st read_model(struct scope *s, const char *path, struct fill *f)
{
	span der;
	struct pki_certificate c;
	TRY(file_read(s, path, DER_MAX, &der));
	TRY(pki_certificate_read(s, der, &c));
	if (c.serial.len != ROWS_LEN || c.spki.len <= POINT)
		return fail(s, E_INPUT, "%s is no certificate of the ca's for a P-256 key", path);
	memcpy(f->der, der.data, der.len);
	f->der_len = der.len;
	f->serial_at = (size_t)(c.serial.data - der.data);
	f->point_at = (size_t)(c.spki.data - der.data) + c.spki.len - POINT;
	return OK;
}

static st run(struct scope *s, int argc, char **argv)
{
	struct fill f = { .ca = 1, .now = scope_now(s) };
	if (argc < 3 || argc > 4)
		return fail(s, E_INPUT, "usage: status_fill DATABASE COUNT [CERTIFICATE.der]");
	if (argc == 4)
		TRY(read_model(s, argv[3], &f));
	TRY(db_open(s, argv[1], &ca_schema, &f.db));
	if (f.der_len > 0)
		TRY(db_read(s, f.db, find_place, &f));
	TRY(fill_all(s, &f, strtoull(argv[2], NULL, 10)));
	db_close(f.db);
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
