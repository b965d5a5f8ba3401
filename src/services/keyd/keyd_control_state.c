#include "control_text.h"
#include "digest.h"
#include "file.h"
#include "keyd_control.h"
#include "log.h"
#include <stdio.h>
#include <unistd.h>

#define KIND           "keyd-state"
#define STATE_MAX      4096
#define IDENTITY_LABEL "identity"

static char *state_path(struct scope *s, const struct keyd *d)
{
	return scope_printf(s, "%s/control", d->conf->state);
}

static char *mark_path(struct scope *s, const struct keyd_conf *conf)
{
	return scope_printf(s, "%s/control.rebuild", conf->state);
}

/* ---- the identity key ---- */

static st find_identity(struct scope *s, struct keyd *d, struct keyd_key **out)
{
	struct keyd_key *k;
	TRY(keyd_find_key(s, d, IDENTITY_LABEL, &k));
	if ((k->info.purposes & KEY_FOR_IDENTITY) == 0)
		return fail(s, E_STATE, "the key \"" IDENTITY_LABEL "\" of zone %s is not for identity", d->conf->zone);
	const struct control_instance *i = control_instance_named(d->control->persons, span_str(d->control->instance));
	if (i == NULL || i->retired)
		return fail(s, E_STATE, "%s is no instance of the register: it carries nothing out until instance.enrol",
			    d->control->instance);
	if (!span_equal(i->spki, k->info.spki))
		return fail(s, E_STATE, "the register has another identity key for %s than the one on its token", i->name);
	*out = k;
	return OK;
}

st keyd_identity_sign(struct scope *s, struct keyd *d, span text, span *out_signature)
{
	struct keyd_key *k;
	struct hsm_key *hsm;
	uint8_t room[DIGEST_MAX];
	TRY(find_identity(s, d, &k));
	TRY(keyd_hsm_key(s, d, k, &hsm));
	const struct alg_signature *algorithm = alg_signature_default(k->info.type);
	span digest = algorithm->digest == DIGEST_NONE ? text : digest_of(algorithm->digest, text, room);
	TRY(keyd_life_begin(s, d, k, KEY_FOR_IDENTITY));
	st made = keyd_life_checkpoint(s, d, k); /* counted there alone, as checkpoints are */
	if (made.code == E_OK)
		made = hsm_sign(s, hsm, algorithm, digest, out_signature);
	keyd_life_end(k);
	TRY(made);
	TRY(hsm_verify(s, k->info.spki, algorithm, digest, *out_signature));
	d->control->state.signatures++;
	return OK;
}

static st verify(struct scope *s, struct keyd *d, span text, span signature)
{
	struct keyd_key *k;
	uint8_t room[DIGEST_MAX];
	TRY(find_identity(s, d, &k));
	const struct alg_signature *algorithm = alg_signature_default(k->info.type);
	span digest = algorithm->digest == DIGEST_NONE ? text : digest_of(algorithm->digest, text, room);
	return hsm_verify(s, k->info.spki, algorithm, digest, signature);
}

/* ---- the file ---- */

static st write_text(struct scope *s, const struct keyd *d, const struct keyd_control_state *state, struct buf *out)
{
	struct control_wr w = control_write(out, KIND);
	control_put_str(&w, "instance", d->control->instance);
	control_put_number(&w, "sequence", state->sequence);
	control_put_number(&w, "recorded", state->recorded);
	control_put_number(&w, "signatures", state->signatures);
	control_put_number(&w, "crl-number", state->seen.number);
	control_put_hex(&w, "crl-issuer", SPAN_ARRAY(state->seen.issuer));
	control_put_number(&w, "log-size", state->log_size);
	control_put_hex(&w, "log-root", SPAN_ARRAY(state->log_root));
	return control_written(s, &w);
}

