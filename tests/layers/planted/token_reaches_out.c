/* Planted: chancery-token that talks to somebody. */
#include "hsm.h"
#include <netdb.h>
#include <sys/socket.h>

int main(void);

int main(void)
{
	struct addrinfo *found;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return getaddrinfo("example.com", "80", NULL, &found) == 0 ? connect(fd, found->ai_addr, found->ai_addrlen) : 1;
}
