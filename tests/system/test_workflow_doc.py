"""The five examples of doc/workflows.md, as they stand there."""

import re

import psycopg2
import psycopg2.extras
import pytest

from harness.settings import SRCDIR
from harness.wait import until

DOC = (SRCDIR / "doc/workflows.md").read_text()
CONF = "".join(re.findall(r"^```conf\n(.*?)^```$", DOC, re.M | re.S))
SCHEMA = "".join(re.findall(r"^```sql\n(.*?)^```$", DOC, re.M | re.S))


@pytest.fixture
def database(start, app, database):
    start(app(CONF, SCHEMA), cron=0, subscriber=0)
    return database


def begin(database, name, id, **given):
    assert database.value("select chimp.workflow_start(%s, %s, %s)", name, psycopg2.extras.Json(given), id) == id


def run_of(database, id):
    return database.value("select chimp.workflow_get(%s)", id)


def reaches(database, id, status):
    until(lambda: run_of(database, id)["status"] == status, f"{id} is {status}")
    return run_of(database, id)


def time_passes(database, id):
    """Until the time-out that it has set."""
    assert database.rows("""
        update chimp.job_scheduled s set run_at = clock_timestamp() from chimp.workflow_run r
        where r.external_id = %s and s.job_id = r.job_id returning s.job_id""", id) != []


def test_there_are_five_examples():
    assert len(re.findall(r"^### \d\. ", DOC, re.M)) == 5
    assert CONF.count("\nworkflow ") == 6        # one of them is a child


def test_the_examples(database):
    begin(database, "customer.onboarding", "ada", email="ada@example.org")
    begin(database, "customer.onboarding", "bob", email="bob@example.org")
    reaches(database, "ada", "waiting_signal")
    database.rows("select chimp.workflow_signal('ada', 'email.verified', '{\"by\": \"link\"}')")
    reaches(database, "ada", "completed")
    reaches(database, "bob", "waiting_signal")
    time_passes(database, "bob")
    assert "in time" in reaches(database, "bob", "failed")["lastError"]["message"]
    assert database.rows("select email, welcomed from signup.accounts") == [("ada@example.org", True)]

    begin(database, "invoice.dunning", "paid", invoice="A")
    begin(database, "invoice.dunning", "never", invoice="B")
    database.rows("select chimp.workflow_signal('paid', 'invoice.paid')")
    assert reaches(database, "paid", "completed")["state"] == {"reminders": 0}
    for n in range(3):
        until(lambda: run_of(database, "never")["state"].get("reminders") == n
              and run_of(database, "never")["status"] == "waiting_signal", f"it waits after {n} reminders")
        time_passes(database, "never")
    assert reaches(database, "never", "completed")["state"] == {"reminders": 3}
    assert database.rows("select * from dunning.reminders order by n") == [("B", 1), ("B", 2), ("B", 3)]

    begin(database, "shop.order", "order 1", amount=99)
    begin(database, "shop.order", "order 2", amount=0)
    assert reaches(database, "order 1", "completed")["results"]["parcel"] == {"parcel": 1}
    assert run_of(database, "order 1/bill/1")["status"] == "completed"
    failed = reaches(database, "order 2", "failed")
    assert failed["lastError"]["cause"]["message"] == "there is nothing to charge"
    assert sorted(database.rows("select what, input from shop.log"), key=str) == [
        ("charge", {"amount": 99}), ("ship", {"charge": {"amount": 99}})]

    begin(database, "fulfilment", "yes")
    begin(database, "fulfilment", "late")
    database.rows("select chimp.workflow_signal('yes', 'quality.decision', '{\"approved\": true}')")
    assert reaches(database, "yes", "completed")["state"] == {"picked": 1, "approved": True}
    reaches(database, "late", "waiting_signal")
    time_passes(database, "late")
    assert reaches(database, "late", "failed")["lastError"]["message"] == "nobody has looked at it"

    begin(database, "trip.booking", "tour", cities=["Rome", "Oslo", "Lyon"])
    assert reaches(database, "tour", "completed")["state"] == {"total": 12}
    assert database.rows("select * from trip.quotes") == [("Rome",), ("Oslo",), ("Lyon",)]
