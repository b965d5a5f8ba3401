/*
 * CRL files: taken from the ca as a stream, checked against the feed item that names them, published by the item, deleted when
 * something newer is published.
 */
#include "file.h"
#include "log.h"
#include "moment.h"
#include "pki_crl.h"
#include "text.h"
#include "va.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_PART 65536u

static char *crl_directory(struct scope *s, const struct va *va)
{
	return scope_printf(s, "%s/crls", va_conf_now(va)->state_directory);
}

char *va_crl_path(struct scope *s, const struct va *va, span name, uint64_t number)
{
	return scope_printf(s, "%s/%.*s-%llu.crl", crl_directory(s, va), (int)name.len, (const char *)name.data,
			    (unsigned long long)number);
}

/* ---- a file as bytes ---- */

struct mapped {
	void *data;
	size_t len;
};

static void mapped_end(struct mapped *m)
{
	if (m->data != NULL)
		(void)munmap(m->data, m->len);
}
#define AUTO_MAPPED __attribute__((cleanup(mapped_end))) struct mapped

static st map_file(struct scope *s, const char *path, struct mapped *out)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, errno == ENOENT ? E_STATE : E_IO, "%s", path);
	struct stat file;
	if (fstat(fd, &file) != 0 || file.st_size <= 0)
		return fail(s, E_IO, "%s is no file or empty", path);
	void *data = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return fail_errno(s, E_IO, "%s", path);
	*out = (struct mapped){ data, (size_t)file.st_size };
	return OK;
}

/* ---- upload ---- */

static st copy_part(struct scope *s, int from, int to, uint8_t *part, size_t want, uint64_t at)
{
	TRY(fail_context(s, file_read_at(s, from, part, want, at), "the uploaded CRL"));
	return file_write_all(s, to, span_of(part, want));
}

static st copy_body(struct scope *s, const struct http_request *request, int to)
{
	if (request->body_file < 0)
		return file_write_all(s, to, request->body);
	uint8_t *part = scope_alloc(s, COPY_PART);
	for (uint64_t at = 0; at < request->body_len; at += COPY_PART) {
		uint64_t left = request->body_len - at;
		TRY(copy_part(s, request->body_file, to, part, left < COPY_PART ? (size_t)left : COPY_PART, at));
	}
	return OK;
}

/* Beside, synced, renamed: a name in this directory is always a whole CRL. */
static st write_upload(struct scope *s, const struct http_request *request, const char *path)
{
	char *beside = scope_printf(s, "%s.XXXXXX", path);
	AUTO_FD fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", beside);
	st written = copy_body(s, request, fd);
	if (written.code == E_OK && (fchmod(fd, 0644) != 0 || fsync(fd) != 0 || rename(beside, path) != 0))
		written = fail_errno(s, E_IO, "%s", path);
	if (written.code != E_OK) {
		(void)unlink(beside);
		return written;
	}
	return file_sync_directory_of(s, path);
}

static st digest_of_body(struct scope *s, const struct http_request *request, uint8_t out[32])
{
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	uint8_t *part = scope_alloc(s, COPY_PART);
	if (request->body_file < 0)
		digest_add(&d, request->body);
	for (uint64_t at = 0; request->body_file >= 0 && at < request->body_len;) {
		ssize_t got = pread(request->body_file, part, COPY_PART, (off_t)at);
		if (got <= 0) {
			digest_drop(&d);
			return fail_errno(s, E_IO, "reading the uploaded CRL");
		}
		digest_add(&d, span_of(part, (size_t)got));
		at += (uint64_t)got;
	}
	(void)digest_finish(&d, out);
	return OK;
}

st va_crl_put(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	span name = request->part[0];
	uint64_t number;
	TRY(decimal_parse(s, request->part[1], UINT64_MAX, &number));
	if (!va_feed_name_fits(name) || number == 0)
		return fail(s, E_INPUT, "a CRL is uploaded as /v1/crls/NAME/NUMBER");
	AUTO_DIRECTORY *directory = va_directory_take(va);
	const struct va_ca *ca = va_directory_named(directory, name);
	reply->status = 204;
	//= rfc5280#5.2.3 CRL numbers only grow: what is published is not replaced by something older, nor by something else of its number
	if (ca != NULL && number < ca->crl.number)
		return fail(s, E_CONFLICT, "CRL %llu of %s is published: number %llu is older",
			    (unsigned long long)ca->crl.number, ca->name, (unsigned long long)number);
	if (ca != NULL && number == ca->crl.number) {
		uint8_t digest[DIGEST_MAX];
		TRY(digest_of_body(s, request, digest));
		if (memcmp(digest, ca->crl.digest, sizeof ca->crl.digest) != 0)
			return fail(s, E_CONFLICT, "another CRL %llu of %s is published", (unsigned long long)number, ca->name);
	}
	return write_upload(s, request, va_crl_path(s, va, name, number));
}

