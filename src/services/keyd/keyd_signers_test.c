/* Who makes what a frame asks for: by threads, processors, and where what is made has to wait. */
#include "keyd_signers.h"
#include "moment.h"
#include "unit.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define ITEMS   32u
#define CALLERS 8u
#define FRAMES  200u
#define AWAIT   (10 * MOMENT_SECOND)

static struct scope s;
static struct signers *all;

struct made {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t by[ITEMS];
	int processors[ITEMS]; /* that the thread may use */
	unsigned times[ITEMS], at_once, most, wanted;
	bool sleeps;
};

static struct made made_of(void)
{
	return (struct made){ .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .wanted = 2 };
}

static bool several_processors(void)
{
	cpu_set_t allowed;
	assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
	return CPU_COUNT(&allowed) > 1;
}

static void note(struct made *m, size_t i)
{
	cpu_set_t mine;
	assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
	m->by[i] = pthread_self();
	m->processors[i] = CPU_COUNT(&mine);
	m->times[i]++;
}

static void make(void *state, size_t i)
{
	struct made *m = state;
	if (m->sleeps)
		(void)usleep(200);
	(void)pthread_mutex_lock(&m->lock);
	note(m, i);
	(void)pthread_mutex_unlock(&m->lock);
}

/* Ends only when so many are in here as are wanted. */
static void make_with_others(void *state, size_t i)
{
	struct made *m = state;
	int64_t until = moment_monotonic() + AWAIT;
	(void)pthread_mutex_lock(&m->lock);
	note(m, i);
	m->at_once++;
	m->most = m->at_once > m->most ? m->at_once : m->most;
	(void)pthread_cond_broadcast(&m->changed);
	while (m->most < m->wanted && moment_wait(&m->changed, &m->lock, until))
		;
	m->at_once--;
	(void)pthread_mutex_unlock(&m->lock);
}

static int start(void **state)
{
	(void)state;
	scope_init(&s, NULL);
	assert_ok(&s, signers_start(&s, 0, &all));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	signers_stop(all);
	scope_done(&s);
	return 0;
}

static void one_alone_is_made_by_who_asks(void **state)
{
	(void)state;
	struct made m = made_of();
	signers_each(all, 1, make, &m);
	assert_int_equal(m.times[0], 1);
	assert_true(pthread_equal(m.by[0], pthread_self()));
	signers_each(all, 0, make, &m);
}

static void several_are_made_at_once_by_threads_of_one_processor_each(void **state)
{
	(void)state;
	if (!several_processors())
		skip();
	struct made m = made_of();
	signers_each(all, 2, make_with_others, &m);
	assert_int_equal(m.most, 2);
	assert_false(pthread_equal(m.by[0], m.by[1]));
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(m.processors[i], 1);
		assert_false(pthread_equal(m.by[i], pthread_self()));
	}
}

static void *ask_often(void *failed)
{
	for (size_t frame = 0; frame < FRAMES; frame++) {
		struct made m = made_of();
		size_t count = 1 + frame % ITEMS;
		signers_each(all, count, make, &m);
		for (size_t i = 0; i < ITEMS; i++)
			if (m.times[i] != (i < count))
				atomic_fetch_add((_Atomic unsigned *)failed, 1);
	}
	return NULL;
}

static void each_is_made_once_however_many_ask(void **state)
{
	(void)state;
	_Atomic unsigned failed = 0;
	pthread_t caller[CALLERS];
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&caller[i], NULL, ask_often, &failed), 0);
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(caller[i], NULL), 0);
	assert_int_equal(failed, 0);
}

static bool i_made_some(const struct made *m)
{
	for (size_t i = 0; i < ITEMS; i++)
		if (pthread_equal(m->by[i], pthread_self()))
			return true;
	return false;
}

