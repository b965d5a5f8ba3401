/*
 * What a taken-over process still finds: no program to start, no process to look into, no mount, no kernel module, and sockets only
 * of the families it needs. A list of refusals instead of a list of permissions, because the PKCS#11 module inside keyd and chancery-token is
 * another vendor's code whose calls we do not know; what is refused here no daemon and no module of a token needs. Refused
 * calls give EPERM, so that a library that merely tries goes on. The file system is fenced by daemon_fence.c.
 */
#include "sandbox.h"
#include "secret.h"
#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

st sandbox_harden(struct scope *s)
{
	(void)umask(077);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return fail_errno(s, E_IO, "giving up new privileges");
	return secret_process(s);
}

/* clang-format off */
static const char *const refused[] = {
	/* start or look into other processes */
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
	/* change what the machine is */
	"mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct",
	"quotactl", "sethostname", "setdomainname", "ioperm", "iopl", "mknod", "mknodat",
	/* set the clock: trusted time is read here, never written */
	"clock_settime", "settimeofday", "clock_adjtime",
	/* wide or unfiltered ways into the kernel; io_uring would carry sockets past this filter */
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key",
	"request_key", "open_by_handle_at", "unshare", "setns", "personality", "lookup_dcookie", "vhangup",
};
/* clang-format on */

static st refuse_calls(struct scope *s, scmp_filter_ctx filter)
{
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		int call = seccomp_syscall_resolve_name(refused[i]);
		if (call == __NR_SCMP_ERROR)
			continue; /* newer than this libseccomp: the kernel's default stays */
		if (SECRET_UNDER_SANITIZER && strcmp(refused[i], "ptrace") == 0)
			continue;
		if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0) != 0)
			return fail(s, E_IO, "libseccomp takes no rule for %s", refused[i]);
	}
	return OK;
}

static st refuse_family(struct scope *s, scmp_filter_ctx filter, int family)
{
	const struct scmp_arg_cmp is_family = SCMP_A0_32(SCMP_CMP_EQ, (unsigned)family);
	if (seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, &is_family) != 0)
		return fail(s, E_IO, "libseccomp takes no rule for sockets of family %d", family);
	return OK;
}

/* AF_UNIX always; AF_INET and AF_INET6 for those that may; nothing else (no netlink, packet, vsock, crypto sockets). */
static st refuse_sockets(struct scope *s, scmp_filter_ctx filter, bool may_connect_internet)
{
	for (int family = 0; family <= AF_INET6; family++) {
		bool internet = family == AF_INET || family == AF_INET6;
		if (family != AF_UNIX && !(internet && may_connect_internet))
			TRY(refuse_family(s, filter, family));
	}
	const struct scmp_arg_cmp beyond = SCMP_A0_32(SCMP_CMP_GT, (unsigned)AF_INET6);
	if (seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, &beyond) != 0)
		return fail(s, E_IO, "libseccomp takes no rule for further socket families");
	return OK;
}

st sandbox_enter(struct scope *s, bool may_connect_internet)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	if (filter == NULL)
		return fail(s, E_IO, "libseccomp gives no filter");
	st made = refuse_calls(s, filter);
	if (made.code == E_OK)
		made = refuse_sockets(s, filter, may_connect_internet);
	if (made.code == E_OK && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) != 0)
		made = fail(s, E_IO, "the filter cannot hold for all threads");
	int loaded = made.code == E_OK ? seccomp_load(filter) : 0;
	seccomp_release(filter);
	TRY(made);
	if (loaded != 0) {
		errno = -loaded;
		return fail_errno(s, E_IO, "loading the seccomp filter (the kernel needs CONFIG_SECCOMP_FILTER)");
	}
	return OK;
}
