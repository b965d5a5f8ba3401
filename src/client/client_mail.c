#include "client.h"
#include "client_curl.h"
#include "moment.h"
#include "text.h"

#define LINE_MAX_OCTETS 900 /* rfc5321#4.5.3.1.6 1000 at most */

struct reading {
	span rest;
};

static size_t read_mail(char *into, size_t size, size_t count, void *argument)
{
	struct reading *r = argument;
	size_t want = size * count < r->rest.len ? size * count : r->rest.len;
	memcpy(into, r->rest.data, want);
	r->rest = span_from(r->rest, want);
	return want;
}

/* Nothing that comes from elsewhere may become a header or a command of its own. */
//= rfc5321#4.1.2 an address is printable ASCII; ours have no spaces, brackets or quotes
static st check_address(struct scope *s, const char *what, const char *address)
{
	size_t len = strlen(address);
	if (len == 0 || len > 254 || strchr(address, '@') == NULL)
		return fail(s, E_INPUT, "%s: '%s' is no mail address", what, address);
	for (const char *c = address; *c != 0; c++)
		if (*c <= ' ' || *c > '~' || strchr("<>\"(),;:\\[]", *c) != NULL)
			return fail(s, E_INPUT, "%s: '%s' is no mail address", what, address);
	return OK;
}

/* Lines end in CRLF, and none is too long; other control characters become spaces. */
static void put_lines(struct buf *out, const char *text)
{
	size_t width = 0;
	for (; *text != 0; text++) {
		unsigned char c = (unsigned char)*text;
		bool begins = (c & 0xc0) != 0x80;
		if (c == '\n' || (width > LINE_MAX_OCTETS && begins)) {
			(void)buf_append(out, SPAN_LITERAL("\r\n"));
			width = 0;
		}
		if (c == '\n')
			continue;
		char plain = c < ' ' || c == 0x7f ? ' ' : (char)c;
		(void)buf_append(out, span_of(&plain, 1));
		width++;
	}
	(void)buf_append(out, SPAN_LITERAL("\r\n"));
}

//= rfc5322#3.3 date-time
static const char *date_text(struct scope *s, int64_t moment)
{
	static const char days[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char months[12][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
	};
	struct calendar c = moment_calendar(moment);
	return scope_printf(s, "%s, %d %s %d %02d:%02d:%02d +0000", days[(moment / MOMENT_DAY) % 7], c.day, months[c.month - 1],
			    c.year, c.hour, c.minute, c.second);
}

//= rfc2047#2 words that are not ASCII are encoded; 45 octets give 60 characters of base64, a word has 75 at most
static const char *subject_text(struct scope *s, const char *subject)
{
	const char *text = "";
	span rest = span_str(subject);
	while (rest.len > 0) {
		size_t take = rest.len > 45 ? 45 : rest.len;
		while (take < rest.len && (rest.data[take] & 0xc0) == 0x80)
			take--;
		text = scope_printf(s, "%s%s=?UTF-8?B?%s?=", text, text[0] != 0 ? "\r\n " : "",
				    base64_text(s, span_first(rest, take)));
		rest = span_from(rest, take);
	}
	return text;
}

static void put_mail(struct scope *s, struct buf *out, const struct client_mail *mail)
{
	const char *head = scope_printf(
		s,
		"Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nMessage-ID: <%s@chancery>\r\nSubject: %s\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
		"Auto-Submitted: auto-generated\r\n\r\n",
		date_text(s, mail->date), mail->from, mail->to, mail->message_id, subject_text(s, mail->subject));
	(void)buf_append(out, span_str(head));
	put_lines(out, mail->text);
}

static st set_mail(struct scope *s, struct options *o, const struct client_mail *mail, header_list *to, struct reading *from)
{
	SET(o, CURLOPT_NOSIGNAL, 1L);
	SET(o, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	SET(o, CURLOPT_PROXY, "");
	SET(o, CURLOPT_URL, mail->server);
	SET(o, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY);
	SET(o, CURLOPT_SSL_VERIFYPEER, 1L);
	SET(o, CURLOPT_SSL_VERIFYHOST, 2L);
	SET(o, CURLOPT_TIMEOUT_MS, mail->timeout_ms);
	SET(o, CURLOPT_MAIL_FROM, mail->from);
	SET(o, CURLOPT_MAIL_RCPT, to);
	SET(o, CURLOPT_UPLOAD, 1L);
	SET(o, CURLOPT_READFUNCTION, read_mail);
	SET(o, CURLOPT_READDATA, (void *)from);
	return client_options_end(s, o);
}

typedef CURL curl_handle;
DEFINE_AUTO(curl_handle, curl_easy_cleanup)

st client_mail(struct scope *s, const struct client_mail *mail)
{
	AUTO_BUF text;
	buf_init(&text, 1u << 20);
	TRY(check_address(s, "from", mail->from));
	TRY(check_address(s, "to", mail->to));
	put_mail(s, &text, mail);
	TRY(client_start(s));
	AUTO(curl_handle) *curl = curl_easy_init();
	AUTO(header_list) *to = curl_slist_append(NULL, mail->to);
	if (curl == NULL || to == NULL)
		return fail(s, E_BUG, "libcurl gives no handle");
	char error[CURL_ERROR_SIZE] = "";
	struct reading from = { .rest = buf_span(&text) };
	struct options o = { .curl = curl };
	SET(&o, CURLOPT_ERRORBUFFER, error);
	TRY(set_mail(s, &o, mail, to, &from));
	CURLcode result = curl_easy_perform(curl);
	if (result != CURLE_OK)
		return fail(s, E_UNAVAILABLE, "mail by %s: %s", mail->server,
			    error[0] != 0 ? error : curl_easy_strerror(result));
	return OK;
}
