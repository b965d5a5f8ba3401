/*
 * watch_compare.h - whether OCSP, CRL and the ca's database say the same of every certificate, as relying parties are told: the database by the
 * ca's API, CRL and OCSP where the public asks, with their signatures verified. One thread; constant memory but for the CRL of one CA.
 */
#pragma once
#include "watch.h"

struct watch_compare;
/* Nothing where [compare] names no api-url. E_CONFIG for a section that lacks something. */
st watch_compare_start(struct scope *s, const struct watch_conf *conf, struct audit *audit, struct watch_compare **out);
void watch_compare_stop(struct watch_compare *c);
/* A round begins at once; false where none are made. */
bool watch_compare_now(struct watch_compare *c);