st keyd_control_keep(struct scope *s, struct keyd *d, struct keyd_control_state *state)
{
	span signature;
	AUTO_BUF text;
	buf_init(&text, 0);
	state->signatures++; /* the one below */
	TRY(write_text(s, d, state, &text));
	uint64_t counted = state->signatures;
	st signed_ = keyd_identity_sign(s, d, buf_span(&text), &signature);
	state->signatures = counted;
	TRY(signed_);
	struct control_wr w = { .out = &text, .bad = !buf_append(&text, SPAN_LITERAL("\n")) };
	control_put_base64(&w, "signature", signature);
	TRY(control_written(s, &w));
	return file_replace(s, state_path(s, d), buf_span(&text), 0600);
}

static st read_text(struct scope *s, const struct keyd *d, span text, struct keyd_control_state *out)
{
	struct control_rd r = control_read(text, KIND, "what keyd keeps of operations");
	span instance = control_get(&r, "instance");
	out->sequence = control_get_number(&r, "sequence", INT64_MAX);
	out->recorded = control_get_number(&r, "recorded", INT64_MAX);
	out->signatures = control_get_number(&r, "signatures", INT64_MAX);
	out->seen.number = control_get_number(&r, "crl-number", INT64_MAX);
	if (control_next_is(&r, "crl-issuer")) /* without it the number counts for no CA */
		control_get_hex(&r, "crl-issuer", out->seen.issuer, sizeof out->seen.issuer);
	out->log_size = control_get_number(&r, "log-size", INT64_MAX);
	control_get_hex(&r, "log-root", out->log_root, sizeof out->log_root);
	TRY(control_end(s, &r));
	if (!span_is(instance, d->control->instance))
		return fail(s, E_STATE, "it is of the instance %.*s", (int)instance.len, (const char *)instance.data);
	return OK;
}

static size_t blank_line(span file)
{
	size_t at = 1;
	while (at < file.len && !(file.data[at] == '\n' && file.data[at - 1] == '\n'))
		at++;
	return at;
}

static st read_file(struct scope *s, struct keyd *d, span file, struct keyd_control_state *out)
{
	size_t cut = blank_line(file);
	struct control_rd r = { .rest = span_from(file, cut + 1), .line = 1, .what = "behind what keyd keeps" };
	TRY(read_text(s, d, span_first(file, cut), out));
	span signature = control_get_base64(&r, s, "signature");
	TRY(control_end(s, &r));
	return verify(s, d, span_first(file, cut), signature);
}

st keyd_control_load(struct scope *s, struct keyd *d, struct keyd_control_state *out, bool *out_found)
{
	span file;
	const char *path = state_path(s, d);
	st status = file_read(s, path, STATE_MAX, &file);
	*out_found = status.code == E_OK;
	if (status.code == E_NOTFOUND) {
		scope_clear_error(s);
		*out = (struct keyd_control_state){ .sequence = 0 };
		return OK;
	}
	TRY(status);
	return fail_context(s, read_file(s, d, file, out), "%s", path);
}

/* ---- made anew from the log ---- */

bool keyd_control_rebuilding(struct scope *s, const struct keyd *d)
{
	return file_exists(mark_path(s, d->conf));
}

void keyd_control_rebuilt(struct scope *s, const struct keyd *d)
{
	(void)unlink(mark_path(s, d->conf));
}

int keyd_rebuild_control(const void *conf, int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	(void)argv;
	const struct keyd d = { .conf = conf };
	st done = argc == 1 ? OK : fail(&s, E_INPUT, "rebuild-control takes no argument");
	if (done.code == E_OK)
		done = file_replace(&s, mark_path(&s, conf), SPAN_LITERAL("chancery rebuild 1\n"), 0600);
	if (done.code == E_OK && unlink(state_path(&s, &d)) != 0 && file_exists(state_path(&s, &d)))
		done = fail_errno(&s, E_IO, "%s", state_path(&s, &d));
	if (done.code == E_OK)
		printf("The next start of this keyd takes the number of its last operation from the log, and puts on record that it did.\n");
	else
		log_failure(&s, "rebuild-control");
	return code_row(done.code)->exit_code;
}
