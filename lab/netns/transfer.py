"""A TCP transfer between two namespaces: how many bytes arrived unharmed, and how long it took."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from dataclasses import dataclass, field

from lab.netns.namespace import within

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Transfer:
    sent: int
    received: int
    intact: bool
    seconds: float


@dataclass(slots=True)
class _Receiver:
    listening: socket.socket
    received: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def run(self) -> None:
        try:
            connection, _ = self.listening.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while chunk := connection.recv(65536):
                    self.received += len(chunk)
                    self.digest.update(chunk)
        except OSError:
            return  # what has not come is missing in the account


def transfer(sender: str, receiver: str, address: str, size: int, port: int = 7000) -> Transfer:
    """From one namespace to `address` in the other.  A transfer that fails is one with fewer bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    data = os.urandom(size)
    listening = within(receiver, lambda: socket.create_server((address, port), family=family))
    began = time.monotonic()
    with listening:
        listening.settimeout(PATIENCE)
        end = _Receiver(listening)
        thread = threading.Thread(target=end.run, name="receiver")
        thread.start()
        sent = _send(sender, family, (address, port), data)
        thread.join()
    intact = end.digest.digest() == hashlib.sha256(data).digest()
    return Transfer(sent, end.received, intact, time.monotonic() - began)


def connects(caller: str, listener: str, address: str, patience: float, port: int = 7000) -> bool:
    """Whether `address` in one namespace takes a connection from the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = within(listener, lambda: socket.create_server((address, port), family=family))
    with listening, within(caller, lambda: socket.socket(family, socket.SOCK_STREAM)) as connection:
        connection.settimeout(patience)
        try:
            connection.connect((address, port))
        except OSError:
            return False
    return True


def _send(namespace: str, family: int, to: tuple[str, int], data: bytes) -> int:
    with within(namespace, lambda: socket.socket(family, socket.SOCK_STREAM)) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(to)
            connection.sendall(data)
        except OSError:
            return 0
    return len(data)
