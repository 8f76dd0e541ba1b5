"""What every bench prints and records: the machine, versions, settings."""

import datetime
import os
import pathlib
import platform
import subprocess

from cluster import SETTINGS

TOP = pathlib.Path(__file__).resolve().parent.parent


def machine():
    cpu = "unknown processor"
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = os.getloadavg()[0]
    return (f"{len(os.sched_getaffinity(0))} × {cpu}, {memory >> 30} GiB, "
            f"Linux {platform.release()}, load {load:.1f} at the start")


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, cwd=TOP)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip().split("\n")[0]


def versions(cluster, *others):
    commit = first_line("git", "describe", "--always", "--dirty")
    return ", ".join([
        first_line(cluster.dir / "chimpd", "-V"),
        f"commit {commit}" if commit else "no commit",
        first_line(cluster.bindir / "postgres", "--version"),
        *others,
    ])


def report(title, facts, sections):
    """The entry of one run; facts are lines beside machine and settings."""
    settings = ", ".join(f"{k} = {v or chr(39) * 2}"
                         for k, v in SETTINGS.items())
    now = datetime.datetime.now(datetime.timezone.utc)
    head = [f"## {now:%Y-%m-%d %H:%M} UTC{title}", "",
            *(f"- {fact}" for fact in facts),
            f"- PostgreSQL: {settings}; Unix socket; everything on this "
            "machine", ""]
    return "\n".join(head) + "\n" + "\n".join(sections)


def record(text):
    with open(TOP / "bench/RESULTS.md", "a", encoding="utf-8") as results:
        results.write("\n" + text)
    print("appended to bench/RESULTS.md")
