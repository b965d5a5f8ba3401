/*
 * CRLs: any bytes. What is taken has as many entries for who walks them as the reader counted, each is found by its serial, and
 * written again by our writer, where that may write such a list, it reads as the same.
 */
#include "fuzz.h"
#include "pki_crl.h"

#define KEPT_MAX 64

struct walk {
	struct pki_crl_entry entry[KEPT_MAX];
	uint64_t count;
	bool rising;
};

static st keep(struct scope *s, const struct pki_crl_entry *entry, void *arg)
{
	(void)s;
	struct walk *walk = arg;
	if (walk->count > 0 && walk->count < KEPT_MAX && span_compare(walk->entry[walk->count - 1].serial, entry->serial) >= 0)
		walk->rising = false;
	if (walk->count < KEPT_MAX)
		walk->entry[walk->count] = *entry;
	walk->count++;
	return OK;
}

static st append(struct scope *s, span part, void *arg)
{
	(void)s;
	check(buf_append(arg, part));
	return OK;
}

static bool write_list(struct scope *s, const struct pki_crl_head *head, const struct walk *walk, struct buf *tbs)
{
	struct pki_crl_writer *w;
	struct pki_crl_ends ends;
	AUTO_BUF entries = { 0 };
	if (pki_crl_open(s, head, append, &entries, &w).code != E_OK)
		return false;
	bool made = true;
	for (uint64_t i = 0; i < walk->count && made; i++)
		made = pki_crl_entry(s, w, &walk->entry[i]).code == E_OK;
	made = made && pki_crl_close(s, w, &ends).code == E_OK;
	if (made) {
		check(ends.head.len == pki_crl_head_len(w, entries.len));
		check(buf_append(tbs, ends.head) && buf_append(tbs, buf_span(&entries)) && buf_append(tbs, ends.tail));
		check(tbs->len == ends.tbs_length);
	}
	pki_crl_free(w);
	return made;
}

static void write_again(struct scope *s, const struct pki_crl *crl, const struct walk *walk)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(crl->signature_identifier);
	if (algorithm == NULL || !walk->rising || walk->count > KEPT_MAX)
		return;
	const struct pki_crl_head head = { .issuer = crl->issuer,
					   .issuer_key_identifier = crl->issuer_key_identifier,
					   .number = crl->number,
					   .this_update = crl->this_update,
					   .next_update = crl->next_update,
					   .expired_certs_from = crl->expired_certs_from,
					   .algorithm = algorithm };
	AUTO_BUF whole = { 0 }, tbs = { 0 };
	span before, after;
	struct pki_crl again;
	struct walk walked = { .rising = true };
	if (!write_list(s, &head, walk, &tbs) ||
	    pki_crl_frame(s, tbs.len, algorithm, crl->signature, &before, &after).code != E_OK)
		return;
	check(buf_append(&whole, before) && buf_append(&whole, buf_span(&tbs)) && buf_append(&whole, after));
	check(pki_crl_read(s, buf_span(&whole), &again).code == E_OK);
	check(pki_crl_each(s, buf_span(&whole), keep, &walked).code == E_OK && walked.count == walk->count);
	check(again.number == crl->number && again.this_update == crl->this_update && again.next_update == crl->next_update &&
	      span_equal(again.issuer, crl->issuer) && span_equal(again.signature, crl->signature));
	for (uint64_t i = 0; i < walk->count; i++)
		check(span_equal(walked.entry[i].serial, walk->entry[i].serial) &&
		      walked.entry[i].revoked_at == walk->entry[i].revoked_at &&
		      walked.entry[i].reason == walk->entry[i].reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_crl crl;
	struct walk walk = { .rising = true };
	span der = span_of(data, size);
	bool walked = pki_crl_each(&s, der, keep, &walk).code == E_OK;
	scope_clear_error(&s);
	if (pki_crl_read(&s, der, &crl).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	check(walked && walk.count == crl.entries && lies_inside(crl.issuer, der) && lies_inside(crl.signature, der));
	for (uint64_t i = 0; i < walk.count && i < 8; i++) {
		struct pki_crl_entry found;
		bool there = false;
		check(lies_inside(walk.entry[i].serial, der));
		check(pki_crl_find(&s, der, walk.entry[i].serial, &there, &found).code == E_OK && there);
		check(pki_reason_name(found.reason) == NULL ||
		      pki_reason_named(span_str(pki_reason_name(found.reason))) == found.reason);
	}
	write_again(&s, &crl, &walk);
	return 0;
}
