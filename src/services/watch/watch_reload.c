#include "watch_reload.h"

static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_metrics(const struct watch_conf *now, const struct watch_conf *next)
{
	const struct watch_metrics_conf *a = now->metrics.item, *b = next->metrics.item;
	if (now->metrics.count != next->metrics.count || !same(now->metrics_listen, next->metrics_listen))
		return false;
	for (size_t i = 0; i < now->metrics.count; i++)
		if (!same(a[i].label, b[i].label) || !same(a[i].kind, b[i].kind) || !same(a[i].socket, b[i].socket) ||
		    !same(a[i].url, b[i].url))
			return false;
	return true;
}

static bool same_host(const struct watch_host_conf *a, const struct watch_host_conf *b)
{
	return same(a->journal, b->journal) && a->interval == b->interval && a->look_back == b->look_back;
}

static bool same_comparison(const struct watch_compare_conf *a, const struct watch_compare_conf *b)
{
	return same(a->api_url, b->api_url) && same(a->ocsp_url, b->ocsp_url) && same(a->crl_url, b->crl_url) &&
	       a->interval == b->interval && a->settle == b->settle && a->ocsp_rate == b->ocsp_rate;
}

st watch_reload_check(struct scope *s, const struct watch_conf *now, const struct watch_conf *next)
{
	const struct {
		const char *name;
		bool same;
	} ground[] = {
		{ "socket", same(now->socket, next->socket) },
		{ "state-directory", same(now->state, next->state) },
		{ "audit-socket", same(now->audit_socket, next->audit_socket) },
		{ "audit-anchor", same(now->anchor, next->anchor) },
		{ "tls-certificate", same(now->tls_certificate, next->tls_certificate) },
		{ "tls-key", same(now->tls_key, next->tls_key) },
		{ "tls-ca", same(now->tls_ca, next->tls_ca) },
		{ "metrics-listen, [metrics]", same_metrics(now, next) },
		{ "[host]", same_host(&now->host, &next->host) },
		{ "[compare]", same_comparison(&now->compare, &next->compare) },
	};
	for (size_t i = 0; i < sizeof ground / sizeof ground[0]; i++)
		if (!ground[i].same)
			return fail(
				s, E_STATE,
				"%s cannot change while chancery-watch runs: restart it; rules, outlets, probes and limits can",
				ground[i].name);
	return OK;
}
