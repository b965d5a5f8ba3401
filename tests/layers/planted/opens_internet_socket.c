/* Planted: a process after its sandbox. Exit code 0: it got an internet socket. */
#include "sandbox.h"
#include <sys/socket.h>

int main(int argc, char **argv);

int main(int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (argc == 2 && strcmp(argv[1], "sandbox") == 0 && (sandbox_harden(&s).code != E_OK || sandbox_enter(&s, false).code != E_OK))
		return 2;
	return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : 1;
}
