/* Durable commits a second, by 1, 8 and 64 threads: one insertion of 1,500 octets under a random key in each. */
#include "log.h"
#include "moment.h"
#include "store.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static const struct db_migration steps[] = {
	{ 1, "rows", { "CREATE TABLE item (id BLOB PRIMARY KEY, bytes BLOB) WITHOUT ROWID;" } },
};
static const struct db_schema schema = { "bench", steps, 1 };
static const struct db_statement insert = { "insert", { "INSERT INTO item VALUES (?1, ?2)" } };

static struct db *db;
static int64_t end_at;
static atomic_long done;

static st insert_one(struct scope *s, struct db_tx *tx, void *arg)
{
	(void)arg;
	uint8_t key[16], bytes[1500] = { 0 };
	scope_random(s, key, sizeof key);
	return db_exec(s, tx, &insert, DB_VALUES(db_blob(SPAN_ARRAY(key)), db_blob(SPAN_ARRAY(bytes))), NULL);
}

static void *run(void *arg)
{
	(void)arg;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	while (moment_monotonic() < end_at) {
		if (db_tx(&s, db, insert_one, NULL).code != E_OK)
			log_die("%s", s.message);
		atomic_fetch_add(&done, 1);
		scope_reset(&s);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (argc != 2)
		log_die("usage: store_bench NEW-DATABASE-FILE");
	if (db_open(&s, scope_printf(&s, "sqlite:%s", argv[1]), &schema, &db).code != E_OK)
		log_die("%s", s.message);
	static const int counts[] = { 1, 8, 64 };
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		pthread_t thread[64];
		atomic_store(&done, 0);
		end_at = moment_monotonic() + 3 * MOMENT_SECOND;
		for (int t = 0; t < counts[i]; t++)
			if (pthread_create(&thread[t], NULL, run, NULL) != 0)
				log_die("no thread");
		for (int t = 0; t < counts[i]; t++)
			(void)pthread_join(thread[t], NULL);
		(void)printf("%2d threads: %ld commits/s\n", counts[i], atomic_load(&done) / 3);
	}
	db_close(db);
	return EXIT_SUCCESS;
}
