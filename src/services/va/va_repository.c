/*
 * The repository: CA certificates and CRLs, the same bytes for people and machines, with what caches need.
 */
#include "file.h"
#include "log.h"
#include "pki_pem.h"
#include "text.h"
#include "va.h"
#include "va_http.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file name of the repository: the CA's name and an extension. */
static bool split(span file, const char *extension, span *out_name)
{
	size_t tail = strlen(extension);
	if (file.len <= tail || !span_is(span_from(file, file.len - tail), extension))
		return false;
	*out_name = span_first(file, file.len - tail);
	return true;
}

static st not_here(struct scope *s, span file)
{
	return fail(s, E_NOTFOUND, "there is no '%.*s' here; the list of what there is: /",
		    (int)(file.len < 80 ? file.len : 80), (const char *)file.data);
}

/* What every cache may know of a file: its tag, its age, and how long it may be kept. */
static void describe(struct scope *s, struct http_reply *reply, const char *etag, int64_t last_modified, int64_t max_age)
{
	http_reply_header(reply, "ETag", etag);
	http_reply_header(reply, "Last-Modified", va_http_date(last_modified, scope_alloc(s, 32)));
	http_reply_header(
		reply, "Cache-Control",
		scope_printf(s, "public,max-age=%lld,no-transform", (long long)(max_age > 0 ? max_age / MOMENT_SECOND : 0)));
	http_reply_header(reply, "X-Content-Type-Options", "nosniff");
}

static char *quoted(struct scope *s, span digest)
{
	return scope_printf(s, "\"%s\"", hex_text(s, digest));
}

static const struct {
	const char *extension;
	const char *media_type;
	bool pem;
} certificate_forms[] = {
	//= rfc2585#4 application/pkix-cert and application/pkix-crl, DER
	{ ".crt", "application/pkix-cert", false },
	{ ".pem", "application/x-pem-file", true },
};

st va_repository_ca(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	AUTO_DIRECTORY *directory = va_directory_take(va);
	for (size_t i = 0; i < sizeof certificate_forms / sizeof certificate_forms[0]; i++) {
		span name;
		if (!split(request->part[0], certificate_forms[i].extension, &name))
			continue;
		const struct va_ca *ca = va_directory_named(directory, name);
		if (ca == NULL)
			return not_here(s, request->part[0]);
		span body = certificate_forms[i].pem ? span_str(pki_pem_write(s, "CERTIFICATE", ca->certificate))
						     : scope_copy(s, ca->certificate);
		const char *etag = quoted(s, digest_new(s, DIGEST_SHA256, body));
		describe(s, reply, etag, ca->read.not_before, va_conf_now(va)->repository_max_age);
		if (va_http_unchanged(request, etag, ca->read.not_before)) {
			reply->status = 304;
			return OK;
		}
		reply->content_type = certificate_forms[i].media_type;
		reply->body = body;
		return OK;
	}
	return not_here(s, request->part[0]);
}

/* The descriptor of the CRL that is published; another may take its place, and its file away, between look and open. */
static st open_crl(struct scope *s, const struct va *va, const struct va_ca *ca, int *out_fd, uint64_t *out_len)
{
	char *path = va_crl_path(s, va, span_str(ca->name), ca->crl.number);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, errno == ENOENT ? E_NOTFOUND : E_IO, "%s", path);
	struct stat file;
	if (fstat(fd, &file) != 0)
		return fail_errno(s, E_IO, "%s", path);
	*out_len = (uint64_t)file.st_size;
	*out_fd = take_fd(&fd);
	return OK;
}

static st reply_crl(struct scope *s, const struct http_request *request, const struct va_ca *ca, struct http_reply *reply)
{
	const struct va *va = request->state;
	AUTO_FD fd = -1;
	uint64_t len = 0;
	TRY(open_crl(s, va, ca, &fd, &len));
	//= rfc9110#8.8 the tag is the digest the feed promised and the upload was checked against
	const char *etag = quoted(s, SPAN_ARRAY(ca->crl.digest));
	int64_t max_age = va_conf_now(va)->repository_max_age;
	int64_t left = ca->crl.next_update - scope_now(s);
	describe(s, reply, etag, ca->crl.this_update, left < max_age ? left : max_age);
	http_reply_header(reply, "Expires", va_http_date(ca->crl.next_update, scope_alloc(s, 32)));
	if (va_http_unchanged(request, etag, ca->crl.this_update)) {
		reply->status = 304;
		return OK;
	}
	reply->content_type = "application/pkix-crl";
	reply->file = take_fd(&fd);
	reply->file_len = len;
	return OK;
}

st va_repository_crl(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	span name;
	if (!split(request->part[0], ".crl", &name))
		return not_here(s, request->part[0]);
	for (int attempt = 0; attempt < 3; attempt++) {
		AUTO_DIRECTORY *directory = va_directory_take(va);
		const struct va_ca *ca = va_directory_named(directory, name);
		if (ca == NULL || ca->crl.number == 0)
			return not_here(s, request->part[0]);
		st done = reply_crl(s, request, ca, reply);
		if (done.code != E_NOTFOUND)
			return done;
		scope_clear_error(s);
	}
	return fail(s, E_IO, "the file of CRL '%.*s' is gone: the ca sends it again with its next CRL", (int)name.len,
		    (const char *)name.data);
}
