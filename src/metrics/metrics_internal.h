/* metrics_internal.h - private to metrics. */
#pragma once
#include "metrics.h"

/* Memory and descriptors of this process. */
void metrics_process(struct metrics_page *page);
