#include "va_store.h"
#include "file.h"
#include "log.h"
#include "va_store_value.h"
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>

#define MAP_START   ((size_t)16 << 20)
#define MAP_MAX     ((size_t)1 << 40)
#define READERS_MAX 512

struct va_store {
	MDB_env *env;
	MDB_dbi meta;
	MDB_dbi generation[2];
	pthread_rwlock_t resize; /* transactions hold it shared: the map may only grow while none is open */
	pthread_mutex_t writer;
	bool full; /* the writer's: its transaction found the map too small */
};

/* When its newest root may be on disk or not, LMDB refuses everything until the file is opened anew. */
static st lmdb_failed(struct scope *s, int error, const char *doing)
{
	if (error == MDB_PANIC)
		log_die("status store, %s: a write before this one has failed in the middle; it is opened anew at the next start",
			doing);
	return fail(s, error == MDB_READERS_FULL ? E_BUSY : E_IO, "status store, %s: %s", doing, mdb_strerror(error));
}

/* As lmdb_failed, in a writing transaction: a full map is remembered, since growing it cures that. */
static st write_failed(struct scope *s, struct va_store *store, int error, const char *doing)
{
	store->full = store->full || error == MDB_MAP_FULL;
	return lmdb_failed(s, error, doing);
}

static MDB_val val_of(span bytes)
{
	/* LMDB does not write to keys and values it is given; its type has no const. */
	return (MDB_val){ .mv_size = bytes.len, .mv_data = (void *)(uintptr_t)bytes.data };
}

/* ---- transactions ---- */

struct reading {
	struct va_store *store;
	MDB_txn *txn;
};

static void reading_end(struct reading *reading)
{
	if (reading->txn == NULL)
		return;
	mdb_txn_abort(reading->txn);
	(void)pthread_rwlock_unlock(&reading->store->resize);
}
#define AUTO_READING __attribute__((cleanup(reading_end))) struct reading

static st reading_begin(struct scope *s, struct va_store *store, struct reading *out)
{
	(void)pthread_rwlock_rdlock(&store->resize);
	MDB_txn *txn;
	int error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
	if (error != 0) {
		(void)pthread_rwlock_unlock(&store->resize);
		return lmdb_failed(s, error, "beginning to read");
	}
	*out = (struct reading){ store, txn };
	return OK;
}

static st meta_get(struct scope *s, struct va_store *store, MDB_txn *txn, struct va_meta *out)
{
	MDB_val key = val_of(SPAN_LITERAL("state"));
	MDB_val value;
	int error = mdb_get(txn, store->meta, &key, &value);
	if (error == MDB_NOTFOUND) {
		*out = (struct va_meta){ 0 };
		return OK;
	}
	if (error != 0)
		return lmdb_failed(s, error, "reading its state");
	return va_meta_read(s, span_of(value.mv_data, value.mv_size), out);
}

static st meta_put(struct scope *s, struct va_store *store, MDB_txn *txn, const struct va_meta *meta)
{
	AUTO_BUF bytes = { 0 };
	TRY(va_meta_write(s, meta, &bytes));
	MDB_val key = val_of(SPAN_LITERAL("state"));
	MDB_val value = val_of(buf_span(&bytes));
	int error = mdb_put(txn, store->meta, &key, &value, 0);
	return error == 0 ? OK : write_failed(s, store, error, "writing its state");
}

/* ---- keys and values of a generation: u8 item type, u16 ca, serial ---- */

static span item_key(uint8_t out[3 + VA_SERIAL_MAX], enum va_item_type type, uint16_t ca, span serial)
{
	out[0] = (uint8_t)type;
	out[1] = (uint8_t)(ca >> 8);
	out[2] = (uint8_t)ca;
	size_t len = serial.len < VA_SERIAL_MAX ? serial.len : VA_SERIAL_MAX;
	if (len > 0)
		memcpy(out + 3, serial.data, len);
	return span_of(out, 3 + len);
}

/* ---- applying batches ---- */

struct applying {
	struct va_store *store;
	MDB_txn *txn;
	MDB_dbi into;
	va_store_check *check;
	void *arg;
};

