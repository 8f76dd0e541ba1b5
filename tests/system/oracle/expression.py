"""Cron expressions: made at random, and read in another way than chimpd's."""

import calendar
import datetime
import functools

MACROS = {"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
          "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
          "@hourly": "0 * * * *"}
MONTHS = {n.upper(): i for i, n in enumerate(calendar.month_abbr) if n}
WEEKDAYS = {n: i for i, n in enumerate("SUN MON TUE WED THU FRI SAT".split())}
FIELDS = [(0, 59, {}), (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, MONTHS),
          (0, 7, WEEKDAYS)]
EPOCH = datetime.date(1970, 1, 1).toordinal()


def _values(text, low, high, names):
    found = set()
    for item in text.upper().split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        if first == "L":
            continue
        if first in "*?":
            begin, end = low, high
        else:
            begin = int(names.get(first, first))
            end = int(names.get(last, last)) if dash else high if step else begin
            if high == 7 and dash and end == 0 < begin:
                end = 7  # SAT-SUN
        if high == 7 and step and not dash:
            end = 6
            begin %= 7
        found.update(range(begin, end + 1, int(step or 1)))
    return {v % 7 for v in found} if high == 7 else found


class Expression:
    def __init__(self, text):
        fields = MACROS.get(text.lower(), text).split()
        if len(fields) == 5:
            fields.insert(0, "0")
        self.fields = fields
        sets = [_values(text, *limits) for text, limits in zip(fields, FIELDS)]
        self.seconds, minutes, hours, self.days, self.months, self.weekdays = sets
        self.last_day = "L" in fields[3].upper().split(",")
        self.either = fields[3][0] not in "*?" and fields[5][0] not in "*?"
        self.fixed = not set("*/") & set(fields[2])
        self.seconds = sorted(self.seconds)
        self.minutes_of_day = sorted(h * 60 + m for h in hours for m in minutes)
        self.minute_set = set(self.minutes_of_day)
        self.on_day = functools.cache(self._on_day)

    def _on_day(self, day):
        """day: since 1970, of the wall clock."""
        date = datetime.date.fromordinal(day + EPOCH)
        length = calendar.monthrange(date.year, date.month)[1]
        by_day = date.day in self.days or (self.last_day and date.day == length)
        by_weekday = date.isoweekday() % 7 in self.weekdays
        if date.month not in self.months:
            return False
        return by_day or by_weekday if self.either else by_day and by_weekday


# --- at random ---------------------------------------------------------------

def _item(dice, low, high, names):
    def word(value):
        back = {v: n for n, v in names.items()}
        name = back.get(value % 7 if high == 7 else value)
        if not name or dice.random() < 0.5:
            return str(value)
        return dice.choice([name, name.lower(), name.title()])

    first, last = sorted(dice.choices(range(low, high + 1), k=2))
    step = dice.randint(1, max(1, (high - low) // 3))
    kind = dice.randrange(6)
    if kind < 3 or first == last:
        return word(first)
    if kind == 3:
        return f"{first}-{last}" if high != 7 else f"{word(first)}-{word(last)}"
    return f"{first}-{last}/{step}" if kind == 4 else f"{word(first)}/{step}"


def _field(dice, number, star):
    low, high, names = FIELDS[number]
    if dice.random() < star:
        step = dice.randint(1, high - low)
        return dice.choice(["*", "*", f"*/{step}"])
    items = [_item(dice, low, high, names) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    if number == 3 and dice.random() < 0.15:
        items[dice.randrange(len(items))] = dice.choice("LLl")
    return ",".join(items)


def random_text(dice):
    """Dense enough that slots fall near the instant: most dates match."""
    if dice.random() < 0.02:
        return dice.choice(sorted(MACROS))
    seconds = [_field(dice, 0, 0.4)] if dice.random() < 0.25 else []
    # Clocks change in the first hours of a day.
    hours = _field(dice, 2, 0.4)
    if dice.random() < 0.35:
        hours = ",".join(map(str, sorted(dice.sample(range(5), dice.randint(1, 3)))))
    return " ".join([*seconds, _field(dice, 1, 0.4), hours, _field(dice, 3, 0.75),
                     _field(dice, 4, 0.9), _field(dice, 5, 0.75)])
