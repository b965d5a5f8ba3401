/* Shares as octets, and what is sealed to a key that is known here: the scalar 0102...20. */
#include "control_share.h"
#include "fuzz.h"
#include "text.h"

static const char spki[] = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUVw9brnjlrkE0/7Kf1T9zQzB6Ze/N13KUVrQpsO0A19FNr46UPMY+/"
			   "mlR1kCoiFQK+8NV+CMU7LMClbxfZ+TVA==";

static void try_share(struct scope *s, span octets)
{
	struct control_share share;
	AUTO_BUF again;
	buf_init(&again, 0);
	if (control_share_read(s, octets, &share).code != E_OK)
		return;
	check(control_share_write(s, &share, &again).code == E_OK && span_equal(buf_span(&again), octets));
}

static void try_sealed(struct scope *s, span sealed)
{
	uint8_t scalar[CONTROL_SCALAR];
	struct control_opener opener = { .derive = control_pair_derive, .state = scalar };
	AUTO_BUF opened;
	buf_init(&opened, 0);
	for (uint8_t i = 0; i < CONTROL_SCALAR; i++)
		scalar[i] = 1 + i;
	if (base64_parse(s, span_str(spki), &opener.spki).code != E_OK)
		check(false);
	if (control_unseal(s, &opener, span_str("unit context"), sealed, &opened).code == E_OK)
		check(opened.len > 0 && opened.len < sealed.len);
	else
		check(opened.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	try_share(&s, span_of(data, size));
	scope_clear_error(&s);
	try_sealed(&s, span_of(data, size));
	return 0;
}
