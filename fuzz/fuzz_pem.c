/* PEM: any text. What is taken out of it reads as the same when it is written as PEM again. */
#include "fuzz.h"
#include "pki_pem.h"

struct blocks {
	struct scope *s;
	struct buf text;
	size_t count;
};

static st write_block(struct scope *s, span der, void *arg)
{
	struct blocks *b = arg;
	check(buf_append(&b->text, span_str(pki_pem_write(s, "CERTIFICATE", der))));
	b->count++;
	return OK;
}

static st count_block(struct scope *s, span der, void *arg)
{
	(void)s, (void)der;
	++*(size_t *)arg;
	return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span text = span_of(data, size), der, again;
	if (pki_pem_or_der(&s, text, "CERTIFICATE", &der).code == E_OK) {
		const char *written = pki_pem_write(&s, "CERTIFICATE", der);
		check(pki_pem_or_der(&s, span_str(written), "CERTIFICATE", &again).code == E_OK && span_equal(again, der));
	} else
		check(s.message[0] != 0);
	scope_clear_error(&s);
	struct blocks blocks = { .s = &s };
	size_t count = 0;
	if (pki_pem_each(&s, text, "CERTIFICATE", write_block, &blocks).code == E_OK)
		check(pki_pem_each(&s, buf_span(&blocks.text), "CERTIFICATE", count_block, &count).code == E_OK &&
		      count == blocks.count);
	buf_free(&blocks.text);
	return 0;
}
