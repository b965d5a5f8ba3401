#include "audit_journal.h"
#include "digest.h"
#include "log.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t file_magic[8] = "chanaudi";
static const uint8_t group_magic[4] = "CGRP";
#define FILE_VERSION 1
#define CHECKED_HEAD (AUDIT_GROUP_HEAD - AUDIT_HASH_LEN)
#define SCAN_STEP    ((size_t)1 << 18)
#define LOOKS        3

static void must(bool appended)
{
	if (!appended)
		log_die("a group of audit records grew over its limit: a check of its size is missing");
}

void audit_group_begin(struct audit_group *g, uint64_t first)
{
	static const uint8_t head[AUDIT_GROUP_HEAD] = { 0 };
	g->bytes.cap = AUDIT_GROUP_BODY_MAX + AUDIT_GROUP_HEAD;
	g->hashes.cap = AUDIT_GROUP_BODY_MAX;
	g->bytes.len = 0;
	g->hashes.len = 0;
	g->first = first;
	g->count = 0;
	must(buf_append(&g->bytes, SPAN_ARRAY(head)));
}

bool audit_group_fits(const struct audit_group *g, size_t len)
{
	return g->bytes.len + len + 5 <= AUDIT_GROUP_BODY_MAX;
}

void audit_group_open(struct audit_group *g)
{
	static const uint8_t length_and_prefix[5] = { 0 };
	g->begun = g->bytes.len;
	must(buf_append(&g->bytes, SPAN_ARRAY(length_and_prefix)));
}

