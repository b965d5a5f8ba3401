#include "cli_cast.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"

#define KEYS_MAX 65536
#define YEAR     (365 * MOMENT_DAY)

const char cli_cast_example[] =
	"# The persons with whom this provider is founded. Each has a token of their own: on their own machine, best without network,\n"
	"#   chancery-token create --token NAME > p1.keys\n"
	"# Compare the two SHA-256 in p1.keys with what the person reads aloud: nobody else's key may slip in here.\n"
	"# Roles are kept apart (practice statement 5.2.4): `chancery role table` shows which go together.\n"
	"\n"
	"# Founders who decide together; they are the first members of the Policy Management Authority.\n"
	"quorum = 2\n"
	"# Key custodians who activate a key group together.\n"
	"threshold = 2\n"
	"\n"
	"[person p1]\nname = Greet Maes\nrole = authority-member\nkeys = p1.keys\n\n"
	"[person p2]\nname = Hugo Claes\nrole = authority-member\nkeys = p2.keys\n\n"
	"[person p3]\nname = Ine Wouters\nrole = authority-member\nkeys = p3.keys\n\n"
	"[person p4]\nname = An Jacobs\nrole = pki-administrator\nkeys = p4.keys\nscreened = 2026-11-02\ntrained = 2026-11-20\n\n"
	"[person p5]\nname = Bo Willems\nrole = pki-operator\nkeys = p5.keys\nscreened = 2026-11-02\ntrained = 2026-11-20\n\n"
	"[person p6]\nname = Cleo Goossens\nrole = security-and-quality-manager\nkeys = p6.keys\nscreened = 2026-11-02\ntrained = 2026-11-20\n\n"
	"[person p7]\nname = Dirk Mertens\nrole = key-custodian\nkeys = p7.keys\nscreened = 2026-11-02\ntrained = 2026-11-20\n\n"
	"[person p8]\nname = Els Dubois\nrole = key-custodian\nkeys = p8.keys\nscreened = 2026-11-02\ntrained = 2026-11-20\n\n"
	"[person p9]\nname = Fons Lambert\nrole = key-custodian\nkeys = p9.keys\nscreened = 2026-11-02\ntrained = 2026-11-20\n";

/* ---- the file ---- */

struct row {
	const char *label, *name;
	struct conf_list roles;
	const char *keys, *screened, *trained;
};
struct file {
	int64_t quorum, threshold;
	struct conf_group persons;
};

#define ROW(type_, struct_, member_, name_, ...) CONF_ROW(type_, struct struct_, member_, name_, __VA_ARGS__)
static const struct conf_row head_rows[] = {
	ROW(CONF_INTEGER, file, quorum, "quorum", .standard = "2", .min = 2, .max = CONTROL_FOUNDERS_MAX,
	    .help = "Founders who decide together."),
	ROW(CONF_INTEGER, file, threshold, "threshold", .standard = "2", .min = 2, .max = 16,
	    .help = "Key custodians who activate a key group together."),
};
static const struct conf_row person_rows[] = {
	ROW(CONF_STRING, row, name, "name",
	    .help = "As the identity document has it; kept in people/, on the register stands a SHA-256."),
	ROW(CONF_LIST, row, roles, "role", .help = "As `chancery role table` writes it; authority-member: a founder."),
	ROW(CONF_PATH, row, keys, "keys", .help = "What `chancery-token create` printed for this person."),
	ROW(CONF_STRING, row, screened, "screened", .standard = "",
	    .help = "Day of the screening, 2026-11-02; not for founders."),
	ROW(CONF_STRING, row, trained, "trained", .standard = "", .help = "Day of the last training; not for founders."),
};
#undef ROW
static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct file),
	  .rows = head_rows,
	  .row_count = sizeof head_rows / sizeof head_rows[0],
	  .help = "The persons with whom a provider is founded (`chancery init --people FILE`)." },
	{ .name = "person",
	  .many = true,
	  .size = sizeof(struct row),
	  .offset = offsetof(struct file, persons),
	  .rows = person_rows,
	  .row_count = sizeof person_rows / sizeof person_rows[0],
	  .help = "A person, by the name on the register: p1, p2 and so on." },
};
const struct conf_schema cli_cast_schema = { .service = "people",
					     .sections = sections,
					     .section_count = sizeof sections / sizeof sections[0],
					     .size = sizeof(struct file) };

/* ---- one person ---- */

st cli_cast_keys(struct scope *s, span file, struct cli_cast_person *out)
{
	span der;
	out->key = scope_copy(s, cli_line_value(file, "key"));
	out->share_key = scope_copy(s, cli_line_value(file, "share-key"));
	if (out->key.len == 0 || out->share_key.len == 0)
		return fail(
			s, E_INPUT,
			"the keys of %s have no lines \"key: ...\" and \"share-key: ...\": it is what chancery-token create "
			"printed",
			out->id);
	TRY(fail_context(s, base64_parse(s, out->key, &der), "key of %s", out->id));
	return fail_context(s, base64_parse(s, out->share_key, &der), "share-key of %s", out->id);
}

static st take_day(struct scope *s, const struct row *row, const char *what, const char *given, int64_t *out)
{
	if (given == NULL)
		return fail(s, E_CONFIG, "%s has no '%s = 2026-11-02': everybody but the founders needs the day", row->label,
			    what);
	st read = moment_parse(s, span_str(scope_printf(s, "%sT00:00:00Z", given)), out);
	if (read.code == E_OK)
		return OK;
	scope_clear_error(s);
	return fail(s, E_CONFIG, "%s of %s, '%s', is no day: write 2026-11-02", what, row->label, given);
}

