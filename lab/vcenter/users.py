"""Users with roles in a simulated vCenter, and a record of the privileges that their calls needed.

Law: which privilege a call needs comes from pyVmomi's own description of the API, read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lab.vcenter.control import Control

READ_ONLY = frozenset({"System.Anonymous", "System.View", "System.Read"})


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on an entity (by name; "" is the root folder) and, if it propagates, on all below it."""

    privileges: frozenset[str]
    on: str = ""
    propagate: bool = True


class Users:
    """The users of one simulator beside its administrator."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._told = False

    def add(self, user: str, password: str, grants: Iterable[Grant]) -> None:
        """A user who may do what these grants say; added again, the user has the new grants only."""
        self.learn()
        roles = [{"on": g.on, "privileges": sorted(g.privileges), "propagate": g.propagate} for g in grants]
        self._control.do("users.add", user=user, password=password, grants=roles)

    def learn(self) -> None:
        """Hands the simulator the API's privileges; without them only the hand-written ones are known."""
        if not self._told:
            self._control.do("users.table", **privileges_of_the_api())
            self._told = True

    def needed(self, user: str) -> Mapping[str, frozenset[str]]:
        """The privileges that the user's calls needed so far, held or not, each with the methods that needed it."""
        found = self._control.do("users.needed", user=user)
        return {privilege: frozenset(calls) for privilege, calls in found.items()}

    def forget(self, user: str) -> None:
        """Begins the record anew."""
        self._control.do("users.forget", user=user)


@cache
def privileges_of_the_api() -> dict[str, Any]:
    """What pyVmomi knows: privilege by method, by method and argument, and by property (`Type.property`)."""
    from pyVmomi import VmomiSupport  # only who asks for roles needs it

    methods: dict[str, str] = {}
    parameters: dict[str, dict[str, str]] = {}
    properties: dict[str, str] = {}
    library: Any = VmomiSupport
    for name in list(library._managedDefMap):  # there is no public list of the managed types
        kind = library.GetVmodlType(name)
        wsdl = library.GetWsdlName(kind)
        for method in kind._methodInfo.values():
            if method.privId:
                methods[method.wsdlName] = method.privId
            for parameter in method.params:
                if parameter.privId:
                    parameters.setdefault(method.wsdlName, {})[parameter.name] = parameter.privId
        for prop in kind._propInfo.values():
            if prop.privId:
                properties[f"{wsdl}.{prop.name}"] = prop.privId
    return {"methods": methods, "parameters": parameters, "properties": properties}
