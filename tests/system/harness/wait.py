"""Waiting for something to become true, and measuring how long it took."""

import time

from .settings import PATIENCE


class TookTooLong(AssertionError):
    pass


def until(condition, what, timeout=30.0, interval=0.02):
    """Call condition until it returns something true, and return that.

    An exception of the condition counts as "not yet", and the last one is
    named when time is up.
    """
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        problem = None
        try:
            value = condition()
            if value:
                return value
        except Exception as e:  # pylint: disable=broad-except
            problem = e
        if time.monotonic() > deadline:
            raise TookTooLong(
                f"not within {timeout * PATIENCE:g} s: {what}; last: {problem or value!r}"
            )
        time.sleep(interval)


class Stopwatch:
    """with Stopwatch() as watch: ...; then watch.ms"""

    def __enter__(self):
        self.begun = time.monotonic()
        return self

    def __exit__(self, *_):
        self.ms = (time.monotonic() - self.begun) * 1000
