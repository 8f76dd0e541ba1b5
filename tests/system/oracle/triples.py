"""Random (expression, zone, instant): half of them near a change of the clock.

As a program it prints them, for a cron library to answer: see croner.mjs.
"""

import bisect
import random
import sys

from . import zones
from .expression import random_text

NEAR = 36 * 3600


def is_near(name, at):
    i = bisect.bisect(zones.changes(name), at)
    return any(abs(at - change) <= NEAR for change in zones.changes(name)[max(0, i - 1):i + 1])


def near_changes(dice, rounds):
    """Each change of each zone, so many times."""
    for name in zones.NAMES:
        for change in zones.changes(name) * rounds:
            away = dice.choice([0, -1, dice.randint(-7200, 7200)]
                               + [dice.randint(-NEAR, NEAR)] * 3)
            yield random_text(dice), name, change + away


def anywhere(dice, n):
    for _ in range(n):
        at = dice.randrange(zones.FIRST, zones.LAST)
        yield random_text(dice), dice.choice(zones.NAMES), at - dice.choice([0, at % 60])


def triples(seed, least):
    """At least so many."""
    dice = random.Random(seed)
    n_changes = sum(len(zones.changes(name)) for name in zones.NAMES)
    near = list(near_changes(dice, max(1, -(-least // (2 * n_changes)))))
    return near + list(anywhere(dice, max(len(near), least - len(near))))


if __name__ == "__main__":
    for triple in random.Random(0).sample(triples(1, 1), int(sys.argv[1])):
        print(*triple, sep="\t")
