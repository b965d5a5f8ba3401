/* Time-stamps over checkpoints. The first octet says what the others are: a token over NOTE, the answer of an authority, a file of anchors, a
 * TSTInfo, a file of CRLs. */
#include "fuzz_directory.h"
#include "stamp.h"

#define NOTE "log.test/a\n7\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=\n\n\xe2\x80\x94 log.test/a AAAA\n"

/* The key above the seeds' signers exists no more. */
static const char root[] = "-----BEGIN CERTIFICATE-----\n"
			   "MIIBHjCBxqADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBHJvb3QwHhcN\n"
			   "MTYxMTI4MDAwMDAwWhcNMzYxMTIzMDAwMDAwWjAPMQ0wCwYDVQQDDARyb290MFkw\n"
			   "EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEe9Q1DSIDn/5nfruTwCc2CFl8JaKVdyPS\n"
			   "DdfTm/eEJz8jYOJFrU2u0pB9lv/InxutocX9OB0kZaMZZEQMB9Jw3aMTMBEwDwYD\n"
			   "VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBChwfDsBFmcBJ9TJ+xwBDq\n"
			   "9e3Y1m+nF3fYBg2/0o6xJgIgE2sqagn4zzQh846fnwCHS+UFuKYp0ijIo8FTjFuN\n"
			   "5DM=\n"
			   "-----END CERTIFICATE-----\n";

static struct stamp_trust *trust;

static void token(struct scope *s, span bytes)
{
	int64_t at;
	if (stamp_verify(s, trust, span_str(NOTE), bytes, &at).code != E_OK)
		check(s->message[0] != 0);
	else
		check(stamp_verify(s, trust, span_str("another"), bytes, &at).code == E_CRYPTO);
}

static void answer(struct scope *s, span bytes)
{
	span taken;
	int64_t at, again;
	if (stamp_answer(s, trust, span_str(NOTE), (span){ 0 }, bytes, &taken, &at).code != E_OK) {
		check(s->message[0] != 0);
		return;
	}
	check(lies_inside(taken, bytes));
	check(stamp_verify(s, trust, span_str(NOTE), taken, &again).code == E_OK && at == again);
	check(stamp_answer(s, trust, span_str(NOTE), SPAN_LITERAL("\x01"), bytes, &taken, &at).code == E_CRYPTO);
}

static void anchors(struct scope *s, span bytes)
{
	struct stamp_trust *t;
	fuzz_file("anchors", bytes);
	if (stamp_trust_open(s, fuzz_path("anchors"), &t).code == E_OK)
		stamp_trust_close(t);
}

static void tst_info(struct scope *s, span bytes)
{
	if (stamp_is_about(s, bytes, span_str(NOTE)))
		check(!stamp_is_about(s, bytes, span_str("another")));
}

/* Against a token without certificates; whose a CRL is shows with a chain. */
static void crls(struct scope *s, span bytes)
{
	struct stamp_trust *t;
	fuzz_file("crls", bytes);
	check(stamp_trust_open(s, fuzz_path("root.pem"), &t).code == E_OK);
	if (stamp_trust_add_crls(s, t, fuzz_path("crls")).code != E_OK)
		check(s->message[0] != 0);
	stamp_trust_close(t);
	check(!stamp_crl_concerns(s, span_str(NOTE), bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct scope *, span) = { token, answer, anchors, tst_info, crls };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (trust == NULL) {
		fuzz_file("root.pem", span_str(root));
		check(stamp_trust_open(&s, fuzz_path("root.pem"), &trust).code == E_OK);
	}
	if (size > 0 && data[0] < sizeof kinds / sizeof kinds[0])
		kinds[data[0]](&s, span_of(data + 1, size - 1));
	return 0;
}
