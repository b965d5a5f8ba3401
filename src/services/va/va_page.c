/*
 * The page at /: which CA certificates and CRLs there are, with the fingerprints by which a person compares them. HTML without scripts,
 * readable on any width and by a screen reader; nothing is loaded from elsewhere.
 */
#include "log.h"
#include "pki_name.h"
#include "va.h"
#include "va_http.h"
#include <stdio.h>
#include <sys/stat.h>

static const char style[] = ":root{color-scheme:light dark;font-family:system-ui,sans-serif;line-height:1.5}"
			    "body{margin:0 auto;max-width:60rem;padding:1rem}"
			    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem;border-top:1px solid;padding-top:1rem}"
			    "dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.3rem 1rem;margin:0}"
			    "dt{font-weight:600}dd{margin:0;min-width:0;overflow-wrap:anywhere}"
			    "code{font-size:.95em}a:focus{outline:3px solid}"
			    "@media(max-width:36rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.6rem}}";

static void put(struct buf *page, const char *text)
{
	(void)buf_append(page, span_str(text));
}

/* Text from certificates and configuration into HTML. */
static void put_text(struct buf *page, span text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		const char *entity = c == '&'    ? "&amp;"
				     : c == '<'  ? "&lt;"
				     : c == '>'  ? "&gt;"
				     : c == '"'  ? "&quot;"
				     : c == '\'' ? "&#39;"
						 : NULL;
		if (entity != NULL)
			put(page, entity);
		else if (c >= 0x20 && c != 0x7f)
			(void)buf_append(page, span_of(&c, 1));
	}
}

static void put_row(struct buf *page, const char *term, const char *value)
{
	put(page, "<dt>");
	put(page, term);
	put(page, "</dt><dd>");
	put_text(page, span_str(value));
	put(page, "</dd>\n");
}

static char *day_text(struct scope *s, int64_t moment)
{
	char *text = moment_text(moment, scope_alloc(s, MOMENT_TEXT_MAX));
	/* Whole seconds: drop the microseconds of "2026-11-22T17:46:00.000001Z". */
	memcpy(text + 19, " UTC", 5);
	text[10] = ' ';
	return text;
}

/* In groups of two, as tools print fingerprints. */
static char *fingerprint(struct scope *s, span certificate)
{
	uint8_t digest[DIGEST_MAX];
	span bytes = digest_of(DIGEST_SHA256, certificate, digest);
	char *out = scope_alloc(s, bytes.len * 3 + 1);
	for (size_t i = 0; i < bytes.len; i++)
		(void)snprintf(out + 3 * i, 4, "%02X%s", bytes.data[i], i + 1 < bytes.len ? ":" : "");
	return out;
}

static void put_certificate(struct scope *s, struct buf *page, const struct va_ca *ca, const char *subject)
{
	put_row(page, "Subject", subject);
	put_row(page, "Serial number", hex_text(s, ca->read.serial));
	put_row(page, "Valid from", day_text(s, ca->read.not_before));
	put_row(page, "Valid until", day_text(s, ca->read.not_after));
	put(page, "<dt>SHA-256 fingerprint</dt><dd><code>");
	put(page, fingerprint(s, ca->certificate));
	put(page, "</code></dd>\n<dt>Certificate</dt><dd>");
	put(page, scope_printf(s, "<a href=\"/ca/%s.crt\">%s.crt</a> (DER), <a href=\"/ca/%s.pem\">%s.pem</a> (PEM)</dd>\n",
			       ca->name, ca->name, ca->name, ca->name));
}

static void put_crl(struct scope *s, struct buf *page, const struct va *va, const struct va_ca *ca)
{
	if (ca->crl.number == 0) {
		put_row(page, "Revocation list", "none published yet");
		return;
	}
	struct stat file;
	const char *path = va_crl_path(s, va, span_str(ca->name), ca->crl.number);
	long long size = stat(path, &file) == 0 ? (long long)file.st_size : 0;
	put(page, scope_printf(s, "<dt>Revocation list</dt><dd><a href=\"/crl/%s.crl\">%s.crl</a> (DER, %lld octets)</dd>\n",
			       ca->name, ca->name, size));
	put_row(page, "List number", scope_printf(s, "%llu", (unsigned long long)ca->crl.number));
	put_row(page, "List of", day_text(s, ca->crl.this_update));
	put_row(page, "Next list by", day_text(s, ca->crl.next_update));
}

static st put_ca(struct scope *s, struct buf *page, const struct va *va, const struct va_ca *ca)
{
	char *subject;
	TRY(pki_name_text(s, ca->read.subject, &subject));
	put(page,
	    scope_printf(s, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s</h2>\n<dl>\n", ca->name, ca->name, ca->name));
	put_certificate(s, page, ca, subject);
	put_crl(s, page, va, ca);
	put_row(page, "Online status (OCSP)", ca->signer.key != NULL ? "offered at /ocsp" : "not offered for this CA");
	put(page, "</dl>\n</section>\n");
	return OK;
}

static void security_headers(struct http_reply *reply)
{
	http_reply_header(reply, "Content-Security-Policy",
			  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	http_reply_header(reply, "X-Content-Type-Options", "nosniff");
	http_reply_header(reply, "Referrer-Policy", "no-referrer");
	http_reply_header(reply, "X-Frame-Options", "DENY");
	http_reply_header(reply, "Cross-Origin-Resource-Policy", "same-origin");
}

//= en319411-1#DIS-6.1-01 CA certificates and their fingerprints, and status information, are published for everybody
st va_page(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	AUTO_DIRECTORY *directory = va_directory_take(va);
	AUTO_BUF page = { 0 };
	put(&page,
	    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Certificates and revocation lists</title>\n"
	    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	    "<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n<main>\n<h1>Certificates and revocation lists</h1>\n");
	put(&page,
	    directory->count > 0
		    ? "<p>Compare a fingerprint with what its owner published elsewhere before you trust a certificate.</p>\n"
		    : "<p>Nothing has been published here yet.</p>\n");
	for (size_t i = 0; i < directory->count; i++)
		TRY(put_ca(s, &page, va, &directory->ca[i]));
	put(&page, "</main>\n</body>\n</html>\n");
	reply->content_type = "text/html; charset=utf-8";
	reply->body = scope_copy(s, buf_span(&page));
	http_reply_header(reply, "Cache-Control", "public,max-age=60");
	security_headers(reply);
	return OK;
}

st va_page_style(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)s;
	(void)request;
	reply->content_type = "text/css; charset=utf-8";
	reply->body = SPAN_LITERAL(style);
	http_reply_header(reply, "Cache-Control", "public,max-age=86400");
	security_headers(reply);
	return OK;
}