static void put_number(uint8_t *out, uint64_t v, size_t width)
{
	for (size_t i = 0; i < width; i++)
		out[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
}

struct audit_hash audit_group_close(struct audit_group *g)
{
	span prefixed = span_from(buf_span(&g->bytes), g->begun + 4);
	put_number(g->bytes.data + g->begun, prefixed.len - 1, 4);
	struct audit_hash hash = audit_leaf_hash_prefixed(prefixed);
	must(buf_append(&g->hashes, SPAN_ARRAY(hash.octets)));
	g->count++;
	return hash;
}

void audit_group_abandon(struct audit_group *g)
{
	g->bytes.len = g->begun;
}

static struct audit_hash group_check(const uint8_t *head, span hashes)
{
	struct audit_hash check;
	uint8_t value[DIGEST_MAX];
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	digest_add(&d, span_of(head, CHECKED_HEAD));
	digest_add(&d, hashes);
	(void)digest_finish(&d, value);
	memcpy(check.octets, value, sizeof check.octets);
	return check;
}

void audit_group_end(struct audit_group *g)
{
	uint8_t *head = g->bytes.data;
	memcpy(head, group_magic, sizeof group_magic);
	put_number(head + 4, g->count, 4);
	put_number(head + 8, g->first, 8);
	put_number(head + 16, g->bytes.len - AUDIT_GROUP_HEAD, 4);
	struct audit_hash check = group_check(head, buf_span(&g->hashes));
	memcpy(head + CHECKED_HEAD, check.octets, sizeof check.octets);
}

void audit_group_free(struct audit_group *g)
{
	buf_free(&g->bytes);
	buf_free(&g->hashes);
}

void audit_file_head(enum audit_file_type type, uint64_t first, uint8_t out[AUDIT_FILE_HEAD])
{
	memcpy(out, file_magic, sizeof file_magic);
	put_number(out + 8, FILE_VERSION, 2);
	put_number(out + 10, type, 2);
	put_number(out + 12, first, 8);
}

/* ---- reading ---- */

/* As many of `len` bytes as the file has there. */
static st read_at(struct scope *s, int fd, uint64_t offset, uint8_t *out, size_t len, size_t *out_got)
{
	size_t have = 0;
	while (have < len) {
		ssize_t got = pread(fd, out + have, len - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(s, E_IO, "reading a file of audit records");
		if (got == 0)
			break;
		have += (size_t)got;
	}
	*out_got = have;
	return OK;
}

st audit_reader_open(struct scope *s, int fd, enum audit_file_type type, struct audit_reader *out)
{
	uint8_t bytes[AUDIT_FILE_HEAD];
	size_t got;
	TRY(read_at(s, fd, 0, bytes, sizeof bytes, &got));
	struct rd r = rd_of(span_of(bytes, got));
	span magic = rd_raw(&r, sizeof file_magic);
	uint16_t version = rd_u16(&r);
	uint16_t found = rd_u16(&r);
	uint64_t first = rd_u64(&r);
	if (r.bad || !span_equal(magic, SPAN_ARRAY(file_magic)) || version != FILE_VERSION || found != type)
		return fail(s, E_INPUT, "this is not a file of audit records of version %d and type %d", FILE_VERSION,
			    (int)type);
	*out = (struct audit_reader){ .fd = fd, .first = first, .next = first, .offset = AUDIT_FILE_HEAD };
	buf_init(&out->group, AUDIT_GROUP_BODY_MAX);
	return OK;
}

void audit_reader_free(struct audit_reader *r)
{
	buf_free(&r->group);
}

/* Splits a body into its records and hashes them; false when the lengths do not fit. */
static bool hash_body(span body, uint32_t count, struct buf *hashes)
{
	struct rd r = rd_of(body);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = rd_u32(&r);
		span prefixed = rd_raw(&r, (size_t)len + 1);
		if (r.bad || prefixed.data[0] != 0)
			return false;
		struct audit_hash hash = audit_leaf_hash_prefixed(prefixed);
		must(buf_append(hashes, SPAN_ARRAY(hash.octets)));
	}
	return r.rest.len == 0;
}

/* The group at `offset`; `*out_good` tells whether there is one. */
static st read_group(struct scope *s, int fd, uint64_t offset, struct buf *body, uint32_t *out_count, uint64_t *out_first,
		     bool *out_good)
{
	uint8_t head[AUDIT_GROUP_HEAD];
	size_t got;
	*out_good = false;
	TRY(read_at(s, fd, offset, head, sizeof head, &got));
	struct rd r = rd_of(span_of(head, got));
	span magic = rd_raw(&r, sizeof group_magic);
	uint32_t count = rd_u32(&r);
	uint64_t first = rd_u64(&r);
	uint32_t len = rd_u32(&r);
	if (got < sizeof head || !span_equal(magic, SPAN_ARRAY(group_magic)) || len > AUDIT_GROUP_BODY_MAX || count == 0 ||
	    count > len / 5)
		return OK;
	struct stat about;
	if (fstat(fd, &about) != 0)
		return fail_errno(s, E_IO, "a file of audit records");
	if ((uint64_t)about.st_size < offset + sizeof head + len)
		return OK; /* before memory is taken for what cannot be there */
	body->len = 0;
	must(buf_reserve(body, len));
	TRY(read_at(s, fd, offset + sizeof head, body->data, len, &got));
	body->len = got;
	if (got < len)
		return OK;
	AUTO_BUF hashes;
	buf_init(&hashes, AUDIT_GROUP_BODY_MAX * 8u);
	if (!hash_body(buf_span(body), count, &hashes))
		return OK;
	struct audit_hash check = group_check(head, buf_span(&hashes));
	*out_good = memcmp(check.octets, head + CHECKED_HEAD, sizeof check.octets) == 0;
	*out_count = count;
	*out_first = first;
	return OK;
}

/* Nothing but zeroes from here on: room that the writer made ready and has not used. */
static st is_blank(struct scope *s, int fd, uint64_t offset, bool *out)
{
	uint8_t *window = heap_alloc(SCAN_STEP);
	st status = OK;
	size_t got = SCAN_STEP;
	*out = true;
	for (; status.code == E_OK && *out && got == SCAN_STEP; offset += SCAN_STEP) {
		status = read_at(s, fd, offset, window, SCAN_STEP, &got);
		*out = got == 0 || (window[0] == 0 && memcmp(window, window + 1, got - 1) == 0);
	}
	free(window);
	return status;
}

static st next_once(struct scope *s, struct audit_reader *r, enum audit_read_outcome *out)
{
	bool good = false, blank;
	uint32_t count = 0;
	uint64_t first = 0;
	TRY(read_group(s, r->fd, r->offset, &r->group, &count, &first, &good));
	if (!good || first != r->next) {
		TRY(is_blank(s, r->fd, r->offset, &blank));
		*out = blank ? AUDIT_READ_END : AUDIT_READ_TORN;
		return OK;
	}
	r->count = count;
	r->group_first = first;
	r->next = first + count;
	r->offset += AUDIT_GROUP_HEAD + r->group.len;
	*out = AUDIT_READ_GROUP;
	return OK;
}

/* A group may be written while this reads: what is no group at the first look may be one at the next. */
st audit_reader_next(struct scope *s, struct audit_reader *r, enum audit_read_outcome *out)
{
	*out = AUDIT_READ_TORN;
	for (int looks = 0; looks < LOOKS && *out == AUDIT_READ_TORN; looks++)
		TRY(next_once(s, r, out));
	return OK;
}

bool audit_reader_record(const struct audit_reader *r, size_t *at, span *out_record, uint64_t *out_offset)
{
	struct rd body = rd_of(span_from(buf_span(&r->group), *at));
	uint32_t len = rd_u32(&body);
	span prefixed = rd_raw(&body, (size_t)len + 1);
	if (body.bad)
		return false;
	*out_record = span_from(prefixed, 1);
	*out_offset = r->offset - r->group.len + *at + 5;
	*at += 5 + (size_t)len;
	return true;
}

static st check_candidates(struct scope *s, const struct audit_reader *r, uint64_t offset, span window)
{
	AUTO_BUF body;
	buf_init(&body, AUDIT_GROUP_BODY_MAX);
	for (size_t i = 0; i + sizeof group_magic <= window.len; i++) {
		uint32_t count;
		uint64_t first;
		bool good = false;
		if (memcmp(window.data + i, group_magic, sizeof group_magic) != 0)
			continue;
		TRY(read_group(s, r->fd, offset + i, &body, &count, &first, &good));
		if (good && first > r->next)
			return fail(s, E_STATE,
				    "record %llu is damaged: a good group of records from %llu on lies behind it, so it was "
				    "acknowledged; "
				    "restore this file from a copy",
				    (unsigned long long)r->next, (unsigned long long)first);
	}
	return OK;
}

st audit_reader_check_torn(struct scope *s, const struct audit_reader *r)
{
	uint8_t *window = heap_alloc(SCAN_STEP);
	st status = OK;
	size_t got = SCAN_STEP;
	for (uint64_t offset = r->offset; status.code == E_OK && got == SCAN_STEP;
	     offset += SCAN_STEP - sizeof group_magic + 1) {
		status = read_at(s, r->fd, offset, window, SCAN_STEP, &got);
		if (status.code == E_OK)
			status = check_candidates(s, r, offset, span_of(window, got));
	}
	free(window);
	return status;
}
