/* Proofs of inclusion: any text. What is read is written as the same text, and proves nothing that its hashes do not. */
#include "audit_proof.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
					    "log.test/fuzz+f30130c0+AQilWiIpssCKFzQF5KbMRNk+BKoPpSV06076M/ZlYqV4" };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF again;
	buf_init(&again, AUDIT_PROOF_TEXT_MAX + 1);
	struct audit_inclusion p;
	struct audit_checkpoint c;
	struct audit_key key[2];
	for (size_t i = 0; i < 2; i++)
		if (audit_key_parse(&s, span_str(keys[i]), &key[i]).code != E_OK)
			__builtin_trap();
	if (audit_inclusion_read(&s, span_of(data, size), &p).code != E_OK)
		return 0;
	if (!audit_inclusion_write(&s, &p, &again))
		__builtin_trap();
	/* An empty extra line says what no extra line says. */
	if (p.leaf.len > 0 && !span_equal(buf_span(&again), span_of(data, size)))
		__builtin_trap();
	/* Nobody here can sign with the first key; the second one signed a tree of five leaves for the seeds. */
	if (audit_inclusion_verify(&s, &p, p.leaf, key, 1, &c).code == E_OK)
		__builtin_trap();
	scope_clear_error(&s);
	if (audit_inclusion_verify(&s, &p, p.leaf, key, 2, &c).code == E_OK && (c.size != 5 || p.index >= c.size))
		__builtin_trap();
	return 0;
}
