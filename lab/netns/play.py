"""A world to play with: isthmus runs in it, two tenants talk, and a few commands act like an administrator."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from lab.netns.ping import PingResult
from lab.netns.product import Isthmus, Network
from lab.netns.stage import until
from lab.netns.world import World, attach

PLAY = "play"
"""The world that is meant where none is named."""
NETWORKS = (Network("red", 5001), Network("blue", 6001))
VMS: tuple[tuple[str, int, str, int], ...] = (
    ("red-a", 0, "red", 1),
    ("red-b", 1, "red", 2),
    ("blue-a", 0, "blue", 1),
    ("blue-b", 2, "blue", 2),
)


def furnish(world: World) -> None:
    """Start isthmus for every appliance, and give it networks and VMs to care for."""
    isthmus = Isthmus(world)
    isthmus.want(*NETWORKS)
    for host in world.layout.hosts:
        isthmus.start(host)
    if until(lambda: {network.name for network in NETWORKS} <= world.admin.port_group_names()) is None:
        raise TimeoutError(f"isthmus has made no port groups; see {world.state.directory}/isthmus-*.log")
    for name, index, group, number in VMS:
        world.boot(name, world.layout.hosts[index], group, [f"10.0.0.{number}/24", f"fd00::{number}/64"])


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The acts of an administrator, for those who have no govc at hand."""
    boot = commands.add_parser("boot", help="make a VM in vCenter, power it on, give it addresses")
    boot.add_argument("vm")
    boot.add_argument("host", help="its ESXi host, such as esx1.lab")
    boot.add_argument("port_group", help="such as red")
    boot.add_argument("addresses", nargs="*", help="with prefix length, such as 10.0.0.9/24")
    migrate = commands.add_parser("migrate", help="vMotion a VM")
    migrate.add_argument("vm")
    migrate.add_argument("host")
    destroy = commands.add_parser("destroy", help="power a VM off and delete it")
    destroy.add_argument("vm")
    ping = commands.add_parser("ping", help="ping from a VM")
    ping.add_argument("vm")
    ping.add_argument("address")
    for parser in (boot, migrate, destroy, ping):
        parser.add_argument("--world", default=PLAY)
        parser.set_defaults(act=_act)


def _act(asked: argparse.Namespace) -> int:
    world = attach(asked.world)
    try:
        match asked.command:
            case "boot":
                guest = world.boot(asked.vm, asked.host, asked.port_group, asked.addresses)
                print(f"{asked.vm}: MAC {guest.mac}, namespace {guest.namespace}")
            case "migrate":
                stun = world.migrate(asked.vm, asked.host)
                print(f"{asked.vm}: on {asked.host}, stunned for {stun.seconds * 1000:.0f} ms")
            case "destroy":
                world.admin.destroy(asked.vm)
            case "ping":
                return _ping(world, asked.vm, asked.address)
    finally:
        world.close()
    return 0


def _ping(world: World, vm: str, address: str) -> int:
    result: PingResult = world.guest(vm).ping(address, count=5, interval=0.2)
    print(result)
    return 0 if result.all_answered else 1


def instructions(world: World, is_furnished: bool) -> str:
    """What somebody needs to know to play in it."""
    state, login = world.state, world.login
    environment = state.directory / "env"
    environment.write_text(
        f"export GOVC_URL={login.url} GOVC_USERNAME={login.user} GOVC_PASSWORD={login.password}\n"
        f"export GOVC_TLS_CA_CERTS={login.ca_file}\n"
    )
    environment.chmod(0o600)
    appliances = [
        f"  {appliance.host}  VTEP {appliance.vtep.ip}  ovs-vsctl --db={appliance.ovs.db} show"
        for appliance in world.appliances
    ]
    return "\n".join(
        [
            f"The world {state.name!r} is up.  vCenter: {login.url}  (. {environment} sets GOVC_* for govc and others)",
            "",
            "Its ESXi hosts have an OVS appliance each:",
            *appliances,
            f"  and the distributed switches: ovs-vsctl --db={world.switches.db} show",
            "",
            "Things to try:",
            *(f"  {what:<75} {why}".rstrip() for what, why in _things(world, is_furnished)),
        ]
    )


def _things(world: World, is_furnished: bool) -> Iterator[tuple[str, str]]:
    lab, directory, prefix = ".venv/bin/python -m lab.netns", world.state.directory, world.state.prefix
    here = "" if world.state.name == PLAY else f" --world {world.state.name}"
    if is_furnished:
        yield f"ip netns exec {prefix}red-a ping 10.0.0.2", "red-a is on esx1, red-b on esx2"
        yield f"{lab} migrate red-a esx3.lab{here}", "while it pings"
        yield f"{lab} boot red-c esx2.lab red 10.0.0.3/24{here}", ""
        yield f".venv/bin/isthmus show networks --config {directory}/isthmus-esx1.toml", ""
        yield f"edit {directory}/intent.yaml", "the networks that isthmus makes"
        yield f"tail -f {directory}/isthmus-esx1.log", "what it does, line by line"
    else:
        yield (
            f"{lab} boot a esx1.lab {world.layout.foreign_group} 10.0.0.1/24{here}",
            "a VM in the hand-made port group",
        )
    yield f"ip netns exec {world.underlay} tcpdump -n -e -i any udp port 4789", "the underlay"
    yield f"tail -f {directory}/hostd.log", "what troubles the hosts"
    yield f"{lab} status", "what runs"
    yield f"{lab} down {world.state.name}", "take it down"
