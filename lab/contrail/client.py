"""A client of the stand-in that shows what HTTP said, and makes the objects that most tests begin with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

PROJECT = ["default-domain", "vCenter"]


@dataclass(slots=True)
class Client:
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 20.0

    def ask(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> tuple[int, Any]:
        """Status, and the answer: what JSON says, or a text that is none."""
        where = urlsplit(self.url)
        line = HTTPConnection(where.hostname or "", where.port, timeout=self.timeout)
        try:
            text = body if isinstance(body, bytes | None) else json.dumps(body)
            line.request(method, path, text, {"Content-Type": content, **self.headers})
            answer = line.getresponse()
            said = answer.read()
        finally:
            line.close()
        try:
            return answer.status, json.loads(said)
        except ValueError:
            return answer.status, said.decode()

    def get(self, path: str) -> Any:
        status, said = self.ask("GET", path)
        assert status == 200, said
        return said

    def make(self, kind: str, name: list[str], **fields: Any) -> str:
        """The new object's id."""
        status, said = self.ask("POST", f"/{kind}s", {kind: {"fq_name": name, **fields}})
        assert status == 200, said
        return str(said[kind]["uuid"])

    def read(self, kind: str, object_id: str) -> dict[str, Any]:
        return dict(self.get(f"/{kind}/{object_id}")[kind])

    def project(self) -> str:
        return self.make("project", PROJECT, parent_type="domain")

    def network(self, name: str = "red", prefix: str = "10.1.0.0", length: int = 24, **fields: Any) -> str:
        subnet = {"subnet": {"ip_prefix": prefix, "ip_prefix_len": length}}
        ipam = {"to": ["default-domain", "default-project", "default-network-ipam"], "attr": {"ipam_subnets": [subnet]}}
        return self.make("virtual-network", [*PROJECT, name], parent_type="project", network_ipam_refs=[ipam], **fields)

    def port(self, name: str = "p1", network: str = "red", **fields: Any) -> str:
        refs = [{"to": [*PROJECT, network]}]
        kind = "virtual-machine-interface"
        return self.make(kind, [*PROJECT, name], parent_type="project", virtual_network_refs=refs, **fields)

    def address(self, name: str = "ip1", network: str = "red", **fields: Any) -> tuple[int, Any]:
        body = {"fq_name": [name], "virtual_network_refs": [{"to": [*PROJECT, network]}], **fields}
        return self.ask("POST", "/instance-ips", {"instance-ip": body})
