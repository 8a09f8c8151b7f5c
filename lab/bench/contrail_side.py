"""The lab's api-server and vRouter agents in a process of their own, so that whoever is measured has its own.

`python -m lab.bench.contrail_side AGENTS FOLDER` tells the addresses in a line of JSON, and answers each line it is
given with what was asked of it since the last one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.contrail.api_server import ApiServer
from lab.contrail.vrouter_agent import VrouterAgentStandIn

LONG_POLLS = frozenset({("GET", "watch")})


class ContrailSide:
    """The far end of such a process."""

    def __init__(self, agents: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.bench.contrail_side", str(agents), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._line()
        self.url: str = told["url"]
        self.agents: list[str] = told["agents"]

    def asked(self) -> Counter[str]:
        """How often each call was made since the last time, long polls apart: `api POST virtual-machines`."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Counter(self._line())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the api-server's process died")
        told: dict[str, Any] = json.loads(line)
        return told


def main() -> None:
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer())
        agents = [stack.enter_context(VrouterAgentStandIn(folder / str(number))) for number in range(count)]
        _tell({"url": server.url, "agents": [agent.address for agent in agents]})
        for _ in sys.stdin:
            calls = server.calls.so_far()
            server.calls.forget()
            told = Counter({f"api {m} {what}": n for (m, what), n in calls.items() if (m, what) not in LONG_POLLS})
            for agent in agents:
                told.update({f"agent {call}": times for call, times in agent.calls.items()})
                agent.calls.clear()
            _tell(dict(told))


def _tell(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
