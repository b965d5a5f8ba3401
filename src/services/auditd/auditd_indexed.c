#include "auditd_indexed.h"
#include "audit_record.h"
#include "digest.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_VERSION 1
#define FILE_HEAD    10
#define ROW_LEN      25
#define FILE_MAX     ((size_t)128 << 20)
#define CUT          8 /* octets of a hash */
/* At a start at most so many leaves are read again, and those of the tail. */
#define MARK_EVERY 16384u

static const uint8_t magic[] = { 'c', 'h', 'a', 'n', 'c', 't', 'r', 'l' };
enum kind { IS_CONTROL = 1, LOOKED_AT = 2 };

struct indexed {
	pthread_mutex_t lock; /* of `leaf`, `count` and `room` */
	uint64_t *leaf;
	size_t count, room;
	/* Of the file; the opener's, then the integrator's: */
	char *path;
	int fd; /* -1: not kept up any more, until the next start */
	size_t kept;
	uint64_t seen; /* what the file tells reaches so far */
	uint8_t check[CUT];
};

void indexed_add(struct indexed *x, uint64_t index)
{
	(void)pthread_mutex_lock(&x->lock);
	if (x->count == 0 || x->leaf[x->count - 1] < index) {
		if (x->count == x->room) {
			x->room = x->room == 0 ? 256 : 2 * x->room;
			x->leaf = heap_grow(x->leaf, x->room * sizeof *x->leaf);
		}
		x->leaf[x->count++] = index;
	}
	(void)pthread_mutex_unlock(&x->lock);
}

void indexed_read(struct scope *s, struct indexed *x, uint64_t from, size_t max, uint64_t **out, size_t *out_count,
		  uint64_t *out_total)
{
	(void)pthread_mutex_lock(&x->lock);
	size_t first = from < x->count ? (size_t)from : x->count, count = x->count - first;
	if (count > max)
		count = max;
	*out = scope_alloc(s, (count + 1) * sizeof **out);
	for (size_t i = 0; i < count; i++)
		(*out)[i] = x->leaf[first + i];
	*out_count = count;
	*out_total = x->count;
	(void)pthread_mutex_unlock(&x->lock);
}

/* ---- reading the file ---- */

struct row {
	uint8_t kind;
	uint64_t number;
	span hash;
};

static void next_check(uint8_t check[CUT], span row)
{
	uint8_t hash[DIGEST_MAX];
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	digest_add(&d, span_of(check, CUT));
	digest_add(&d, row);
	(void)digest_finish(&d, hash);
	memcpy(check, hash, CUT);
}

/* False at the first row that does not fit those before it. */
static bool read_row(struct indexed *x, struct rd *r, struct row *out)
{
	uint8_t check[CUT];
	span bytes = span_first(r->rest, ROW_LEN - CUT);
	out->kind = rd_u8(r);
	out->number = rd_u64(r);
	out->hash = rd_raw(r, CUT);
	span found = rd_raw(r, CUT);
	if (r->bad || (out->kind != IS_CONTROL && out->kind != LOOKED_AT) || out->number < x->seen || out->number == UINT64_MAX)
		return false;
	memcpy(check, x->check, CUT);
	next_check(check, bytes);
	if (!span_equal(found, SPAN_ARRAY(check)))
		return false;
	memcpy(x->check, check, CUT);
	return true;
}

static void take_row(struct indexed *x, const struct row *row)
{
	if (row->kind == IS_CONTROL)
		indexed_add(x, row->number);
	x->seen = row->kind == IS_CONTROL ? row->number + 1 : row->number;
}

static st leaf_hash(struct scope *s, struct audit_log *log, uint64_t index, span *out)
{
	const struct audit_hash *tile;
	unsigned within = (unsigned)(index % AUDIT_TILE_WIDTH);
	TRY(audit_log_tile(s, log, 0, index / AUDIT_TILE_WIDTH, within + 1, &tile));
	*out = span_of(tile[within].octets, CUT);
	return OK;
}

/* The last row tells of a leaf that this log has. */
static bool fits_log(struct scope *s, const struct indexed *x, struct audit_log *log, uint64_t base, const struct row *last)
{
	span hash;
	if (x->seen == 0)
		return true;
	return x->seen <= base && leaf_hash(s, log, x->seen - 1, &hash).code == E_OK && span_equal(hash, last->hash);
}

/* What of the file holds; the length of that, 0 when nothing does. */
static size_t read_file(struct scope *s, struct indexed *x, struct audit_log *log, uint64_t base, span bytes)
{
	struct rd r = rd_of(bytes);
	struct row row, last = { 0 };
	span found = rd_raw(&r, sizeof magic);
	if (rd_u16(&r) != FILE_VERSION || r.bad || !span_equal(found, SPAN_ARRAY(magic)))
		return 0;
	size_t good = FILE_HEAD;
	for (; read_row(x, &r, &row); good += ROW_LEN) {
		take_row(x, &row);
		last = row;
	}
	x->kept = x->count;
	if (fits_log(s, x, log, base, &last))
		return good;
	x->count = x->kept = 0;
	x->seen = 0;
	memset(x->check, 0, CUT);
	return 0;
}

