#include "cli_sealed.h"
#include "cli_process.h"
#include "file.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PROGRAM "/usr/bin/systemd-creds"
#define PIN_MAX 256

st cli_sealed_check(struct scope *s)
{
	if (access(PROGRAM, X_OK) != 0)
		return fail(s, E_STATE,
			    "PINs are sealed by %s, which is not here (package systemd); or type them: --pins typed", PROGRAM);
	if (geteuid() != 0)
		return fail(
			s, E_STATE,
			"PINs are sealed with the host's secret, which only root may use: start this as root, or type the PINs: "
			"--pins typed");
	return OK;
}

static st run(struct scope *s, const struct cli *c, const char *const *words, struct buf *out)
{
	AUTO_FD log = -1;
	int code;
	TRY(cli_open_log(s, c, "sealed", &log));
	TRY(cli_run_program(s, PROGRAM, words, NULL, log, out, &code));
	return code == 0 ? OK : fail(s, E_STATE, "%s %s ended with %d; log/sealed.log says why", PROGRAM, words[0], code);
}

/* The PIN goes through a pipe, whose end the program reads as a file. */
static st pipe_of(struct scope *s, span pin, int *out_fd)
{
	int ends[2];
	if (pipe(ends) != 0)
		return fail_errno(s, E_IO, "pipe");
	AUTO_FD from = ends[0], to = ends[1];
	TRY(file_write_all(s, to, pin));
	*out_fd = take_fd(&from);
	return OK;
}

st cli_sealed_write(struct scope *s, const struct cli *c, const char *directory, const char *token, span pin)
{
	AUTO_FD from = -1;
	const char *path = scope_printf(s, "%s/%s", directory, token), *fresh = scope_printf(s, "%s/.%s.new", directory, token);
	TRY(file_make_directory(s, directory, 0700));
	TRY(pipe_of(s, pin, &from));
	const char *const words[] = {
		"encrypt", "--with-key=auto", scope_printf(s, "--name=%s", token), scope_printf(s, "/dev/fd/%d", from), fresh,
		NULL
	};
	TRY(run(s, c, words, NULL));
	if (rename(fresh, path) != 0)
		return fail_errno(s, E_IO, "%s", path);
	return file_sync_directory_of(s, path);
}

st cli_sealed_read(struct scope *s, const struct cli *c, const char *directory, const char *token, struct buf *out)
{
	const char *const words[] = { "decrypt", scope_printf(s, "--name=%s", token),
				      scope_printf(s, "%s/%s", directory, token), "-", NULL };
	TRY(cli_sealed_check(s));
	if (!buf_reserve(out, CLI_SEALED_ROOM) || mlock(out->data, out->room) != 0)
		return fail_errno(s, E_IO, "locking PINs into memory");
	TRY(run(s, c, words, out));
	return out->len > 0 && out->len <= PIN_MAX ? OK : fail(s, E_INPUT, "the sealed PIN of token %s is no PIN", token);
}