static st put(struct scope *s, const struct applying *a, const struct va_item *item, span serial, span value)
{
	uint8_t bytes[3 + VA_SERIAL_MAX];
	MDB_val key = val_of(item_key(bytes, item->type, item->ca, serial));
	MDB_val stored = val_of(value);
	int error = mdb_put(a->txn, a->into, &key, &stored, 0);
	return error == 0 ? OK : write_failed(s, a->store, error, "writing an item");
}

static st find_ca(struct scope *s, const struct applying *a, uint16_t ca, struct va_item *out)
{
	uint8_t bytes[3 + VA_SERIAL_MAX];
	MDB_val key = val_of(item_key(bytes, VA_ITEM_CA, ca, (span){ 0 }));
	MDB_val value;
	int error = mdb_get(a->txn, a->into, &key, &value);
	if (error == MDB_NOTFOUND)
		return fail(s, E_CONFLICT, "the feed speaks of CA %u before its own item: send a snapshot", ca);
	if (error != 0)
		return lmdb_failed(s, error, "reading a CA");
	return va_feed_read_item(s, VA_ITEM_CA, ca, scope_copy(s, span_of(value.mv_data, value.mv_size)), out);
}

static st apply_status(struct scope *s, const struct applying *a, const struct va_item *item)
{
	uint8_t room[VA_STATUS_LEN];
	struct buf value = { .data = room, .room = sizeof room, .cap = sizeof room };
	TRY(va_status_write(s, &item->status, &value));
	return put(s, a, item, item->status.serial, buf_span(&value));
}

static st apply_ca(struct scope *s, const struct applying *a, const struct va_item *item)
{
	if (a->check != NULL)
		TRY(a->check(s, a->arg, item, &item->ca_item));
	return put(s, a, item, (span){ 0 }, item->body);
}

static st apply_checked(struct scope *s, const struct applying *a, const struct va_item *item)
{
	struct va_item ca;
	TRY(find_ca(s, a, item->ca, &ca));
	if (a->check != NULL)
		TRY(a->check(s, a->arg, item, &ca.ca_item));
	return put(s, a, item, (span){ 0 }, item->body);
}

static st (*const appliers[VA_ITEM_TYPES])(struct scope *s, const struct applying *a, const struct va_item *item) = {
	[VA_ITEM_CA] = apply_ca,
	[VA_ITEM_STATUS] = apply_status,
	[VA_ITEM_CRL] = apply_checked,
	[VA_ITEM_SIGNER] = apply_checked,
};

static st empty_generation(struct scope *s, const struct applying *a)
{
	int error = mdb_drop(a->txn, a->into, 0);
	return error == 0 ? OK : write_failed(s, a->store, error, "emptying a generation");
}

/* What the batch does to the state of the feed; says in which generation its items go. */
static st advance(struct scope *s, struct applying *a, const struct va_batch *batch, struct va_meta *meta,
		  struct va_applied *applied)
{
	if (batch->kind == VA_BATCH_CONTINUATION) {
		a->into = a->store->generation[meta->current];
		meta->number += batch->count;
		return OK;
	}
	a->into = a->store->generation[!meta->current];
	if (batch->kind == VA_BATCH_SNAPSHOT_START) {
		TRY(empty_generation(s, a));
		meta->building = true;
		meta->building_number = batch->first;
	}
	if (!meta->building || meta->building_number != batch->first)
		return fail(s, E_CONFLICT, "no snapshot for number %llu is under way here: begin it anew",
			    (unsigned long long)batch->first);
	if (batch->kind == VA_BATCH_SNAPSHOT_END) {
		*meta = (struct va_meta){ .current = !meta->current, .number = batch->first };
		applied->switched = true;
	}
	return OK;
}

/* A CRL item with a newer one of the same CA behind it in the batch: never published, so its file need not be here any more. */
static bool is_overtaken(const struct va_batch *batch, size_t at)
{
	const struct va_item *item = &batch->item[at];
	if (item->type != VA_ITEM_CRL)
		return false;
	for (size_t i = at + 1; i < batch->count; i++)
		if (batch->item[i].type == VA_ITEM_CRL && batch->item[i].ca == item->ca)
			return true;
	return false;
}

