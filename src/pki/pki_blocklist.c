#include "pki_blocklist.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DIGITS_MIN 30 /* 120 bits: nobody meets a listed digest by chance */
#define DIGITS_MAX 64
#define LIST_MAX   (INT64_C(1) << 30)

struct pki_blocklist {
	uint8_t *digest; /* `count` entries of `width` octets, rising */
	size_t width, count;
};

/* ---- reading ---- */

struct reading {
	const char *path;
	FILE *file;
	struct pki_blocklist *list;
	char line[DIGITS_MAX + 4];
	size_t room;
};

static st wrong_line(struct scope *s, const struct reading *r, const char *what)
{
	return fail(s, E_CONFIG,
		    "%s, line %zu: %s; a list has one digest in lower-case hexadecimal (30 to 64 digits, all alike) a line, as "
		    "'sort -u' leaves them",
		    r->path, r->list->count + 1, what);
}

static st digits_of_line(struct scope *s, struct reading *r, span *out)
{
	span line = span_str(r->line);
	if (line.len == 0 || line.data[line.len - 1] != '\n')
		return wrong_line(s, r, "the line has no end");
	line = span_first(line, line.len - 1);
	for (size_t i = 0; i < line.len; i++)
		if (strchr("0123456789abcdef", line.data[i]) == NULL)
			return wrong_line(s, r, "this is not lower-case hexadecimal");
	if (line.len < DIGITS_MIN || line.len > DIGITS_MAX || line.len % 2 != 0)
		return wrong_line(s, r, "a digest has 30 to 64 digits, an even number");
	*out = line;
	return OK;
}

static unsigned digit(uint8_t character)
{
	return (unsigned)(character <= '9' ? character - '0' : character - 'a' + 10);
}

static st take_line(struct scope *s, struct reading *r)
{
	struct pki_blocklist *list = r->list;
	span line = { 0 };
	TRY(digits_of_line(s, r, &line));
	if (list->count == 0)
		list->width = line.len / 2;
	if (line.len != 2 * list->width)
		return wrong_line(s, r, "it is not as long as the lines before");
	if (list->count == r->room)
		return wrong_line(s, r, "the file grew while it was read");
	uint8_t *entry = list->digest + list->count * list->width;
	for (size_t i = 0; i < list->width; i++)
		entry[i] = (uint8_t)(digit(line.data[2 * i]) << 4 | digit(line.data[2 * i + 1]));
	if (list->count > 0 && memcmp(entry - list->width, entry, list->width) >= 0)
		return wrong_line(s, r, "it does not come after the line before");
	list->count++;
	return OK;
}

static st read_lines(struct scope *s, struct reading *r)
{
	struct stat about;
	if (fstat(fileno(r->file), &about) != 0 || !S_ISREG(about.st_mode))
		return fail(s, E_CONFIG, "%s is no file", r->path);
	if (about.st_size > LIST_MAX)
		return fail(s, E_LIMIT, "%s has more than %lld octets", r->path, (long long)LIST_MAX);
	r->room = (size_t)about.st_size / (DIGITS_MIN + 1);
	r->list->digest = heap_alloc((size_t)about.st_size / 2 + DIGITS_MAX);
	while (fgets(r->line, sizeof r->line, r->file) != NULL)
		TRY(take_line(s, r));
	return ferror(r->file) == 0 ? OK : fail_errno(s, E_IO, "reading %s", r->path);
}

st pki_blocklist_read(struct scope *s, const char *path, struct pki_blocklist **out)
{
	struct reading r = { .path = path, .file = fopen(path, "re") };
	if (r.file == NULL)
		return fail_errno(s, E_CONFIG, "the list of keys that are not certified, %s", path);
	r.list = heap_alloc(sizeof *r.list);
	st status = read_lines(s, &r);
	(void)fclose(r.file);
	if (status.code != E_OK) {
		pki_blocklist_free(r.list);
		return status;
	}
	*out = r.list;
	return OK;
}

void pki_blocklist_free(struct pki_blocklist *list)
{
	if (list == NULL)
		return;
	free(list->digest);
	free(list);
}

size_t pki_blocklist_count(const struct pki_blocklist *list)
{
	return list->count;
}

/* ---- looking up ---- */

static bool has(const struct pki_blocklist *list, span content)
{
	uint8_t digest[DIGEST_MAX];
	(void)digest_of(DIGEST_SHA256, content, digest);
	size_t from = 0, to = list->count;
	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int order = memcmp(digest, list->digest + middle * list->width, list->width);
		if (order == 0)
			return true;
		from = order > 0 ? middle + 1 : from;
		to = order > 0 ? to : middle;
	}
	return false;
}

/* What makes the key, as a number without leading zeros; Ed25519: its 32 octets. */
static span number_of(const struct alg_public *public)
{
	span number = public->key->family == ALG_RSA ? public->modulus : public->point;
	if (public->key->family == ALG_EC)
		number = span_first(span_from(public->point, 1), public->key->coordinate);
	while (public->key->family != ALG_ED25519 && number.len > 1 && number.data[0] == 0)
		number = span_from(number, 1);
	return number;
}

//= cabf-br#6.1.1.3 requests for keys that are known to be compromised or weak (CVE-2008-0166) are rejected
st pki_blocklist_check(struct scope *s, const struct pki_blocklist *list, span spki)
{
	struct alg_public public;
	TRY(alg_public_of_spki(s, spki, &public));
	if (!has(list, spki) && !has(list, number_of(&public)))
		return OK;
	return fail(s, E_CRYPTO,
		    "this public key is on the list of keys whose private key is known: compromised, or made by a weak "
		    "generator as in CVE-2008-0166 (CA/Browser Forum BR 6.1.1.3); make a new key elsewhere");
}
