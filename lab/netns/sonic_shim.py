"""A command line that stands for SONiC's on a leaf of ours: what is said to it is kept in a file, and carried out.

    python -m lab.netns.sonic_shim DIRECTORY config vlan add 101

Law: the file is the switch's configuration; the data plane is made from it whole, whatever it was before.
"""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.netns import namespace
from lab.netns.namespace import run
from lab.netns.ovs import OpenVswitch, in_order
from lab.wire.sonic import TAGGED, SonicSwitch

NO_VLAN = 4095
"""In the place of an empty trunk, which Open vSwitch takes for one of all VLANs."""
NOT_FRRS = ("rd auto", "route-target import auto", "route-target export auto")
"""What SONiC's FRR understands, and Debian's does by itself."""
VXLAN_PORT = 4789


@dataclass(frozen=True, slots=True)
class Shim:
    """One switch, known by its directory."""

    directory: Path
    namespace: str
    bridge: str
    vtep: str
    ports: tuple[str, ...]

    @classmethod
    def new(cls, directory: Path, where: str, bridge: str, vtep: str, ports: Sequence[str]) -> Shim:
        """A switch without any VLAN."""
        made = cls(directory, where, bridge, vtep, tuple(ports))
        about = {"namespace": where, "bridge": bridge, "vtep": vtep, "ports": list(ports)}
        made._file.write_text(json.dumps({**about, "vlans": {}, "maps": {}}))
        return made

    @classmethod
    def at(cls, directory: Path) -> Shim:
        """The switch that was made there."""
        with (directory / "sonic.json").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # another command may be writing it
            told = json.load(file)
        return cls(directory, told["namespace"], told["bridge"], told["vtep"], tuple(told["ports"]))

    def run(self, words: Sequence[str]) -> str:
        """Give a command.  Returns what it prints."""
        if words[0] == "vtysh":
            return self.vtysh(_understood(words[1:]))
        with self._switch() as switch:
            return switch.run(shlex.join(words))

    def empty(self) -> None:
        """Forget every VLAN, as a switch does that was never configured."""
        with self._switch() as switch:
            switch.vlans.clear()
            switch.maps.clear()
            switch.changed()

    def vtysh(self, words: Sequence[str]) -> str:
        """What the leaf's FRR says."""
        if "write memory" in words:  # by vtysh, it would be written where this machine's own FRR has its configuration
            return ""
        command = ["runuser", "-u", "frr", "--", "vtysh", "--vty_socket", str(self.directory / "frr"), *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout

    @property
    def _file(self) -> Path:
        return self.directory / "sonic.json"

    @contextmanager
    def _switch(self) -> Iterator[SonicSwitch]:
        """The switch as it is configured, for one command at a time."""
        with self._file.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            told = json.load(file)
            vlans = {int(vid): dict(members) for vid, members in told["vlans"].items()}
            maps = {int(vid): int(vni) for vid, vni in told["maps"].items()}
            switch = SonicSwitch(self.ports, vlans, maps)
            switch.changed = lambda: self._carry_out(switch)
            yield switch
            file.seek(0)
            file.truncate()
            json.dump({**told, "vlans": switch.vlans, "maps": switch.maps}, file)

    def _carry_out(self, switch: SonicSwitch) -> None:
        self._carry_members(switch)
        wanted = set(switch.maps.items())
        there = set(self._mapped())
        for vid, vni in there - wanted:
            self._unmap(vid, vni)
        for vid, vni in wanted - there:
            self._map(vid, vni)

    def _carry_members(self, switch: SonicSwitch) -> None:
        """Each port carries the VLANs that it is a tagged member of, and one untagged."""
        for port in self.ports:
            modes = {vid: members[port] for vid, members in switch.vlans.items() if port in members}
            tagged = sorted(vid for vid, mode in modes.items() if mode == TAGGED)
            untagged = [vid for vid, mode in modes.items() if mode != TAGGED]
            settings = [f"trunks={','.join(map(str, tagged or [NO_VLAN]))}"]
            settings += [f"tag={untagged[0]}", "vlan_mode=native-untagged"] if untagged else ["vlan_mode=trunk"]
            clear = [] if untagged else [["clear", "port", port, "tag"]]
            self._ovs.vsctl(*in_order([*clear, ["set", "port", port, *settings]]))

    def _map(self, vid: int, vni: int) -> None:
        """A bridge between the VLAN and the VNI; FRR tells the others of what it learns there, and it of theirs."""
        inner, bridge, outer = _names(vid, vni)
        self._ovs.vsctl(*in_order([
            ["add-port", self.bridge, inner], ["set", "port", inner, f"tag={vid}"],
            ["set", "interface", inner, "type=internal"],
        ]))  # fmt: skip
        namespace.ip(self.namespace, [
            f"link add {bridge} type bridge forward_delay 0",
            f"link add {outer} type vxlan id {vni} local {self.vtep} dstport {VXLAN_PORT} nolearning",
            *(f"link set {name} master {bridge}" for name in (inner, outer)),
            *(f"link set {name} up" for name in (bridge, inner, outer)),
        ])  # fmt: skip

    def _unmap(self, vid: int, vni: int) -> None:
        inner, bridge, outer = _names(vid, vni)
        namespace.ip(self.namespace, [f"link del {outer}", f"link del {bridge}"])
        self._ovs.vsctl("del-port", self.bridge, inner)

    def _mapped(self) -> Iterator[tuple[int, int]]:
        for link in json.loads(run("ip", "-netns", self.namespace, "-json", "link", "show")):
            if found := _OUTER.fullmatch(link["ifname"]):
                yield int(found[1]), int(found[2])

    @property
    def _ovs(self) -> OpenVswitch:
        return OpenVswitch(self.namespace, self.directory)


_OUTER = re.compile(r"x(\d+)-(\d+)")


def _names(vid: int, vni: int) -> tuple[str, str, str]:
    """Of the VLAN's port in the switch, of the bridge, of the VXLAN device."""
    return f"v{vid}", f"b{vid}", f"x{vid}-{vni}"


def _understood(words: Sequence[str]) -> list[str]:
    """The lines for vtysh (``-c LINE -c LINE ...``) less those that Debian's FRR does not take."""
    lines = [line for line in words if line != "-c" and line not in NOT_FRRS]
    return [word for line in lines for word in ("-c", line)]


def main() -> None:
    """One command."""
    directory, *words = sys.argv[1:]
    print(Shim.at(Path(directory)).run(words))


if __name__ == "__main__":
    main()
