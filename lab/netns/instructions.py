"""What somebody needs to know to play in a world that is up."""

from __future__ import annotations

from pathlib import Path

from lab.netns.world import World


def text(world: World) -> str:
    state, login = world.state, world.login
    environment = state.directory / "env"
    environment.write_text(
        f"export GOVC_URL={login.url} GOVC_USERNAME={login.user} GOVC_PASSWORD={login.password}\n"
        f"export GOVC_TLS_CA_CERTS={login.ca_file}\n"
    )
    environment.chmod(0o600)
    lines = [
        f"The world {state.name!r} is up: vCenter at {login.url}, {len(world.layout.hosts)} ESXi hosts.",
        "",
        f"  . {environment}",
        "      GOVC_* for govc, pyVmomi scripts and isthmus",
        "",
    ]
    for appliance in world.appliances:
        lines.append(
            f"  {appliance.host}: appliance in namespace {appliance.namespace}, VTEP {appliance.vtep.ip}, "
            f"ovs-vsctl --db={appliance.ovs.db} show"
        )
    lines += [
        "",
        f"  distributed switches: ovs-vsctl --db={world.switches.db} show; the underlay: namespace {world.underlay}",
        f"  a VM created and powered on in vCenter appears as namespace {state.prefix}NAME: ip netns exec ... ping",
        f"  what the hosts do: {state.directory}/hostd.log",
        f"  {Path('.venv/bin/python')} -m lab.netns status | down {state.name}",
    ]
    return "\n".join(lines)
