/* The API as a table, and who may use it. To add a call: a row here, a handler in one of ca_http_*.c, a row in
 * interfaces.md. */
#include "ca_http.h"
#include "control_register.h"
#include "daemon_access.h"
#include <stdio.h>
#include <unistd.h>

#define JSON     "application/json"
#define BODY_MAX (64u << 10)
#define CRL_MAX  (64u << 20)

/* Roles that may use a route, parted by spaces. Anybody authenticated may use those with CA_ANY; NULL is for everybody who can connect. */
#define OPERATOR "operator"
#define WATCH    "operator watch"
#define ANY      "any"
#define LOCAL    "local"

const struct http_route ca_routes[] = {
	{ HTTP_GET, "/healthz", .handle = ca_http_health, .summary = "whether the ca serves" },
	{ HTTP_GET, "/v1/status", .role = OPERATOR, .handle = ca_http_status, .summary = "CAs, vas, outbox, renewals" },
	{ HTTP_GET, "/v1/cas", .role = WATCH, .handle = ca_http_list_cas, .summary = "logical CAs" },
	{ HTTP_POST, "/v1/cas", JSON, BODY_MAX, .role = OPERATOR, .handle = ca_http_create_ca,
	  .summary = "set up a CA, or take one in" },
	{ HTTP_GET, "/v1/cas/{name}", .role = WATCH, .handle = ca_http_show_ca, .summary = "one CA" },
	{ HTTP_GET, "/v1/cas/{name}/status", .role = WATCH, .handle = ca_http_statuses,
	  .summary = "the status of every certificate of a CA, by serial" },
	{ HTTP_PUT, "/v1/cas/{name}/certificate", JSON, BODY_MAX, .role = OPERATOR, .handle = ca_http_complete_ca,
	  .summary = "the certificate of a CA that waits for it" },
	{ HTTP_POST, "/v1/cas/{name}/certificates", JSON, BODY_MAX, .role = OPERATOR, .handle_all = ca_http_issue,
	  .summary = "issue a certificate" },
	{ HTTP_POST, "/v1/cas/{name}/crls", JSON, BODY_MAX, .role = OPERATOR, .handle = ca_http_issue_crl,
	  .summary = "issue a CRL now" },
	{ HTTP_GET, "/v1/cas/{name}/crls", .role = OPERATOR, .handle = ca_http_crls, .summary = "the CRLs of a CA, by number" },
	{ HTTP_GET, "/v1/cas/{name}/crl", .role = OPERATOR, .handle = ca_http_get_crl, .summary = "the newest CRL" },
	{ HTTP_PUT, "/v1/cas/{name}/crl", "application/pkix-crl", CRL_MAX, .role = OPERATOR, .handle = ca_http_put_crl,
	  .summary = "the CRL of a CA that is run elsewhere" },
	{ HTTP_GET, "/v1/certificates", .role = OPERATOR, .handle = ca_http_list,
	  .summary = "certificates by state and subject" },
	{ HTTP_GET, "/v1/certificates/{serial}", .role = OPERATOR, .handle = ca_http_show, .summary = "one certificate" },
	{ HTTP_POST, "/v1/certificates/{serial}/revocation", JSON, BODY_MAX, .role = OPERATOR, .handle = ca_http_revoke,
	  .summary = "revoke a certificate" },
	{ HTTP_GET, "/v1/outbox", .role = OPERATOR, .handle = ca_http_outbox,
	  .summary = "records that are to be delivered to the audit log" },
	{ HTTP_GET, "/v1/profiles", .role = OPERATOR, .handle = ca_http_profiles, .summary = "certificate profiles" },
	{ HTTP_POST, "/v1/identities", JSON, BODY_MAX, .role = OPERATOR, .handle = ca_http_enrol,
	  .summary = "a certificate that is renewed by itself" },
	{ HTTP_GET, "/v1/identities", .role = OPERATOR, .handle = ca_http_identities,
	  .summary = "certificates that are renewed by themselves" },
	{ HTTP_POST, "/v1/renewal", JSON, BODY_MAX, .role = ANY, .handle = ca_http_renew,
	  .summary = "a new certificate for its holder" },
	{ HTTP_GET, "/v1/register", .role = OPERATOR, .handle = ca_http_register,
	  .summary = "the register of persons and roles" },
	{ HTTP_GET, "/v1/register/founding", .role = OPERATOR, .handle = ca_http_founding,
	  .summary = "the document that the register starts with" },
	{ HTTP_GET, "/v1/register/entries", .role = OPERATOR, .handle = ca_http_entries,
	  .summary = "the signed operations that made the register" },
	{ HTTP_POST, "/v1/operations/nonce", .role = OPERATOR, .handle = ca_http_operation_nonce,
	  .summary = "a nonce for a proposal" },
	{ HTTP_POST, "/v1/operations", "text/plain", CONTROL_SIGNED_MAX, .role = OPERATOR, .handle = ca_http_operation,
	  .summary = "carry out a signed operation of the register or of this ca" },
	{ HTTP_POST, "/v1/backup", JSON, BODY_MAX, .role = LOCAL, .handle = ca_http_backup, .summary = "copy the database" },
};
const size_t ca_route_count = sizeof ca_routes / sizeof ca_routes[0];

