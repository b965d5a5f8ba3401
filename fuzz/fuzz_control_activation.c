/* The files that go between keyd and key custodians, reviews of reports, and the register as a file, upon a founding document whose founders have signed the
 * seeds. What is read has one spelling. */
#include "control_activation.h"
#include "control_entries.h"
#include "control_review.h"
#include "fuzz.h"

static const char founding[] =
	"chancery founding 1\n"
	"provider: Fuzz Trust Service Provider\n"
	"founded: 2026-11-26T18:00:00.000000Z\n"
	"quorum: 2\n"
	"founder: p0\n"
	"key: MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKmpMZj6pVFoRRnfDYNoRIBR2CvVDaDwsXbTPHrOrEwSn+USR5PRqFrI/oe5STsGrQhsRGqO77YpodmdFMs/Puw==\n"
	"identity: 0000000000000000000000000000000000000000000000000000000000000000\n"
	"founder: p1\n"
	"key: MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEO/L1fbE117GPCEUVsdbbpsVKkpwQOhtwYOaTxi+9ZthOdvsDE2QbpGN9uxaliMbqzXyn13oH9BKIngk3wKvfrg==\n"
	"identity: 0000000000000000000000000000000000000000000000000000000000000000\n"
	"instance: keyd/ca\n"
	"instance-key: MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEww6WNBKiE0R1Pim2PM47/1QBe9TnmZM0jppQ0rCzEAykQQwkdHEfaUiSBeGsz4erhddp2tYCg1ulg8YZYQKJmw==\n"
	"\n"
	"signature: p0 MEUCIDY/mFkGFdU3kD2IoLzgC2UgpQKazscJ89ypBu+l67GNAiEAmVlAnEvv2MRM+4zc6SSauivRBeKBJScvKjtKi+W4rSU=\n"
	"signature: p1 MEQCIHF29Rl2zT6bUP/wZlo7jmjFMDiMi0OHUqgGzvAM/y9qAiADdMr8KVEz0UqRBN63jfnZfmDDGMefuQmaAj8tQ2cGCQ==\n";

static void same(st written, const struct buf *again, span file)
{
	check(written.code == E_OK && span_equal(buf_span(again), file));
}

static void try_statement(struct scope *s, span file, const struct control_register *r)
{
	struct control_statement m;
	struct control_proposal p = { .operation = control_operation_named(SPAN_LITERAL("group.activate")) };
	AUTO_BUF again;
	buf_init(&again, 0);
	if (control_statement_read(s, file, &m).code != E_OK)
		return;
	same(control_statement_write(s, &m, &again), &again, file);
	check(lies_inside(m.text, file));
	check(control_statement_verify(s, r, &m, &p, 0).code != E_OK); /* of another proposal */
}

static void try_shares(struct scope *s, span file)
{
	struct control_sealed_share h;
	struct control_opened_share o;
	struct control_approval a;
	span text;
	AUTO_BUF again;
	buf_init(&again, 0);
	if (control_sealed_share_read(s, file, &h).code == E_OK)
		same(control_sealed_share_write(s, &h, &again), &again, file);
	buf_clear(&again);
	if (control_opened_share_read(s, file, &o).code == E_OK)
		same(control_opened_share_write(s, &o, &again), &again, file);
	buf_clear(&again);
	if (control_custodian_file_read(s, file, &o, &a, &text).code == E_OK)
		same(control_custodian_file_write(s, &o, &a, &again), &again, file);
}

static void try_review(struct scope *s, span file, const struct control_register *r)
{
	struct control_review m;
	struct control_report report;
	AUTO_BUF again;
	buf_init(&again, 0);
	if (control_report_read(s, file, &report).code == E_OK)
		same(control_report_write(s, &report, &again), &again, file);
	buf_clear(&again);
	if (control_review_read(s, file, &m).code != E_OK)
		return;
	same(control_review_write(s, &m, &again), &again, file);
	check(control_review_check(s, r, &m, 0).code != E_OK); /* the founders are no auditors */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	struct control_register *r;
	span file = span_of(data, size);
	scope_init(&s, NULL);
	if (control_register_new(&s, span_str(founding), &r).code != E_OK)
		abort();
	try_statement(&s, file, r);
	scope_clear_error(&s);
	try_shares(&s, file);
	scope_clear_error(&s);
	try_review(&s, file, r);
	scope_clear_error(&s);
	uint64_t before = control_register_head(r).entries;
	bool taken = control_entries_apply(&s, r, file).code == E_OK;
	check(!taken || size == sizeof "chancery register 1\n" - 1 || control_register_head(r).entries > before);
	control_register_free(r);
	return 0;
}
