"""Tell a RabbitMQ of every change, as the server does: to whoever listens just then.

Law: the server never waits for the broker.  While that is away messages wait here, and leave later in their order; a
client that was away has missed what was sent meanwhile.
"""

from __future__ import annotations

import queue
import threading
import uuid
from typing import Any

from kombu import Connection, Exchange, Producer

from lab.contrail.objects import Notice

EXCHANGE = "vnc_config.object-update"
SOON = 0.2
CONFIRMED = {"confirm_publish": True}
"""Otherwise the first message into a connection that the broker has left would be lost here, unseen."""


def message(notice: Notice) -> dict[str, Any]:
    """An update says only that there was one; who wants to know reads."""
    said: dict[str, Any] = {
        "request-id": f"req-{uuid.uuid4()}",
        "oper": notice.oper,
        "type": notice.kind.object_type,
        "uuid": notice.id,
        "fq_name": notice.body["fq_name"],
    }
    if notice.oper in ("CREATE", "DELETE"):
        said["obj_dict"] = notice.body
    return said


class Announcer:
    """A callable for ApiServer's `announce`.  Messages leave in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("rabbit://", "amqp://", 1)
        self._waiting: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def __call__(self, notice: Notice) -> None:
        self._waiting.put(notice)

    def close(self) -> None:
        """What has not left by now is lost."""
        self._is_ending.set()
        self._waiting.put(None)
        self._thread.join(10)

    def _send_all(self) -> None:
        exchange = Exchange(EXCHANGE, type="fanout", durable=False)
        unsent: Notice | None = None
        while not self._is_ending.is_set():
            try:
                with Connection(self._url, connect_timeout=5, transport_options=CONFIRMED) as connection:
                    producer = Producer(connection.channel(), exchange, auto_declare=True)
                    while not self._is_ending.is_set():
                        unsent = unsent or self._waiting.get()
                        if unsent is None:
                            return
                        producer.publish(message(unsent), serializer="json")
                        unsent = None
            except (OSError, *Connection(self._url).recoverable_connection_errors):
                self._is_ending.wait(SOON)