static bool continuation_fits(const struct va_batch *batch, const struct va_meta *meta)
{
	return batch->kind != VA_BATCH_CONTINUATION || batch->first == meta->number + 1;
}

static st apply_in(struct scope *s, struct applying *a, const struct va_batch *batch, struct va_applied *out)
{
	struct va_meta meta = { 0 };
	TRY(meta_get(s, a->store, a->txn, &meta));
	struct va_applied applied = { .number = meta.number };
	if (continuation_fits(batch, &meta)) {
		TRY(advance(s, a, batch, &meta, &applied));
		for (size_t i = 0; i < batch->count; i++)
			if (!is_overtaken(batch, i))
				TRY(appliers[batch->item[i].type](s, a, &batch->item[i]));
		TRY(meta_put(s, a->store, a->txn, &meta));
		applied.changed = batch->count > 0 || batch->kind != VA_BATCH_CONTINUATION;
		applied.number = meta.number;
	}
	*out = applied;
	return OK;
}

static st apply_once(struct scope *s, struct va_store *store, const struct va_batch *batch, va_store_check *check, void *arg,
		     struct va_applied *out)
{
	struct applying a = { .store = store, .check = check, .arg = arg };
	int error = mdb_txn_begin(store->env, NULL, 0, &a.txn);
	if (error != 0)
		return lmdb_failed(s, error, "beginning to write");
	struct va_applied applied;
	st done = apply_in(s, &a, batch, &applied);
	if (done.code != E_OK || !applied.changed) {
		mdb_txn_abort(a.txn);
		if (done.code == E_OK)
			*out = applied;
		return done;
	}
	error = mdb_txn_commit(a.txn);
	if (error != 0)
		return write_failed(s, store, error, "committing");
	*out = applied;
	return OK;
}

static st grow(struct scope *s, struct va_store *store)
{
	(void)pthread_rwlock_wrlock(&store->resize);
	MDB_envinfo info;
	int error = mdb_env_info(store->env, &info);
	size_t size = info.me_mapsize * 2;
	if (error == 0 && size <= MAP_MAX)
		error = mdb_env_set_mapsize(store->env, size);
	(void)pthread_rwlock_unlock(&store->resize);
	if (error != 0)
		return lmdb_failed(s, error, "growing");
	if (size > MAP_MAX)
		return fail(s, E_IO, "the status store grew to its limit of %zu bytes", (size_t)MAP_MAX);
	return OK;
}

/* A batch for which the map is too small is undone, the map doubled, and the batch applied again. */
st va_store_apply(struct scope *s, struct va_store *store, const struct va_batch *batch, va_store_check *check, void *arg,
		  struct va_applied *out)
{
	(void)pthread_mutex_lock(&store->writer);
	st done;
	do {
		store->full = false;
		(void)pthread_rwlock_rdlock(&store->resize);
		done = apply_once(s, store, batch, check, arg, out);
		(void)pthread_rwlock_unlock(&store->resize);
		if (store->full) {
			scope_clear_error(s);
			done = grow(s, store);
		}
	} while (store->full && done.code == E_OK);
	(void)pthread_mutex_unlock(&store->writer);
	return done;
}

/* ---- reading ---- */

st va_store_number(struct scope *s, struct va_store *store, uint64_t *out)
{
	AUTO_READING reading = { 0 };
	TRY(reading_begin(s, store, &reading));
	struct va_meta meta = { 0 };
	TRY(meta_get(s, store, reading.txn, &meta));
	*out = meta.number;
	return OK;
}

st va_store_status(struct scope *s, struct va_store *store, uint16_t ca, span serial, bool *out_found,
		   struct va_status_item *out)
{
	if (serial.len > VA_SERIAL_MAX) {
		*out_found = false;
		return OK;
	}
	AUTO_READING reading = { 0 };
	TRY(reading_begin(s, store, &reading));
	struct va_meta meta = { 0 };
	TRY(meta_get(s, store, reading.txn, &meta));
	uint8_t bytes[3 + VA_SERIAL_MAX];
	MDB_val key = val_of(item_key(bytes, VA_ITEM_STATUS, ca, serial));
	MDB_val value;
	int error = mdb_get(reading.txn, store->generation[meta.current], &key, &value);
	if (error == MDB_NOTFOUND) {
		*out_found = false;
		return OK;
	}
	if (error != 0)
		return lmdb_failed(s, error, "looking up a serial");
	TRY(va_status_read(s, span_of(value.mv_data, value.mv_size), out));
	*out_found = true;
	return OK;
}

