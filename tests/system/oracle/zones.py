"""Sixty time zones, and when their clocks changed, by the system's tzdata."""

import datetime
import functools
import os
import zoneinfo

DIRECTORY = "/usr/share/zoneinfo"

# Rules of every kind: either hemisphere, half hours, changes at midnight, on
# Fridays, around Ramadan, negative daylight saving time, a day that was left
# out, and none at all.
NAMES = """
Africa/Abidjan Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Johannesburg
Africa/Juba Africa/Sao_Tome Africa/Tripoli Africa/Tunis Africa/Windhoek
America/Adak America/Anchorage America/Argentina/Buenos_Aires America/Asuncion
America/Caracas America/Chicago America/Denver America/Havana America/Los_Angeles
America/Mexico_City America/Montevideo America/New_York America/Nuuk
America/Port-au-Prince America/Santiago America/Sao_Paulo America/Scoresbysund
America/St_Johns Antarctica/Casey Antarctica/Troll Asia/Amman Asia/Beirut
Asia/Damascus Asia/Dhaka Asia/Gaza Asia/Hebron Asia/Jerusalem Asia/Kathmandu
Asia/Kolkata Asia/Pyongyang Asia/Tehran Asia/Tokyo Atlantic/Azores
Australia/Adelaide Australia/Lord_Howe Australia/Melbourne Europe/Berlin
Europe/Chisinau Europe/Dublin Europe/Istanbul Europe/London Europe/Moscow
Europe/Volgograd Pacific/Apia Pacific/Auckland Pacific/Chatham Pacific/Fiji
Pacific/Norfolk Pacific/Tongatapu UTC
""".split()

DAY = 86400
FIRST = 946684800                  # 2000
LAST = 2145916800                  # 2038

zoneinfo.reset_tzpath([DIRECTORY])


@functools.cache
def load(name):
    assert os.path.exists(f"{DIRECTORY}/{name}"), f"no {name}: is tzdata installed?"
    return zoneinfo.ZoneInfo(name)


def offset(name, at):
    """What the wall clock is ahead of UTC, in seconds."""
    zone = load(name)
    return int(datetime.datetime.fromtimestamp(at, zone).utcoffset().total_seconds())


def _change_between(name, low, high):
    before = offset(name, low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(name, middle) == before:
            low = middle
        else:
            high = middle
    return high


@functools.cache
def changes(name):
    """The first instants of each new offset from 2000 to 2037."""
    found = []
    before = offset(name, FIRST)
    for at in range(FIRST + DAY, LAST + 1, DAY):
        now = offset(name, at)
        if now != before:
            found.append(_change_between(name, at - DAY, at))
        before = now
    return found
