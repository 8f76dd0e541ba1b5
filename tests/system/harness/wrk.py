"""wrk, for as long as a test needs it, and what it met."""

import re
import shutil
import signal
import subprocess
import tempfile

# What an answer that is none said, in the output.
TELL = """
response = function(status, headers, body)
	if status < 200 or status > 299 then print("failed:", status, body) end
end
"""


class Wrk:
    """with Wrk(address, path, connections) as wrk: ...; then wrk.requests"""

    def __init__(self, address, path, connections, headers=()):
        assert shutil.which("wrk"), "wrk is missing; on Debian: apt-get install wrk"
        host, port = address
        self.script = tempfile.NamedTemporaryFile("w", suffix=".lua")
        self.script.write(TELL)
        self.script.flush()
        self.command = ["wrk", "-s", self.script.name, "-t", "1", "-c", str(connections), "-d", "2h",
                        "--timeout", "20s", "--latency",
                        *(part for h in headers for part in ("-H", h)),
                        f"http://{host}:{port}{path}"]
        self.process = None
        self.text = ""

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        # It sums up when it is interrupted.
        self.process.send_signal(signal.SIGINT)
        self.text = self.process.communicate(timeout=30)[0]
        self.script.close()

    @property
    def requests(self):
        return int(re.search(r"(\d+) requests in", self.text).group(1))

    @property
    def errors(self):
        """Its lines about what went wrong."""
        return [line.strip() for line in self.text.splitlines()
                if re.search("Socket errors|Non-2xx|^failed:", line)]

    def latency(self, percentile):
        return re.search(rf"{percentile}%\s+(\S+)", self.text).group(1)
