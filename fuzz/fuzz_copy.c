/* What comes to the second place of a log: the path of a tile, a request to cosign, a time-stamp, a bundle that is here already. The first octet chooses. */
#include "copy.h"
#include "fuzz.h"

static void place(struct scope *s, span bytes)
{
	struct copy_place read;
	if (copy_place_read(s, bytes, &read).code != E_OK) {
		check(s->message[0] != 0);
		return;
	}
	check(read.level >= AUDIT_ENTRIES && read.level < AUDIT_TILE_LEVELS && read.width > 0 &&
	      read.width <= AUDIT_TILE_WIDTH);
	check(span_is(bytes, audit_tile_path(s, "", read.level, read.n, read.width) + strlen("/tile/")));
}

static void request(struct scope *s, span bytes)
{
	struct copy_request read;
	if (copy_request_read(s, bytes, &read).code != E_OK) {
		check(s->message[0] != 0);
		return;
	}
	check(read.proof.len % AUDIT_HASH_LEN == 0 && read.proof.len <= 63 * (size_t)AUDIT_HASH_LEN);
	check(read.note.len > 0 && lies_inside(read.note, bytes) && read.old <= INT64_MAX);
}

static void stamped(struct scope *s, span bytes)
{
	struct copy_stamped read;
	if (copy_stamped_read(s, bytes, &read).code != E_OK) {
		check(s->message[0] != 0);
		return;
	}
	check(read.note.len > 0 && lies_inside(read.note, bytes) && read.token.len > 0 && lies_inside(read.token, bytes));
	check(4 + read.note.len + read.token.len == bytes.len);
}

/* u16 length of the one, it, and the other to the end. */
static void bundles(struct scope *s, span bytes)
{
	AUTO_BUF one, other;
	struct rd r = rd_of(bytes);
	uint16_t len = rd_u16(&r);
	span there = rd_raw(&r, len), brought = r.rest;
	(void)s;
	buf_init(&one, AUDIT_BUNDLE_MAX);
	buf_init(&other, AUDIT_BUNDLE_MAX);
	if (r.bad || !copy_bundle_unite(there, brought, &one))
		return;
	check(one.len >= there.len && one.len >= brought.len);
	check(copy_bundle_unite(brought, there, &other) && span_equal(buf_span(&one), buf_span(&other)));
	buf_clear(&other);
	check(copy_bundle_unite(buf_span(&one), there, &other) && span_equal(buf_span(&one), buf_span(&other)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (size > 0)
		(data[0] == 'p'   ? place
		 : data[0] == 's' ? stamped
		 : data[0] == 'b' ? bundles
				  : request)(&s, span_of(data + 1, size - 1));
	return 0;
}