static st begin_file(struct scope *s, const struct indexed *x)
{
	AUTO_BUF head;
	buf_init(&head, FILE_HEAD);
	struct wr w = wr_into(&head);
	wr_raw(&w, SPAN_ARRAY(magic));
	wr_u16(&w, FILE_VERSION);
	TRY(wr_end(s, &w));
	return file_replace(s, x->path, buf_span(&head), 0640);
}

/* Missing, of another log, of a later version: anew. Cut short or damaged: as far as it goes. */
static st open_file(struct scope *s, struct indexed *x, struct audit_log *log, uint64_t base)
{
	span bytes = { 0 };
	size_t good = 0;
	if (file_read(s, x->path, FILE_MAX, &bytes).code == E_OK)
		good = read_file(s, x, log, base, bytes);
	scope_clear_error(s);
	if (good == 0 && base > 0)
		log_put(LOG_LEVEL_NOTICE, "%s %s: the log is read for its records of class control", x->path,
			bytes.len == 0 ? "is not there" : "does not fit this log");
	if (good == 0)
		TRY(begin_file(s, x));
	TRY(file_open_append(s, x->path, 0640, &x->fd));
	if (good > 0 && good < bytes.len && ftruncate(x->fd, (off_t)good) != 0)
		return fail_errno(s, E_IO, "cutting %s", x->path);
	return OK;
}

/* ---- writing it ---- */

static st write_row(struct scope *s, struct indexed *x, struct audit_log *log, enum kind kind, uint64_t number, struct wr *out)
{
	span hash;
	uint64_t leaf = kind == IS_CONTROL ? number : number - 1;
	size_t begun = out->out->len;
	TRY(leaf_hash(s, log, leaf, &hash));
	wr_u8(out, (uint8_t)kind);
	wr_u64(out, number);
	wr_raw(out, hash);
	next_check(x->check, span_from(buf_span(out->out), begun));
	wr_raw(out, SPAN_ARRAY(x->check));
	x->seen = leaf + 1;
	return OK;
}

static st keep(struct scope *s, struct indexed *x, struct audit_log *log, uint64_t base)
{
	AUTO_BUF rows;
	buf_init(&rows, FILE_MAX);
	struct wr w = wr_into(&rows);
	uint64_t *leaf, total;
	size_t count;
	indexed_read(s, x, x->kept, SIZE_MAX, &leaf, &count, &total);
	for (size_t i = 0; i < count && leaf[i] < base; i++, x->kept++)
		TRY(write_row(s, x, log, IS_CONTROL, leaf[i], &w));
	if (base >= x->seen + MARK_EVERY)
		TRY(write_row(s, x, log, LOOKED_AT, base, &w));
	TRY(wr_end(s, &w));
	if (rows.len == 0)
		return OK;
	TRY(file_write_all(s, x->fd, buf_span(&rows)));
	FAILPOINT("auditd.control-index");
	return OK;
}

/* What is lost of the file is read from the log again at the next start, so nobody need wait for it or fail with it. */
void indexed_keep(struct indexed *x, struct audit_log *log, uint64_t base)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (x->fd < 0 || keep(&s, x, log, base).code == E_OK)
		return;
	fd_auto(&x->fd);
	log_failure(&s, "the index of records of class control is not kept any more, so the next start takes longer");
}

/* ---- reading the log ---- */

struct looking {
	struct indexed *indexed;
	uint64_t below;
};

static bool look_at(void *state, uint64_t index, span leaf)
{
	struct looking *l = state;
	struct audit_envelope envelope;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (index >= l->below)
		return false;
	if (audit_envelope_read(&s, leaf, &envelope).code == E_OK && envelope.record.row->class == AUDIT_CONTROL)
		indexed_add(l->indexed, index);
	return true;
}

static st open_all(struct scope *s, struct indexed *x, struct audit_log *log, uint64_t base)
{
	struct looking l = { .indexed = x, .below = base };
	TRY(open_file(s, x, log, base));
	if (x->seen < base)
		TRY(audit_log_each_bundled(s, log, x->seen, look_at, &l));
	indexed_keep(x, log, base);
	return OK;
}

st indexed_open(struct scope *s, const char *dir, struct audit_log *log, uint64_t base, struct indexed **out)
{
	struct indexed *x = heap_alloc(sizeof *x);
	x->fd = -1;
	x->path = heap_copy_str(scope_printf(s, "%s/control-index", dir));
	(void)pthread_mutex_init(&x->lock, NULL);
	st status = fail_context(s, open_all(s, x, log, base), "the index of records of class control");
	if (status.code != E_OK) {
		indexed_close(x);
		return status;
	}
	*out = x;
	return OK;
}

void indexed_close(struct indexed *x)
{
	if (x == NULL)
		return;
	fd_auto(&x->fd);
	(void)pthread_mutex_destroy(&x->lock);
	free(x->leaf);
	free(x->path);
	free(x);
}
