#include "pki_ext_names.h"
#include <arpa/inet.h>

#define URL_MAX   1024
#define DNS_MAX   253
#define LABEL_MAX 63

/* Printable ASCII without space, and not empty. */
static bool is_visible(span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] <= 0x20 || text.data[i] >= 0x7f)
			return false;
	return text.len > 0;
}

//= rfc5280#4.2.1.13 a URI in a certificate is absolute; http, because status must not hang on status (RFC 5280, 8)
st pki_ext_check_url(struct scope *s, span url, const char *extension)
{
	bool plain = url.len > 7 && memcmp(url.data, "http://", 7) == 0;
	if (!plain || url.len > URL_MAX || !is_visible(url))
		return fail(
			s, E_INPUT,
			"%s holds a URL that is no plain http:// URL (EN 319 412-2 GEN-4.3.11-1); correct the configuration",
			extension);
	return OK;
}

static bool label_character(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

//= rfc1034#3.5 labels of letters, digits and hyphens, at most 63 long, hyphens not at their ends
st pki_ext_check_dns(struct scope *s, span name)
{
	size_t label = 0;
	bool good = name.len > 0 && name.len <= DNS_MAX;
	for (size_t i = 0; good && i < name.len; i++) {
		uint8_t c = name.data[i];
		bool end = i + 1 == name.len || name.data[i + 1] == '.';
		if (c == '.') {
			good = label > 0 && !(i + 1 == name.len);
			label = 0;
			continue;
		}
		label++;
		good = label_character(c) && label <= LABEL_MAX && !(c == '-' && (label == 1 || end));
	}
	if (!good)
		return fail(s, E_INPUT,
			    "a DNS name of the certificate is not in preferred form (RFC 5280, 4.2.1.6; RFC 1034, 3.5)");
	return OK;
}

//= rfc5280#4.2.1.6 rfc822Name is a Mailbox of the form local-part@domain
st pki_ext_check_email(struct scope *s, span address)
{
	const uint8_t *at = address.len == 0 ? NULL : memrchr(address.data, '@', address.len);
	if (at == NULL || at == address.data || !is_visible(address))
		return fail(s, E_INPUT,
			    "an e-mail address of the certificate is no local-part@domain in ASCII (RFC 5280, 4.2.1.6)");
	return pki_ext_check_dns(s, span_from(address, (size_t)(at - address.data) + 1));
}

st pki_ext_ip_parse(struct scope *s, const char *text, span *out)
{
	uint8_t *octets = scope_alloc(s, 16);
	if (inet_pton(AF_INET, text, octets) == 1)
		*out = span_of(octets, 4);
	else if (inet_pton(AF_INET6, text, octets) == 1)
		*out = span_of(octets, 16);
	else
		return fail(s, E_INPUT, "'%s' is no IPv4 or IPv6 address", text);
	return OK;
}

st pki_ext_ip_text(struct scope *s, span octets, char **out)
{
	char *text = scope_alloc(s, INET6_ADDRSTRLEN);
	if ((octets.len != 4 && octets.len != 16) ||
	    inet_ntop(octets.len == 4 ? AF_INET : AF_INET6, octets.data, text, INET6_ADDRSTRLEN) == NULL)
		return fail(s, E_INPUT, "an IP address of the certificate has neither 4 nor 16 octets (RFC 5280, 4.2.1.6)");
	*out = text;
	return OK;
}
