/* Nothing wrong here: what the test links to this main from outside is. */
int main(void);

int main(void)
{
	return 0;
}
