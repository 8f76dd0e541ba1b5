"""How xdist deals the tests out: in small batches of neighbours.

xdist's own way hands half of what is left out at once, and in the end all wait
for one process whose share was slow. Neighbours stay together, for they may
share a node.
"""

from xdist.scheduler.load import LoadScheduling

BATCH = 8


class Batches(LoadScheduling):
    def check_schedule(self, node, duration=0):
        """A process begins a test when it knows the next one: it needs two."""
        if node.shutting_down:
            return
        if not self.pending:
            node.shutdown()
        elif len(self.node2pending[node]) < 2:
            self._send_tests(node, BATCH)

    def _send_tests(self, node, num):
        """At most a batch, and fewer in the end."""
        share = len(self.pending) // len(self.nodes) // 2
        super()._send_tests(node, min(num, BATCH, max(2, share)))