/* ---- publication ---- */

static st check_content(struct scope *s, span der, const struct va_crl_item *crl, const struct va_ca_item *ca)
{
	uint8_t digest[DIGEST_MAX];
	(void)digest_of(DIGEST_SHA256, der, digest);
	if (memcmp(digest, crl->digest, sizeof crl->digest) != 0)
		return fail(s, E_CONFLICT, "the uploaded file is not the one the feed names: upload it again");
	struct pki_crl read;
	TRY(pki_crl_read(s, der, &read));
	struct pki_certificate issuer;
	TRY(pki_certificate_read(s, ca->certificate, &issuer));
	if (!span_equal(read.issuer, issuer.subject))
		return fail(s, E_CRYPTO, "its issuer is not the CA's subject (RFC 5280 5.1.2.3)");
	bool same_dates = read.this_update / MOMENT_SECOND == crl->this_update / MOMENT_SECOND &&
			  read.next_update / MOMENT_SECOND == crl->next_update / MOMENT_SECOND;
	if (read.number != crl->number || !same_dates)
		return fail(s, E_CONFLICT, "its number or dates are not those of the feed item");
	return va_signed_by_ca(s, ca->certificate, read.signature_identifier, read.tbs, read.signature);
}

static st check_number(struct scope *s, struct va *va, const struct va_crl_item *crl, const struct va_ca_item *item)
{
	AUTO_DIRECTORY *directory = va_directory_take(va);
	const struct va_ca *ca = va_directory_named(directory, item->name);
	if (ca == NULL || crl->number > ca->crl.number)
		return OK;
	bool same = crl->number == ca->crl.number && memcmp(crl->digest, ca->crl.digest, sizeof crl->digest) == 0;
	return same ? OK : fail(s, E_CONFLICT, "number %llu is published", (unsigned long long)ca->crl.number);
}

st va_crl_check(struct scope *s, struct va *va, const struct va_crl_item *crl, const struct va_ca_item *ca)
{
	const char *name = scope_cstr(s, ca->name);
	st checked = check_number(s, va, crl, ca);
	AUTO_MAPPED file = { 0 };
	if (checked.code == E_OK)
		checked = map_file(s, va_crl_path(s, va, ca->name, crl->number), &file);
	if (checked.code == E_OK)
		checked = check_content(s, span_of(file.data, file.len), crl, ca);
	return fail_context(s, checked, "CRL %llu of %s", (unsigned long long)crl->number, name);
}

/* ---- tidying ---- */

/* "NAME-NUMBER.crl" of something older than is published, or what an interrupted upload of such a one left behind. */
static bool is_stale(struct scope *s, const struct va_directory *directory, const char *file)
{
	const char *dash = strrchr(file, '-');
	const char *dot = strchr(file, '.');
	if (dash == NULL || dot == NULL || dot < dash)
		return false;
	uint64_t number;
	st parsed = decimal_parse(s, span_of(dash + 1, (size_t)(dot - dash - 1)), UINT64_MAX, &number);
	scope_clear_error(s);
	const struct va_ca *ca = va_directory_named(directory, span_of(file, (size_t)(dash - file)));
	return parsed.code == E_OK && ca != NULL && number < ca->crl.number;
}

void va_crl_tidy(struct va *va)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_DIRECTORY *directory = va_directory_take(va);
	char **name;
	size_t count = 0;
	if (file_list(&s, crl_directory(&s, va), &name, &count).code != E_OK)
		log_failure(&s, "removing old CRL files");
	for (size_t i = 0; i < count; i++) {
		char *path = scope_printf(&s, "%s/%s", crl_directory(&s, va), name[i]);
		if (is_stale(&s, directory, name[i]) && unlink(path) != 0)
			log_put(LOG_LEVEL_WARNING, "%s: %s", path, strerror(errno));
	}
}
