/* Planted: a prototype written by hand gets past the include fence; the link fence must stop it. */
int http_server_start(void *scope, void *server);
int main(void);

int main(void)
{
	return http_server_start(0, 0);
}
