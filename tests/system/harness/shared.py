"""Nodes that the tests of a module share: for tests that leave them as they were."""

import shutil

from .app import App
from .chimpd import Chimpd
from .cluster import temp_dir


class Shared:
    """One for each configuration that the tests ask for, with a database of its own."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = {}

    def node(self, make_app, **conf):
        """make_app(folder) -> App; the Chimpd has its .database."""
        key = (make_app, repr(sorted(conf.items())))
        if key not in self.nodes:
            self.nodes[key] = self._start(make_app, conf)
        return self.nodes[key]

    def _start(self, make_app, conf):
        folder = temp_dir("shared")
        database = self.cluster.create_database()
        daemon = Chimpd(folder, url=database.url, include=[make_app(folder).conf], **conf)
        daemon.database = database
        try:
            return daemon.start()
        except BaseException:
            self._remove(daemon)
            raise

    @staticmethod
    def _remove(daemon):
        try:
            daemon.finish()
        finally:
            daemon.database.drop()
            shutil.rmtree(daemon.dir)

    def finish(self):
        """All, whatever is wrong with one."""
        problems = []
        for daemon in self.nodes.values():
            try:
                self._remove(daemon)
            except Exception as problem:  # pylint: disable=broad-except
                problems.append(problem)
        if problems:
            raise problems[0]


def app_of(registrations, *migrations):
    """What makes this App in the folder of a shared node."""
    return lambda folder: App(folder, registrations, *migrations)
