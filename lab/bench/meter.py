"""What goes over a process's HTTPS connections: calls by method, and bytes inside TLS.

Law: counted where the bytes pass, below every library, so that nothing is asked for that is not seen here.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

METHOD = re.compile(rb"<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)")
LONG = re.compile(rb"<(?:\w+:)?maxWaitSeconds[^>]*>([1-9]\d*)<")
WRITES = ("ReconfigureDVPort_Task", "AddDVPortgroup_Task", "ReconfigureDVPortgroup_Task", "Destroy_Task")


@dataclass(slots=True)
class Meter:
    """Counts from `install` on, for the whole process.  Long polls are waits that the far side may keep open."""

    calls: Counter[str] = field(default_factory=Counter)
    long_polls: int = 0
    received: int = 0
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def install(self) -> None:
        """Begin to count.  There is no end: it is for processes that are made to be measured."""
        request, receive, send = http.client.HTTPConnection.request, ssl.SSLSocket.recv_into, ssl.SSLSocket.sendall

        def counted_request(this: Any, method: str, url: str, body: Any = None, *rest: Any, **named: Any) -> None:
            self.asked(body if isinstance(body, bytes) else str(body or "").encode())
            request(this, method, url, body, *rest, **named)

        def counted_receive(this: Any, *arguments: Any, **named: Any) -> int:
            count = receive(this, *arguments, **named)
            with self.lock:
                self.received += count or 0
            return count

        def counted_send(this: Any, data: Any, *rest: Any) -> None:
            with self.lock:
                self.sent += len(data)
            send(this, data, *rest)

        http.client.HTTPConnection.request = counted_request  # type: ignore[assignment,method-assign]
        ssl.SSLSocket.recv_into = counted_receive  # type: ignore[assignment,method-assign]
        ssl.SSLSocket.sendall = counted_send  # type: ignore[assignment,method-assign]

    def asked(self, body: bytes) -> None:
        """One request."""
        found = METHOD.search(body)
        with self.lock:
            if found and found[1] == b"WaitForUpdatesEx" and LONG.search(body):
                self.long_polls += 1
            else:
                self.calls[found[1].decode() if found else "GET"] += 1

    def reset(self) -> None:
        """Count anew."""
        with self.lock:
            self.calls.clear()
            self.long_polls = self.received = self.sent = 0

    def told(self) -> dict[str, Any]:
        """The counts."""
        with self.lock:
            return {
                "calls": dict(self.calls),
                "long_polls": self.long_polls,
                "bytes": self.received + self.sent,
                "vcenter_writes": sum(self.calls[name] for name in WRITES),
            }
