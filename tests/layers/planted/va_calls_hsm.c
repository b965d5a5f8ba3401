/* Planted: va reaching for the token. Must not link. */
int hsm_open(void *scope);
int main(void);

int main(void)
{
	return hsm_open(0);
}
