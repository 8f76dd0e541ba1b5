"""Cron's slots beside a brute-force walk: G24, G25."""

import os
import pathlib
import random
import re
import subprocess
import time

import pytest

from harness.settings import BUILDDIR, long_or_short
from oracle import triples, walk, zones
from oracle.expression import Expression

CASES = long_or_short(10000, 4000)
ORACLE_ENDS = 2145916800                # 2038: it knows no later changes of the clock
COUNT = 3  # slots of each


def chimpd_slots(cases, count=COUNT):
    """What chimpd's own code says, in lists of seconds; None where refused."""
    lines = "".join(f"{e}\t{z}\t{at}\t{count}\n" for e, z, at in cases)
    done = subprocess.run([BUILDDIR / "tests/unit/cron_lines"], input=lines, text=True,
                          capture_output=True, check=True, timeout=120)
    answers = done.stdout.splitlines()
    assert len(answers) == len(cases)
    for case, answer in zip(cases, answers):
        if answer.startswith("refused"):
            assert "never comes in month" in answer, f"{case}: {answer}"
    return [None if a.startswith("refused") else [int(s) for s in a.split() if s != "never"]
            for a in answers]


def differs(case, got):
    """What is wrong with chimpd's slots, "" if nothing is."""
    expression, zone, after = case
    e = Expression(expression)
    want = walk.slots(e, zone, after, COUNT)
    if got is None:
        return f"{case} was refused" if want else ""
    # The walk ends after ten years, chimpd after a hundred.
    end = min(after + (walk.HORIZON_DAYS - 1) * zones.DAY, ORACLE_ENDS)
    if want != got and [s for s in got if s < end] != [s for s in want if s < end]:
        return f"{case}: {got}, and should be {want}"
    return ""


@pytest.mark.soak
def test_g24_g25_slots_are_those_of_a_walk_over_the_minutes(record_property):
    seed = os.environ.get("CHIMP_ORACLE_SEED") or str(random.randrange(10**9))
    begun = time.process_time()
    cases = triples.triples(seed, CASES)
    near = sum(triples.is_near(zone, at) for _, zone, at in cases)
    slots = chimpd_slots(cases)
    wrong = list(filter(None, map(differs, cases, slots)))
    record_property("figure", f"{len(cases)} schedules beside a walk, {near} near a change of"
                    f" the clock, seed {seed}: {len(wrong)} differ"
                    f" ({time.process_time() - begun:.0f} s of CPU)")
    assert len(cases) >= CASES and 2 * near >= len(cases)
    assert len({zone for _, zone, _ in cases}) == 60
    assert not wrong, "\n".join([f"CHIMP_ORACLE_SEED={seed}", *wrong[:10]])
    assert sum(s is None for s in slots) < len(cases) / 50


# --- beside croner, a library of node -----------------------------------------

CRONER = pathlib.Path(__file__).parent / "oracle" / "croner.tsv"


def star_with_a_step_in_a_day_field(e):
    """chimpd, as crontab(5): it is a star, and both day fields must match.
    croner: it is a restriction, and either will do."""
    return any(field.startswith("*/") for field in (e.fields[3], e.fields[5]))


def fixed_hour_with_a_wild_minute(e):
    """chimpd: the hour decides what follows the wall clock (G25). croner: a
    star or step in the minute or second makes it run at every real match."""
    return e.fixed and bool(set("*/") & set(e.fields[0] + e.fields[1]))


def week_from_sunday_to_sunday(e):
    """chimpd: 0-SUN is one day. croner: SUN ends the week, 0-SUN is all of it."""
    return re.search(r"(^|,)(0|sun)-(0|sun)", e.fields[5], re.IGNORECASE)


DIFFERENCES = (star_with_a_step_in_a_day_field, fixed_hour_with_a_wild_minute,
               week_from_sunday_to_sunday)


def croner_says():
    """[(triple, its slots, is its tzdata ours?)]"""
    found = []
    for line in CRONER.read_text().splitlines()[1:]:
        expression, zone, after, answer = line.split("\t")
        slots = [[int(n) for n in slot.split("@")] for slot in answer.split()]
        same = all(zones.offset(zone, at) == ahead * 60 for at, ahead in slots)
        found.append(((expression, zone, int(after)), [at for at, _ in slots], same))
    return found


def test_g24_g25_slots_are_those_of_croner_but_for_three_rules(record_property):
    said = croner_says()
    compared = [(case, slots) for case, slots, same in said if same]
    got = chimpd_slots([case for case, _ in compared], 2)
    differing = {rule: 0 for rule in DIFFERENCES}
    equal = []
    for (case, slots), ours in zip(compared, got):
        if slots == (ours or []):
            equal.append(case)
            continue
        rules = [rule for rule in DIFFERENCES if rule(Expression(case[0]))]
        assert rules, f"{case}: {ours}, and croner says {slots}"
        if len(rules) == 1:
            differing[rules[0]] += 1
        if rules == [fixed_hour_with_a_wild_minute]:
            assert any(triples.is_near(case[1], slot) for slot in slots + ours), case
        assert not differs(case, chimpd_slots([case])[0])
    record_property("figure", f"{len(equal)} of {len(said)} schedules as croner says; by one rule"
                    f" {', '.join(f'{r.__name__} {n}' for r, n in differing.items())};"
                    f" by other tzdata {len(said) - len(compared)}")
    assert len(compared) > 0.95 * len(said)
    assert len(equal) > 0.7 * len(said)
    assert sum(triples.is_near(zone, at) for _, zone, at in equal) > len(said) / 4
    assert all(differing.values())


def test_g24_each_rule_is_among_the_cases():
    """Names, seconds, L, lists, steps, both days, 7 and macros are put to the test."""
    texts = [case[0] for case, _, _ in croner_says()]
    for what in (r"^@", r"(?i)[A-Z]{3}-", r"(?i)\bL\b", r"\d,\d", r"\d/\d", r"-\d+/\d", r"7$",
                 r"^(\S+ ){5}\S+$", r"^(\S+ ){4}\S+$", r"[^*?\s]\S* \S+ [^*?\s]\S*$"):
        assert sum(bool(re.search(what, text)) for text in texts) >= 10, what
