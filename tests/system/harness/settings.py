"""Where things are, and how patient to be. Set by tests/system/run."""

import glob
import os
import pathlib
import pwd

SRCDIR = pathlib.Path(
    os.environ.get("CHIMP_SRCDIR", pathlib.Path(__file__).parents[3])
).resolve()
BUILDDIR = pathlib.Path(os.environ.get("CHIMP_BUILDDIR", SRCDIR / "build")).resolve()
CHIMPD = BUILDDIR / "chimpd"
CHIMPCTL = BUILDDIR / "chimpctl"


def _pg_bindir():
    found = os.environ.get("PG_BINDIR")
    return found or max(glob.glob("/usr/lib/postgresql/*/bin"))


PG_BINDIR = pathlib.Path(_pg_bindir())

# Everything takes longer under the sanitizers, and on a machine that is busy
# with something else; limits are multiplied by this.
PATIENCE = float(os.environ.get("CHIMP_PATIENCE", "1"))

# PostgreSQL refuses to run as root, and the roles of chimpd give root up.
AS_ROOT = os.geteuid() == 0
USER = pwd.getpwnam("postgres") if AS_ROOT else pwd.getpwuid(os.geteuid())

# make soak: the long form of the tests that have one, with exact limits.
SOAK = os.environ.get("CHIMP_SOAK", "") not in ("", "0")


def long_or_short(long, short):
    return long if SOAK else short
