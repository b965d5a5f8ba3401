#include "cli_inbox.h"
#include "file.h"
#include "moment.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TURN_NS (200 * 1000 * 1000)
/* Copying takes its time: a file that was written to within this is looked at later. */
#define SETTLED (MOMENT_SECOND / 2)

static volatile sig_atomic_t ended;

static void note_end(int number)
{
	ended = number;
}

static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
#define ENDS (sizeof ends / sizeof ends[0])

static void catch_ends(struct sigaction before[ENDS])
{
	struct sigaction note = { .sa_handler = note_end };
	(void)sigemptyset(&note.sa_mask);
	ended = 0;
	for (size_t i = 0; i < ENDS; i++)
		(void)sigaction(ends[i], &note, &before[i]);
}

static bool has_settled(const char *path, int64_t now)
{
	struct stat is;
	return stat(path, &is) == 0 && S_ISREG(is.st_mode) && is.st_size > 0 &&
	       now - (is.st_mtim.tv_sec * MOMENT_SECOND + is.st_mtim.tv_nsec / 1000) > SETTLED;
}

static st move(struct scope *s, const char *from, const char *to)
{
	return rename(from, to) == 0 ? OK : fail_errno(s, E_IO, "moving %s to %s", from, to);
}

static st put_away(struct scope *s, const struct cli_inbox *box, const char *from, const char *name, const char *where)
{
	const char *directory = scope_printf(s, "%s/%s", box->directory, where);
	TRY(file_make_directory(s, directory, 0755));
	return move(s, from, scope_printf(s, "%s/%s", directory, name));
}

/* Under another name while it is looked at: who brings the next one under the same name does not take its place. */
static st take_file(struct scope *s, const struct cli *c, const struct cli_inbox *box, const char *name)
{
	span file;
	const char *path = scope_printf(s, "%s/%s", box->directory, name),
		   *mine = scope_printf(s, "%s/.%s", box->directory, name);
	if (name[0] == '.' || !has_settled(path, scope_now(s)))
		return OK;
	TRY(move(s, path, mine));
	st taken = file_read(s, mine, CLI_INBOX_FILE_MAX, &file);
	if (taken.code == E_OK)
		taken = box->take(s, box->state, file);
	const char *message = taken.code == E_OK ? NULL : scope_printf(s, "%s", s->message);
	scope_clear_error(s);
	TRY(put_away(s, box, mine, name, taken.code == E_OK ? "taken" : "refused"));
	if (message != NULL)
		cli_progress(c, "  REFUSED %s: %s", name, message);
	return OK;
}

static st turn(struct scope *s, const struct cli *c, const struct cli_inbox *box, bool *out_done)
{
	char **name;
	size_t count;
	TRY(file_list(s, box->directory, &name, &count));
	for (size_t i = 0; i < count; i++)
		TRY(take_file(s, c, box, name[i]));
	return box->look(s, box->state, out_done);
}

static st wait_for_it(struct scope *s, const struct cli *c, const struct cli_inbox *box)
{
	const struct timespec pause = { .tv_nsec = TURN_NS };
	for (bool done = false; ended == 0;) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		st turned = turn(&aside, c, box, &done);
		if (turned.code != E_OK)
			return fail(s, turned.code, "%s", aside.message);
		if (done)
			return OK;
		(void)nanosleep(&pause, NULL);
	}
	return fail(s, E_STATE, "ended by you");
}

st cli_inbox_wait(struct scope *s, const struct cli *c, const struct cli_inbox *box)
{
	struct sigaction before[ENDS];
	TRY(file_make_directory(s, box->directory, 0755));
	catch_ends(before);
	st waited = wait_for_it(s, c, box);
	for (size_t i = 0; i < ENDS; i++)
		(void)sigaction(ends[i], &before[i], NULL);
	return waited;
}
