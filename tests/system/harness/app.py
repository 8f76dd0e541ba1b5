"""Apps: the orders example, and small ones that a test writes itself."""

import pathlib
import shutil

from .settings import SRCDIR


def copy_orders(directory):
    """The example under a folder that the roles can read."""
    target = pathlib.Path(directory) / "orders"
    shutil.copytree(SRCDIR / "examples" / "orders", target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / "orders.conf"


class App:
    """An app file in a folder of its own, with its migrations."""

    def __init__(self, directory, registrations, *migrations, name="t"):
        self.dir = pathlib.Path(directory) / f"app-{name}"
        self.migrations = self.dir / "migrations"
        self.migrations.mkdir(parents=True)
        self.conf = self.dir / "app.conf"
        self.conf.write_text(
            f'app "{name}" {{\n  migrations = "migrations"\n{registrations}\n}}\n')
        for number, text in enumerate(migrations, 1):
            self.migration(number, text)

    def migration(self, number, text):
        path = self.migrations / f"{number:04}_test.sql"
        path.write_text(text)
        return path
