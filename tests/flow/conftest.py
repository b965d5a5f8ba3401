"""The ca's flows run on SQLite and on PostgreSQL, each in a database of its own."""
import os

import pytest

import ca_world
import keyd_client
from postgres import Cluster

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
ON_BOTH = ("test_ca", "test_ca_keys", "test_ca_operations", "test_ca_push", "test_ca_records", "test_ca_several_vas",
           "test_purge_issued")
# What waits for seconds whatever the database is comes on PostgreSQL with CHANCERY_LONG=1.
SHORT = {"test_ca", "test_ca_keys", "test_ca_operations", "test_ca_records", "test_purge_issued", "test_store_migrate", "test_postgres", "test_kill", "test_demo"}
LONG_ONLY = ("test_crls_are_at_most_one_a_second_and_numbers_rise", "test_no_audit_no_certificate_and_service_returns_with_it",
             "test_a_serial_that_keyd_took_with_it_is_closed_while_the_ca_runs")
CAMPAIGNS = ("test_a_full_postgresql_refuses_before_it_has_anything_signed_and_service_resumes_with_room",)
# Under sanitizers: what brings the driver into trouble.
SANITIZED = "asan" in os.path.basename(keyd_client.BUILD)
CLUSTER_SANITIZED = "test_cas_killed_in_turn_under_load_lose_nothing_and_those_left_serve_on"
if SANITIZED:
    SHORT = {"test_postgres"}


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__ in ON_BOTH:
        metafunc.parametrize("database", ["sqlite", "postgresql"], scope="module", indirect=True)


def comes_later(item):
    if SANITIZED and not LONG and item.module.__name__ == "test_ca_cluster":
        return item.originalname != CLUSTER_SANITIZED
    on_postgres = getattr(item, "callspec", None) is not None and item.callspec.params.get("database") == "postgresql"
    if item.originalname in CAMPAIGNS:
        return not LONG
    return on_postgres and not LONG and (item.module.__name__ not in SHORT or item.originalname in LONG_ONLY)


def pytest_collection_modifyitems(config, items):
    later = [item for item in items if comes_later(item)]
    config.hook.pytest_deselected(items=later)
    items[:] = [item for item in items if item not in later]


@pytest.fixture(scope="session")
def cluster():
    made = Cluster()
    yield made
    made.remove()


@pytest.fixture(scope="module", autouse=True)
def database(request):
    """Which database the worlds of this module are made with; a fixture that keeps one names this one, or it would outlive the change."""
    kind = getattr(request, "param", "sqlite")
    ca_world.CLUSTER = request.getfixturevalue("cluster") if kind == "postgresql" else None
    yield kind
    ca_world.CLUSTER = None
