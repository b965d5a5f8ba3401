/*
 * cli_conf.h - chancery.conf: what the command-line tool and the supervisor know about an installation.
 */
#pragma once
#include "conf.h"

struct cli_daemon {
	const char *label;   /* "keyd-ca" */
	const char *program; /* "chancery-keyd" */
	const char *config;
	const char *zone;             /* keyd: its zone; NULL */
	const char *socket;           /* local socket, for key and audit commands; NULL */
	const char *health;           /* URL of /healthz; NULL */
	const char *metrics;          /* URL before /metrics of chancery-watch; NULL */
	const char *pin_directory;    /* keyd: a file per token; NULL */
	const char *pin_sealed;       /* keyd: directory of sealed PINs, a file per token; NULL */
	bool pin_prompt;              /* keyd: ask on the terminal */
	struct conf_list environment; /* "NAME=VALUE" for modules that are steered by it (SOFTHSM2_CONF) */
	bool supervised;              /* started by `chancery run` */
};

struct cli_conf {
	const char *name; /* of the provider */
	bool test;
	const char *run_directory;
	const char *log_directory; /* NULL: standard error */
	const char *module;        /* PKCS#11 module of new tokens' keyd, for `hsm probe` */
	const char *api_url;
	const char *api_certificate;
	const char *api_key;
	const char *api_server_ca;
	const char *ocsp_url;
	const char *tsa_url;
	const char *crl_url;
	const char *repository_url;
	const char *certificates;             /* directory */
	const char *audit_log;                /* directory of the tiles */
	const char *audit_key;                /* public key of the log, verifier line file */
	struct conf_list anchors;             /* files in which daemons keep the last checkpoint */
	const char *stamp_anchor;             /* certificates that time-stamps of checkpoints lead to */
	const char *database;                 /* of the ca, for backup and restore */
	const char *founding, *founding_hash; /* of the register of persons */
	const char *people;                   /* directory with the names of persons */
	struct conf_group daemons;
};
extern const struct conf_schema cli_conf_schema;

/* The daemon of this label; NULL when there is none. */
const struct cli_daemon *cli_conf_daemon(const struct cli_conf *conf, const char *label);
/* The keyd of this zone; NULL when there is none. */
const struct cli_daemon *cli_conf_keyd(const struct cli_conf *conf, const char *zone);
static inline const struct cli_daemon *cli_conf_daemons(const struct cli_conf *conf)
{
	return conf->daemons.item;
}
