"""The slots of a schedule by brute force.

Near a change of the clock every minute that passes is looked at, and what a
wall clock would show then; on the calm days between, every minute that the
expression names. Slots of G25: where the hour is fixed, a time comes when the
wall clock reaches or leaps over it for the first time; otherwise whenever the
wall clock shows it.
"""

import functools
import itertools

from . import zones

MINUTES = 1440
HORIZON_DAYS = 3660


@functools.cache
def _restless(name):
    """Days, since 1970 by UTC, which a change of the clock is near to."""
    return {change // zones.DAY + near for change in zones.changes(name)
            for near in (-1, 0, 1, 2)}


@functools.cache
def _shown(name, day):
    """What the clock shows in each minute of a day by UTC."""
    found = []
    for begin in range(day * MINUTES, (day + 1) * MINUTES, 60):
        # No zone changes twice within an hour.
        first, last = (zones.offset(name, m * 60) // 60 for m in (begin, begin + 59))
        if first == last:
            found += range(begin + first, begin + first + 60)
        else:
            found += (m + zones.offset(name, m * 60) // 60 for m in range(begin, begin + 60))
    return found


@functools.cache
def _day_of_minutes(name, day):
    """(minute since 1970, what the clock shows then, what it had shown)."""
    before = max(_shown(name, day - 2) + _shown(name, day - 1))
    shown = _shown(name, day)
    reached = itertools.accumulate(shown, max, initial=before)
    return list(zip(itertools.count(day * MINUTES), shown, reached))


def _matches(e, minute):
    return minute % MINUTES in e.minute_set and e.on_day(minute // MINUTES)


def _restless_slots(e, name, day):
    # No clock is further from UTC than a day, and none has leapt over more.
    if not any(map(e.on_day, range(day - 2, day + 3))):
        return
    for minute, now, reached in _day_of_minutes(name, day):
        seconds = e.seconds
        if e.fixed and now <= reached:
            continue
        if e.fixed and now > reached + 1 and any(_matches(e, m) for m in range(reached + 1, now)):
            yield minute * 60
            seconds = [s for s in seconds if s > 0]
        if _matches(e, now):
            for second in seconds:
                yield minute * 60 + second


def _calm_slots(e, name, day):
    wall_days = [d for d in (day - 1, day, day + 1) if e.on_day(d)]
    ahead = zones.offset(name, day * zones.DAY) // 60 if wall_days else 0
    for wall_day in wall_days:
        for minute in e.minutes_of_day:
            at = wall_day * MINUTES + minute - ahead
            if at // MINUTES == day:
                for second in e.seconds:
                    yield at * 60 + second


def slots(expression, name, after, count):
    """The first slots after the instant; fewer if ten years hold no more."""
    found = []
    first = after // zones.DAY
    for day in range(first, first + HORIZON_DAYS):
        of_day = _restless_slots if day in _restless(name) else _calm_slots
        for at in of_day(expression, name, day):
            if at > after:
                found.append(at)
                if len(found) == count:
                    return found
    return found
