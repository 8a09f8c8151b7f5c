"""Neutron's REST API as Nova and a cloud's users speak it."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

PROJECT = "11111111222233334444555555555555"
COMPUTE = "compute:nova"
TIMEOUT = 60.0


class Failed(Exception):
    """Neutron refused, or failed: the status and what it said."""


@dataclass(slots=True)
class Rest:
    """Several API processes are asked in turn, as behind a load balancer."""

    urls: tuple[str, ...]
    _turn: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._turn = itertools.cycle(self.urls)

    # --- what users and Nova do

    def network(self, name: str, cidr: str | None = None, **more: Any) -> str:
        """A network's id.  With a subnet if a prefix is given; addresses begin at .100, below are the tests' own."""
        made = str(self._made("networks", name=name, **more)["id"])
        if cidr is not None:
            self.subnet(made, cidr)
        return made

    def subnet(self, network: str, cidr: str) -> str:
        return str(self._made("subnets", network_id=network, cidr=cidr, ip_version=4)["id"])

    def port(self, network: str, host: str, address: str | None = None, **more: Any) -> str:
        """The id of a VM's port, as Nova makes it: bound to the VM's host."""
        fixed = {"fixed_ips": [{"ip_address": address}]} if address else {}
        given = {"device_owner": COMPUTE, "device_id": str(uuid.uuid4()), "binding:host_id": host, **fixed, **more}
        return str(self._made("ports", network_id=network, **given)["id"])

    def router(self, name: str, *networks: str) -> str:
        """A router with a leg in each of the networks."""
        made = str(self._made("routers", name=name)["id"])
        for network in networks:
            (subnet,) = self.show("networks", network)["subnets"]
            self.call("PUT", f"routers/{made}/add_router_interface", {"subnet_id": subnet})
        return made

    def lead_out(self, router: str, physical_network: str, cidr: str) -> str:
        """Give a router a leg in the world outside, as a new network; returns its address there."""
        flat: dict[str, Any] = {"provider:network_type": "flat", "provider:physical_network": physical_network}
        outside = self.network(physical_network, None, **flat, **{"router:external": True})
        self._made("subnets", network_id=outside, cidr=cidr, ip_version=4, enable_dhcp=False)
        made = self.update("routers", router, {"external_gateway_info": {"network_id": outside}})
        (address,) = made["external_gateway_info"]["external_fixed_ips"]
        return str(address["ip_address"])

    def security_group(self, name: str, **rule: Any) -> str:
        """The id of a group that lets out everything, and in what its one rule says."""
        made = str(self._made("security-groups", name=name)["id"])
        self.allow(made, **rule)
        return made

    def allow(self, group: str, **rule: Any) -> None:
        """One more rule of a group: what is let in."""
        self._made("security-group-rules", security_group_id=group, direction="ingress", **rule)

    def move(self, port: str, host: str) -> None:
        """The VM is at another host now, as Nova says after a cold migration."""
        self.update("ports", port, {"binding:host_id": host})

    def bind_elsewhere(self, port: str, host: str) -> dict[str, Any]:
        """A second binding of a port, inactive, as before a live migration; it has what a port has of its binding."""
        given = {"binding": {"host": host, "project_id": PROJECT}}
        made = self.call("POST", f"ports/{port}/bindings", given)["binding"]
        return {"binding:vif_details": made["vif_details"], **made}

    def activate(self, port: str, host: str) -> None:
        """The VM has arrived there."""
        self.call("PUT", f"ports/{port}/bindings/{host}/activate")

    def unbind(self, port: str, host: str) -> None:
        """One of a port's bindings goes: that of where the VM was, or would have been."""
        self.call("DELETE", f"ports/{port}/bindings/{host}")

    def bindings(self, port: str) -> dict[str, str]:
        """The status of each binding of a port, by host."""
        return {binding["host"]: binding["status"] for binding in self.list(f"ports/{port}/bindings")}

    def update(self, what: str, of: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self.call("PUT", f"{what}/{of}", {what[:-1]: values})[what[:-1]])

    def delete(self, what: str, of: str) -> None:
        self.call("DELETE", f"{what}/{of}")

    def serve_dhcp(self, network: str, host: str) -> None:
        """The DHCP agent of this host shall serve a network that has no subnet yet, so that no other does."""
        (its,) = self.list("agents", f"host={host}&binary=neutron-dhcp-agent")
        self.call("POST", f"agents/{its['id']}/dhcp-networks", {"network_id": network})

    # --- what they see

    def show(self, what: str, of: str) -> dict[str, Any]:
        return dict(self.call("GET", f"{what}/{of}")[what[:-1]])

    def list(self, what: str, query: str = "") -> list[dict[str, Any]]:
        return list(self.call("GET", f"{what}?{query}")[what.rpartition("/")[2].replace("-", "_")])

    def is_active(self, port: str) -> bool:
        return bool(self.show("ports", port)["status"] == "ACTIVE")

    def agents(self) -> set[tuple[str, str]]:
        """(host, type) of those that are alive."""
        return {(agent["host"], agent["agent_type"]) for agent in self.list("agents") if agent["alive"]}

    def answers(self) -> bool:
        """Whether every process does."""
        try:
            for _ in self.urls:
                self.list("networks")
        except (OSError, HTTPException):
            return False
        return True

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What Neutron answers.  Raises Failed if that is not a success."""
        where = urlsplit(next(self._turn))
        line = HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT)
        # Without an identity service a caller says himself who he is.  One that names a project is not heard as to its
        # roles, and only a service may make bindings.
        headers = {"Content-Type": "application/json", "X-User-Id": "lab", "X-Roles": "admin,service"}
        try:
            line.request(method, f"/v2.0/{path}", None if body is None else json.dumps(body), headers)
            answer = line.getresponse()
            said = answer.read()
        finally:
            line.close()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {said.decode(errors='replace')[:600]}")
        return dict(json.loads(said or "{}") or {})

    def _made(self, what: str, **values: Any) -> dict[str, Any]:
        given = {"project_id": PROJECT, **values}
        one = what[:-1].replace("-", "_")
        return dict(self.call("POST", what, {one: given})[one])
