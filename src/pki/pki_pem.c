#include "pki_pem.h"
#include "der.h"
#include <stdio.h>

#define LINE_MAX_CHARACTERS 76 /* rfc7468#2 parsers may take more than 64; more than MIME's 76 is no PEM */
#define LABEL_MAX           64
#define PEM_WIDTH           64
#define PEM_USUAL           2048 /* octets of text for which room is made at once */

struct pem_block {
	span label;
	span der;
};

/* The next line without its end, LF or CR LF. */
static span next_line(span *rest)
{
	const uint8_t *end = memchr(rest->data, '\n', rest->len);
	span line = end == NULL ? *rest : span_of(rest->data, (size_t)(end - rest->data));
	*rest = span_from(*rest, line.len + 1);
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* "-----BEGIN label-----" gives the label. */
static bool boundary(span line, const char *word, span *out_label)
{
	size_t head = 5 + strlen(word) + 1;
	if (line.len < head + 5 || line.len > head + 5 + LABEL_MAX || memcmp(line.data, "-----", 5) != 0)
		return false;
	if (memcmp(line.data + 5, word, strlen(word)) != 0 || line.data[head - 1] != ' ')
		return false;
	if (memcmp(line.data + line.len - 5, "-----", 5) != 0)
		return false;
	*out_label = span_of(line.data + head, line.len - head - 5);
	return true;
}

//= rfc7468#3 encapsulation boundaries with one label, base64 lines between them, nothing else
static st read_body(struct scope *s, span *rest, struct pem_block *block)
{
	AUTO_BUF text;
	buf_init(&text, rest->len + 1);
	(void)buf_reserve(&text, rest->len < PEM_USUAL ? rest->len : PEM_USUAL);
	while (rest->len > 0) {
		span line = next_line(rest), label;
		if (boundary(line, "END", &label)) {
			if (!span_equal(label, block->label))
				return fail(s, E_INPUT, "a PEM block ends with another label than it began with (RFC 7468, 3)");
			return base64_parse(s, buf_span(&text), &block->der);
		}
		if (line.len == 0 || line.len > LINE_MAX_CHARACTERS)
			return fail(s, E_INPUT, "a PEM block holds an empty or overlong line (RFC 7468, 3)");
		(void)buf_append(&text, line);
	}
	return fail(s, E_INPUT, "a PEM block does not end (RFC 7468, 3)");
}

/* The next block of any label; *out_found is false at the end. Text between blocks is skipped. */
static st next_block(struct scope *s, span *rest, bool *out_found, struct pem_block *out)
{
	while (rest->len > 0) {
		if (!boundary(next_line(rest), "BEGIN", &out->label))
			continue;
		TRY(read_body(s, rest, out));
		*out_found = true;
		return OK;
	}
	*out_found = false;
	return OK;
}

st pki_pem_each(struct scope *s, span bytes, const char *label, st (*each)(struct scope *s, span der, void *arg), void *arg)
{
	for (;;) {
		bool found;
		struct pem_block block;
		TRY(next_block(s, &bytes, &found, &block));
		if (!found)
			return OK;
		if (span_is(block.label, label))
			TRY(each(s, block.der, arg));
	}
}

static bool is_der(span bytes)
{
	struct der_rd d = der_read(bytes);
	(void)der_get_whole(&d, DER_SEQUENCE);
	return !d.bad && d.rest.len == 0;
}

st pki_pem_or_der(struct scope *s, span bytes, const char *label, span *out_der)
{
	if (is_der(bytes)) {
		*out_der = bytes;
		return OK;
	}
	bool any = false;
	for (;;) {
		bool found;
		struct pem_block block;
		TRY(next_block(s, &bytes, &found, &block));
		if (!found && any)
			return fail(s, E_INPUT, "the PEM text has no %s block; check which file was given", label);
		if (!found)
			return fail(s, E_INPUT, "the input is neither DER nor PEM with a %s block (RFC 7468)", label);
		if (span_is(block.label, label)) {
			*out_der = block.der;
			return OK;
		}
		any = true;
	}
}

char *pki_pem_write(struct scope *s, const char *label, span der)
{
	size_t text_len = BASE64_LEN(der.len), label_len = strlen(label);
	size_t room = text_len + text_len / PEM_WIDTH + 2 * label_len + 64;
	char *out = scope_alloc(s, room);
	char *at = out + snprintf(out, room, "-----BEGIN %s-----\n", label);
	for (; der.len > 0; der = span_from(der, PEM_WIDTH / 4 * 3)) {
		span line = span_first(der, PEM_WIDTH / 4 * 3);
		base64_write(line, at);
		at += BASE64_LEN(line.len);
		*at++ = '\n';
	}
	(void)snprintf(at, room - (size_t)(at - out), "-----END %s-----\n", label);
	return out;
}
