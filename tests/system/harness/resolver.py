"""Host names that resolve as a test says, and when it says so."""

import os
import pathlib

from .settings import BUILDDIR

LIBRARY = BUILDDIR / "tests" / "preload" / "resolver.so"


class Resolver:
    """Preloaded into a chimpd: start(env=resolver.env)."""

    def __init__(self, directory):
        assert LIBRARY.exists(), f"{LIBRARY} is missing: run make"
        self.path = pathlib.Path(directory) / "resolver"
        sanitizers = os.environ.get("ASAN_OPTIONS", "")
        self.env = {
            "LD_PRELOAD": str(LIBRARY),
            "CHIMP_TEST_RESOLVER": str(self.path),
            "ASAN_OPTIONS": f"{sanitizers}:verify_asan_link_order=0".lstrip(":"),
        }
        self.say({})

    def say(self, names):
        """{name: "hang", "fail" or addresses with commas between}"""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{name} {what}\n" for name, what in names.items()))
        new.chmod(0o644)
        new.replace(self.path)