static st each_in(struct scope *s, MDB_cursor *cursor, enum va_item_type type,
		  st (*each)(struct scope *s, const struct va_item *item, void *arg), void *arg)
{
	uint8_t start = (uint8_t)type;
	MDB_val key = val_of(span_of(&start, 1));
	MDB_val value;
	int error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (error == 0) {
		struct rd r = rd_of(span_of(key.mv_data, key.mv_size));
		if (rd_u8(&r) != type)
			return OK;
		uint16_t ca = rd_u16(&r);
		struct va_item item;
		TRY(va_feed_read_item(s, type, ca, scope_copy(s, span_of(value.mv_data, value.mv_size)), &item));
		TRY(each(s, &item, arg));
		error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return error == MDB_NOTFOUND ? OK : lmdb_failed(s, error, "listing");
}

st va_store_each(struct scope *s, struct va_store *store, enum va_item_type type,
		 st (*each)(struct scope *s, const struct va_item *item, void *arg), void *arg)
{
	AUTO_READING reading = { 0 };
	TRY(reading_begin(s, store, &reading));
	struct va_meta meta = { 0 };
	TRY(meta_get(s, store, reading.txn, &meta));
	MDB_cursor *cursor;
	int error = mdb_cursor_open(reading.txn, store->generation[meta.current], &cursor);
	if (error != 0)
		return lmdb_failed(s, error, "listing");
	st done = each_in(s, cursor, type, each, arg);
	mdb_cursor_close(cursor);
	return done;
}

/* ---- opening ---- */

static int open_tables(struct va_store *store)
{
	MDB_txn *txn;
	int error = mdb_txn_begin(store->env, NULL, 0, &txn);
	if (error != 0)
		return error;
	error = mdb_dbi_open(txn, "meta", MDB_CREATE, &store->meta);
	if (error == 0)
		error = mdb_dbi_open(txn, "generation-0", MDB_CREATE, &store->generation[0]);
	if (error == 0)
		error = mdb_dbi_open(txn, "generation-1", MDB_CREATE, &store->generation[1]);
	if (error != 0) {
		mdb_txn_abort(txn);
		return error;
	}
	return mdb_txn_commit(txn);
}

static int open_environment(struct va_store *store, const char *directory)
{
	int error = mdb_env_create(&store->env);
	if (error == 0)
		error = mdb_env_set_mapsize(store->env, MAP_START);
	if (error == 0)
		error = mdb_env_set_maxdbs(store->env, 3);
	if (error == 0)
		error = mdb_env_set_maxreaders(store->env, READERS_MAX);
	if (error == 0)
		error = mdb_env_open(store->env, directory, MDB_NOTLS, 0640);
	return error == 0 ? open_tables(store) : error;
}

st va_store_open(struct scope *s, const char *directory, struct va_store **out)
{
	TRY(file_make_directory(s, directory, 0750));
	struct va_store *store = heap_alloc(sizeof *store);
	/* A writer that wants to grow the map must not wait for a lull among the readers. */
	pthread_rwlockattr_t prefer_writer;
	if (pthread_rwlockattr_init(&prefer_writer) != 0 ||
	    pthread_rwlockattr_setkind_np(&prefer_writer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) != 0 ||
	    pthread_rwlock_init(&store->resize, &prefer_writer) != 0 || pthread_mutex_init(&store->writer, NULL) != 0)
		log_die("no locks for the status store");
	int error = open_environment(store, directory);
	uint64_t number;
	st opened = error == 0 ? va_store_number(s, store, &number) : lmdb_failed(s, error, directory);
	if (opened.code != E_OK) {
		va_store_close(store);
		return opened;
	}
	*out = store;
	return OK;
}

void va_store_close(struct va_store *store)
{
	if (store == NULL)
		return;
	if (store->env != NULL)
		mdb_env_close(store->env);
	(void)pthread_rwlock_destroy(&store->resize);
	(void)pthread_mutex_destroy(&store->writer);
	free(store);
}
