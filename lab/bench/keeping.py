"""The far end of lab.bench.kept: a measured process started, asked and ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Keeping:
    """A process of isthmus with this configuration.  It starts working at the first request."""

    def __init__(self, config: Path, store: Path) -> None:
        self._log = (config.parent / "log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.bench.kept", str(config), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._line()
        self._started = False

    def start(self) -> None:
        """Begin to keep, if it has not."""
        if not self._started:
            self._started = True
            self._tell({"do": "start"})

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """A request and its answer."""
        self._tell({"do": do, **more})
        return self._line()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, asked: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured process died; see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer
