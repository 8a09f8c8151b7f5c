"""What a message bus is told."""

from __future__ import annotations

import time
import uuid
from typing import Any

from kombu import Connection, Exchange, Queue

from lab.contrail.announcer import EXCHANGE, Announcer
from lab.contrail.api_server import ApiServer
from lab.contrail.client import PROJECT, Client


def test_every_change_is_a_message_and_an_update_says_nothing_more() -> None:
    url = "memory://"
    with Connection(url) as connection:
        heard = connection.channel()
        queue = Queue(str(uuid.uuid4()), Exchange(EXCHANGE, type="fanout", durable=False), channel=heard)
        queue.declare()
        announcer = Announcer(url)
        with ApiServer(announce=announcer) as server:
            client = Client(server.url)
            client.project()
            network = client.network()
            port = client.port()
            client.ask("DELETE", f"/virtual-machine-interface/{port}")
            client.ask("DELETE", f"/virtual-network/{network}")
            messages = [taken(queue) for _ in range(8)]
        announcer.close()
    assert [(said["oper"], said["type"]) for said in messages] == [
        ("CREATE", "project"),
        ("CREATE", "virtual_network"),
        ("CREATE", "routing_instance"),
        ("CREATE", "virtual_machine_interface"),
        ("UPDATE", "virtual_machine_interface"),
        ("DELETE", "virtual_machine_interface"),
        ("DELETE", "virtual_network"),
        ("DELETE", "routing_instance"),
    ]
    created, updated, deleted = messages[3], messages[4], messages[5]
    assert (created["uuid"], created["fq_name"]) == (port, [*PROJECT, "p1"])
    assert created["obj_dict"]["virtual_network_refs"][0]["uuid"] == network
    assert set(updated) == {"request-id", "oper", "type", "uuid", "fq_name"}
    assert deleted["obj_dict"]["uuid"] == port


def taken(queue: Any) -> dict[str, Any]:
    for _ in range(400):
        message = queue.get(no_ack=True)
        if message is not None:
            return dict(message.payload)
        time.sleep(0.02)
    raise AssertionError("no message")