/* What the register would refuse, found before anything is made. */
static st check_days(struct scope *s, const struct cli_cast_person *p)
{
	int64_t now = scope_now(s);
	if (p->screened > now || p->trained > now)
		return fail(s, E_CONFIG, "screening or training of %s is of a day to come", p->id);
	//= tsps#5.3.4 a role lapses when the last training is older than 12 months
	if (p->trained + YEAR < now)
		return fail(s, E_DENIED, "the training of %s is older than 12 months: its roles would be dormant", p->id);
	return OK;
}

static st take_roles(struct scope *s, const struct row *row, struct cli_cast_person *out)
{
	for (size_t i = 0; i < row->roles.count; i++) {
		enum control_role role;
		TRY(fail_context(s, control_role_named(s, span_str(row->roles.item[i]), &role), "role of %s", row->label));
		TRY(fail_context(s, control_role_separate(s, out->roles, role), "%s", row->label));
		out->roles |= UINT32_C(1) << role;
	}
	if (cli_cast_founds(out) && row->roles.count > 1)
		return fail(
			s, E_CONFIG,
			"%s is a founder (authority-member) and takes no other role at the founding; role.grant gives it later",
			row->label);
	return OK;
}

static st take_person(struct scope *s, const struct row *row, struct cli_cast_person *out)
{
	span file;
	const char *problem = control_id_problem(span_str(row->label));
	*out = (struct cli_cast_person){ .id = row->label, .name = row->name };
	if (problem != NULL || strchr(row->label, '/') != NULL)
		return fail(s, E_CONFIG, "[person %s]: take p1, p2 and so on, as the register will name this person",
			    row->label);
	TRY(take_roles(s, row, out));
	TRY(fail_context(s, file_read(s, row->keys, KEYS_MAX, &file), "keys of %s", row->label));
	TRY(cli_cast_keys(s, file, out));
	if (cli_cast_founds(out))
		return OK;
	TRY(take_day(s, row, "screened", row->screened, &out->screened));
	TRY(take_day(s, row, "trained", row->trained, &out->trained));
	return check_days(s, out);
}

/* ---- all of them ---- */

//= tsps#5.2.2 distinct natural persons: no two have one token
static st check_distinct(struct scope *s, const struct cli_cast *cast)
{
	for (size_t i = 0; i < cast->count; i++)
		for (size_t k = 0; k < i; k++)
			if (span_equal(cast->person[i].key, cast->person[k].key))
				return fail(s, E_CONFLICT, "%s and %s have the same key: each person has a token of their own",
					    cast->person[k].id, cast->person[i].id);
	return OK;
}

/* Takes as many as the seat has, of those who sit in no other seat of this operation. */
static unsigned seat_persons(const struct cli_cast *cast, const struct control_seat *seat, unsigned want, uint64_t *seated)
{
	unsigned have = 0;
	for (size_t i = 0; i < cast->count && have < want; i++)
		if ((cast->person[i].roles & seat->roles) != 0 && (*seated & UINT64_C(1) << i) == 0) {
			*seated |= UINT64_C(1) << i;
			have++;
		}
	return have;
}

static st check_seats(struct scope *s, const struct cli_cast *cast, const struct control_operation *operation)
{
	uint64_t seated = 0;
	for (size_t i = 0; i < CONTROL_SEATS_MAX && operation->seat[i].roles != 0; i++) {
		const struct control_seat *seat = &operation->seat[i];
		unsigned want = seat->count == 0 ? cast->quorum : seat->count;
		if ((seat->roles & CONTROL_IS(KEY_CUSTODIAN)) != 0)
			want = cast->threshold;
		if (seat_persons(cast, seat, want, &seated) < want)
			return fail(s, E_DENIED, "the founding needs %s, so %u distinct persons as %s: there are too few",
				    operation->name, want, control_roles_text(s, seat->roles));
	}
	return OK;
}

/* What the founding has to do itself. */
static st check_enough(struct scope *s, const struct cli_cast *cast)
{
	static const char *const needed[] = { "decision.take", "person.enrol", "group.create", "group.activate",
					      "key.generate",  "ca.certify",   "ca.create" };
	for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
		TRY(check_seats(s, cast, control_operation_named(span_str(needed[i]))));
	return OK;
}

st cli_cast_read(struct scope *s, const char *path, struct cli_cast *out)
{
	struct file file;
	TRY(conf_read(s, &cli_cast_schema, path, &file));
	const struct row *row = file.persons.item;
	*out = (struct cli_cast){ .quorum = (unsigned)file.quorum, .threshold = (unsigned)file.threshold };
	if (file.persons.count > CLI_CAST_MAX)
		return fail(s, E_LIMIT, "%s: at most %d persons are enrolled at the founding", path, CLI_CAST_MAX);
	for (size_t i = 0; i < file.persons.count; i++)
		TRY(fail_context(s, take_person(s, &row[i], &out->person[out->count++]), "%s", path));
	TRY(fail_context(s, check_distinct(s, out), "%s", path));
	return fail_context(s, check_enough(s, out), "%s", path);
}

st cli_cast_keep_names(struct scope *s, const struct cli *c, const struct cli_cast *cast)
{
	for (size_t i = 0; i < cast->count; i++) {
		struct cli_person kept = { .id = cast->person[i].id, .name = cast->person[i].name };
		if (file_exists(cli_person_path(s, c, kept.id)))
			continue;
		scope_random(s, kept.random, sizeof kept.random);
		TRY(cli_person_write(s, c, &kept));
	}
	return OK;
}