static void where_a_token_lets_wait_callers_work_along_and_stop_when_it_does_not(void **state)
{
	(void)state;
	if (!several_processors())
		skip();
	struct made m = made_of();
	m.sleeps = true;
	for (unsigned frames = 0; frames < 10 && !i_made_some(&m); frames++)
		signers_each(all, ITEMS, make, &m);
	assert_true(i_made_some(&m));
	m.sleeps = false;
	for (unsigned frames = 0; frames < 100 && i_made_some(&m); frames++)
		signers_each(all, ITEMS, make, &m);
	assert_false(i_made_some(&m));
}

static void assert_i_make_all(struct signers *none)
{
	struct made m = made_of();
	signers_each(none, ITEMS, make, &m);
	for (size_t i = 0; i < ITEMS; i++)
		assert_true(m.times[i] == 1 && pthread_equal(m.by[i], pthread_self()));
	signers_stop(none);
}

static void with_one_processor_everybody_works_for_himself(void **state)
{
	(void)state;
	cpu_set_t before, one;
	struct signers *none;
	assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
	assert_ok(&s, signers_start(&s, 0, &none));
	assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
	assert_i_make_all(none);
}

static void with_one_wanted_everybody_works_for_himself(void **state)
{
	(void)state;
	struct signers *none;
	assert_ok(&s, signers_start(&s, 1, &none));
	assert_i_make_all(none);
}

/* Wherever they are more than the processors, they go round. */
static void as_many_as_are_wanted_make_something_at_once(void **state)
{
	(void)state;
	if (!several_processors())
		skip();
	struct signers *many;
	struct made m = made_of();
	m.wanted = 5;
	assert_ok(&s, signers_start(&s, 5, &many));
	signers_each(many, 5, make_with_others, &m);
	assert_int_equal(m.most, 5);
	signers_stop(many);
}

static void *ask_for_what_hangs(void *state)
{
	signers_each(all, ITEMS, make, state);
	return NULL;
}

/* All threads, and who asked, are in `make` until the lock is given back. */
static pthread_t let_all_hang(struct made *m)
{
	pthread_t caller;
	(void)pthread_mutex_lock(&m->lock);
	assert_int_equal(pthread_create(&caller, NULL, ask_for_what_hangs, m), 0);
	(void)usleep(300000);
	return caller;
}

static void assert_all_were_made(struct made *m, pthread_t caller)
{
	(void)pthread_mutex_unlock(&m->lock);
	assert_int_equal(pthread_join(caller, NULL), 0);
	for (size_t i = 0; i < ITEMS; i++)
		assert_int_equal(m->times[i], 1);
}

static void while_one_token_hangs_others_sign(void **state)
{
	(void)state;
	if (!several_processors())
		skip();
	struct made hung = made_of(), other = made_of();
	pthread_t caller = let_all_hang(&hung);
	signers_each(all, ITEMS, make, &other);
	for (size_t i = 0; i < ITEMS; i++)
		assert_true(other.times[i] == 1 && pthread_equal(other.by[i], pthread_self()));
	assert_all_were_made(&hung, caller);
}

/* The module hangs: whoever stops the daemon does not wait for it. */
static void what_hangs_keeps_nobody_from_stopping(void **state)
{
	(void)state;
	if (!several_processors())
		skip();
	struct made m = made_of();
	pthread_t caller = let_all_hang(&m);
	signers_stop(all); /* left as they are */
	assert_all_were_made(&m, caller);
	(void)usleep(100000);
	signers_stop(all);
	assert_ok(&s, signers_start(&s, 0, &all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_alone_is_made_by_who_asks),
		cmocka_unit_test(several_are_made_at_once_by_threads_of_one_processor_each),
		cmocka_unit_test(each_is_made_once_however_many_ask),
		cmocka_unit_test(where_a_token_lets_wait_callers_work_along_and_stop_when_it_does_not),
		cmocka_unit_test(with_one_processor_everybody_works_for_himself),
		cmocka_unit_test(with_one_wanted_everybody_works_for_himself),
		cmocka_unit_test(as_many_as_are_wanted_make_something_at_once),
		cmocka_unit_test(while_one_token_hangs_others_sign),
		cmocka_unit_test(what_hangs_keeps_nobody_from_stopping),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
