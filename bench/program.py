"""The frame of bench/queue, events, http, state and workflow: options, the
run through the parts, tables with their verdicts, and what is printed and recorded.

A Bench of theirs says which parts and bars there are, what it prepares and what
the report tells beside machine and settings.
"""

import argparse
import json
import math
import os
import pathlib
import sys

from cluster import BenchError, Cluster, missing_tools
from measure import number
from report import TOP, machine, record, report

RATE = [("rate", "per second"), ("workers_us", "CPU workers, µs"),
        ("store_us", "CPU store, µs"), ("cpu_us", "CPU both, µs"),
        ("wal_bytes", "WAL, bytes")]
LATENCY = [("p50_ms", "p50, ms"), ("p99_ms", "p99, ms"), ("max_ms", "max, ms")]


class Bench:
    """What the parts share."""

    title = ""
    parts = {}                          # name -> title, columns, how to measure
    bars = []

    def __init__(self, args, cluster):
        self.args = args
        self.cluster = cluster
        self.remarks = []

    def prepare(self):
        """Find out who can take part, and start the cluster."""
        raise NotImplementedError

    def facts(self, host):
        """Lines for the report, with the remarks so far."""
        raise NotImplementedError

    def run(self):
        host = machine()
        self.prepare()
        lines = self.facts(host)
        print("\n".join(lines), flush=True)
        known = len(self.remarks)
        results = self.measure()
        text = report(self.title, lines + self.remarks[known:],
                      [self.table(*result) for result in results.items()])
        print("\n" + text)
        if self.args.json:
            self.write_json(results)
        if not self.args.no_record:
            record(text)

    def measure(self):
        results = {}
        for name in self.args.only:
            print(self.parts[name][0], flush=True)
            results[name] = self.parts[name][2](self)
        return results

    def table(self, name, rows):
        title, columns, _ = self.parts[name]
        if not rows:
            return f"### {title}\n\nskipped, see above\n"
        lines = [f"### {title}", "",
                 "| | " + " | ".join(heading for _, heading in columns) + " |",
                 "| --- |" + " --: |" * len(columns)]
        for row in rows:
            cells = [row.cell(column, spread=(n == 0 or columns is not RATE))
                     for n, (column, _) in enumerate(columns)]
            lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
        verdicts = self.judge(name, rows)
        if verdicts:
            lines += [""] + [f"- {v['bar']}: {v['text']}" for v in verdicts]
        return "\n".join(lines) + "\n"

    def judge(self, name, rows):
        verdicts = []
        for bar in (b for b in self.bars if b.part == name):
            value, verdict = bar.judge(rows)
            shown = "" if value is None else f"{number(value)}{bar.unit}, "
            verdicts.append({"bar": bar.says, "value": value,
                             "verdict": verdict,
                             "text": f"{shown}**{verdict}**"})
        return verdicts

    def write_json(self, results):
        data = {name: {"rows": [{"key": r.key, "name": r.name, "rounds": {
            column: [None if v == math.inf else v for v in values]
            for column, values in r.columns.items()}} for r in rows],
                       "bars": [{**v, "value": None if v["value"] == math.inf
                                 else v["value"]}
                                for v in self.judge(name, rows)]}
                for name, rows in results.items()}
        self.args.json.write_text(
            json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def parser_of(what, parts):
    """The options that both have."""
    def part_list(text):
        names = text.split(",")
        for name in names:
            if name not in parts:
                raise argparse.ArgumentTypeError(
                    f"{name}: the parts are {', '.join(parts)}")
        return names

    parser = argparse.ArgumentParser(description=what.split("\n")[0])
    add = parser.add_argument
    add("--chimpd", default=TOP / "build/chimpd")
    add("--pg-bindir", default=os.environ.get(
        "PG_BINDIR", "/usr/lib/postgresql/15/bin"))
    add("--only", type=part_list, metavar="PART,...",
        help="of " + ", ".join(parts))
    add("--rounds", type=int, default=3)
    add("--seconds", type=int, default=5, help="of calls by pgbench")
    add("--held-seconds", type=int, default=300)
    add("--no-peers", action="store_true")
    add("--no-record", action="store_true",
        help="do not append to bench/RESULTS.md")
    add("--json", type=pathlib.Path, help="write all rounds to this file")
    return parser


def main(bench, args):
    cluster = None
    try:
        missing_tools(args.pg_bindir, args.chimpd)
        cluster = Cluster(args.pg_bindir)
        bench(args, cluster).run()
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if cluster:
            cluster.stop()