/* ---- who is it? ---- */

/* Peers found good, by certificate; an entry holds until anything is revoked or the certificate ends. */
#define PEERS 64
static struct peer {
	uint8_t digest[32];
	uint64_t revocations; /* counted when it was looked up */
	int64_t not_after;
	char profile[64], role[72];
} peers[PEERS];
static pthread_mutex_t peers_mutex = PTHREAD_MUTEX_INITIALIZER;

static st look_up_peer(struct scope *s, struct ca *ca, span der, struct peer *out)
{
	struct pki_certificate *peer = scope_new(s, struct pki_certificate);
	struct ca_certificate row;
	TRY(pki_certificate_read(s, der, peer));
	st found = ca_certificate_find(s, ca, peer->serial, &row);
	if (found.code == E_NOTFOUND || (found.code == E_OK && !span_equal(row.der, peer->der))) {
		scope_clear_error(s);
		return fail(s, E_DENIED, "the client certificate was not issued here");
	}
	TRY(found);
	if (row.state == CA_REVOKED)
		return fail(s, E_DENIED, "the client certificate is revoked");
	out->not_after = row.not_after;
	(void)snprintf(out->profile, sizeof out->profile, "%s", row.profile);
	(void)snprintf(out->role, sizeof out->role, "%s", row.role != NULL ? row.role : "");
	return OK;
}

/* A TLS handshake proves the key; that the certificate is still good is looked up, and a revocation acts on the next
 * request. */
static st find_peer(struct scope *s, const struct http_request *request, struct peer *out)
{
	struct ca *ca = request->state;
	if (request->peer_certificate.len == 0)
		return fail(s, E_DENIED, "a client certificate of the management CA is needed");
	uint8_t digest[DIGEST_MAX];
	span id = digest_of(DIGEST_SHA256, request->peer_certificate, digest);
	uint64_t revocations = atomic_load(&ca->revocations);
	struct peer *slot = &peers[id.data[0] % PEERS];
	(void)pthread_mutex_lock(&peers_mutex);
	*out = *slot;
	(void)pthread_mutex_unlock(&peers_mutex);
	/* Another ca on the same database may have revoked it. */
	if (ca->shared || memcmp(out->digest, id.data, sizeof out->digest) != 0 || out->revocations != revocations ||
	    out->profile[0] == 0) {
		memcpy(out->digest, id.data, sizeof out->digest);
		out->revocations = revocations;
		TRY(look_up_peer(s, ca, request->peer_certificate, out));
		(void)pthread_mutex_lock(&peers_mutex);
		*slot = *out;
		(void)pthread_mutex_unlock(&peers_mutex);
	}
	return out->not_after >= scope_now(s) ? OK : fail(s, E_DENIED, "the client certificate has expired");
}

static st permit_local(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	(void)route;
	if (request->peer_uid != 0 && request->peer_uid != getuid())
		return fail(s, E_DENIED, "the local socket is for the ca's own user and root");
	return OK;
}

/* Is the role one of the words? An empty one is none. */
static bool is_one_of(const char *role, const char *words)
{
	size_t len = strlen(role);
	while (*words != 0) {
		size_t word = strcspn(words, " ");
		if (word == len && memcmp(words, role, len) == 0)
			return true;
		words += word + strspn(words + word, " ");
	}
	return false;
}

//= en319411-1#GEN-6.5.5-04 whoever can cause issuance is authenticated by a certificate and its role is checked for each call
static st permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	if (request->local)
		return permit_local(s, request, route);
	struct peer peer;
	TRY(find_peer(s, request, &peer));
	if (strcmp(route->role, ANY) == 0)
		return OK;
	if (strcmp(peer.profile, "operator") != 0 || !is_one_of(peer.role, route->role))
		return fail(s, E_DENIED, "this call needs role '%s'; the client certificate has profile %s and role '%s'",
			    route->role, peer.profile, peer.role);
	return OK;
}

/* Who came in, and who did not: see daemon_access.h. */
static void note_access(struct scope *s, const struct http_request *request, const struct http_route *route, st permitted)
{
	struct ca *ca = request->state;
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	const struct daemon_visit visit = {
		.route = route->path,
		.role = route->role,
		.certificate = pki_certificate_serial(&own, request->peer_certificate),
		.source = request->local ? scope_printf(&own, "local:%u", (unsigned)request->peer_uid) : request->peer_address,
	};
	if (permitted.code == E_OK)
		daemon_access_granted(ca->access, &visit);
	else if (permitted.code == E_DENIED)
		daemon_access_refused(ca->access, &visit, s->message);
}

st ca_permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	if (route->role == NULL)
		return OK;
	st permitted = permit(s, request, route);
	note_access(s, request, route, permitted);
	return permitted;
}

const char *ca_actor(struct scope *s, const struct http_request *request)
{
	if (request->local)
		return scope_printf(s, "local:%u", (unsigned)request->peer_uid);
	span serial = pki_certificate_serial(s, request->peer_certificate);
	return serial.len == 0 ? "unknown" : scope_printf(s, "certificate:%s", hex_text(s, serial));
}
