"""Clients of the orders example, and whether what they were told is true."""

import threading
import time

from .settings import long_or_short
from .wait import until

# Between two orders. Without it a client takes what the machine has.
PAUSE_S = long_or_short(0, 0.01)


class Load:
    """Clients that take orders through their life, and keep what was answered."""

    def __init__(self, http, clients=3):
        self.http = http
        self.acknowledged = {}  # id -> last answered status
        self.refused = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def call(self, path, body=None):
        """The answer, or None where a killed process gave none."""
        try:
            answer = self.http.post(path, body)
        except (OSError, ConnectionError):
            return None
        except Exception as e:  # http.client: half an answer
            if type(e).__module__ != "http.client":
                raise
            return None
        if answer.status not in (200, 201):
            self.refused.append(answer)
            return None
        return answer.json

    def run(self):
        while not self.over.is_set():
            order = self.call("/orders", {"customer": "load", "amount": 5})
            if order is None:
                time.sleep(0.05)
                continue
            self.acknowledged[order["id"]] = order["status"]
            for step, body in (("assign", {"assignee": "x"}), ("start", None), ("complete", None)):
                moved = self.call(f"/orders/{order['id']}/{step}", body)
                if moved is None:
                    break
                self.acknowledged[order["id"]] = moved["status"]
            self.over.wait(PAUSE_S)


LIFE = ["pending", "assigned", "in_progress", "completed"]


def nothing_was_lost(database, load, timeout=20):
    assert len(load.acknowledged) > 20
    stored = dict(database.rows("select id, status from orders.orders"))
    for order, status in load.acknowledged.items():
        assert LIFE.index(stored[order]) >= LIFE.index(status)
    # One event for each step that an order took, one entry for each event.
    steps = sum(LIFE.index(status) + 1 for status in stored.values())
    assert database.value("select count(*) from chimp.events") == steps
    until(lambda: database.value("select count(*) from orders.audit_trail") == steps,
          f"{steps} events are audited", timeout)
    completed = sum(status == "completed" for status in stored.values())
    until(lambda: database.value("select count(*) from orders.notifications") >= completed,
          f"{completed} notifications are sent", timeout)
    assert database.rows("select count(*), count(distinct order_id)"
                         " from orders.notifications") == [(completed, completed)]
    assert database.value("select count(*) from chimp.dead_events") == 0
    assert database.value("select count(*) from chimp.jobs where state = 'dead'") == 0
