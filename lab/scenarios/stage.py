"""What a scenario may ask of a world, whichever world it is told on.

Law: a scenario speaks of VMs, hosts and networks by name and sees only what a user could: who hears whom, what is open.
"""

from __future__ import annotations

from typing import Protocol


class Stage(Protocol):
    """A world with hosts esx1 and esx2 (one cluster, one leaf, one switch) and esx3 (another cluster and leaf)."""

    @property
    def moves_are_seamless(self) -> bool:
        """An NVE can hold a port before its VM is there; where the SDN locates a port at one host it cannot."""
        ...

    @property
    def new_plugs_need_the_sdn(self) -> bool:
        """An agent of the SDN's own filters ports, and no new one while the SDN is silent."""
        ...

    def network(self, name: str, *, listed: bool = False) -> None:
        """Create a network and let it be offered."""
        ...

    def delete_network(self, name: str) -> None:
        """Delete a network from the intent."""
        ...

    def renumber(self, name: str, like: str | None = None) -> None:
        """Give a network another VNI: one of its own, or that of another network, which leaves the intent."""
        ...

    def delete_port(self, name: str) -> None:
        """Delete the port of a VM from the intent (on a network that lists its ports)."""
        ...

    def boot(self, name: str, host: str, network: str) -> None:
        """Create a VM on a network and switch it on."""
        ...

    def boot_if_offered(self, name: str, host: str, network: str) -> None:
        """The same, if the network can be had there and the VM is not there yet."""
        ...

    def power(self, name: str, on: bool) -> None:
        """Power a VM on or off."""
        ...

    def destroy(self, name: str) -> None:
        """Destroy a VM."""
        ...

    def announce(self, name: str, to: str) -> None:
        """A vMotion begins: the VM still runs where it was."""
        ...

    def arrive(self, name: str) -> None:
        """The announced vMotion ends well."""
        ...

    def stay(self, name: str) -> None:
        """The announced vMotion fails."""
        ...

    def jump(self, name: str, to: str) -> None:
        """The VM runs elsewhere from now on, and nobody said so."""
        ...

    def settle(self) -> None:
        """Let all loops go round until they rest."""
        ...

    def rounds(self, count: int) -> None:
        """Let all loops go round so many times, rest or not."""
        ...

    def act(self, changes: int) -> bool:
        """Every loop makes a plan, does so many of its changes, and dies.  False if no plan had so many."""
        ...

    def restart_loops(self) -> None:
        """The processes die and start anew: they remember nothing."""
        ...

    def lose_nve(self, host: str) -> None:
        """The NVE of a host is rebooted or replaced."""
        ...

    def cut(self, far_side: str) -> None:
        """A far side cannot be reached: "vcenter", "intent", or the name of an NVE's host."""
        ...

    def heal(self) -> None:
        """All far sides can be reached."""
        ...

    def retag_by_hand(self, name: str, like: str) -> None:
        """Somebody gives the place where VM `name` is tagged the tag of the place of VM `like`."""
        ...

    def hears(self, name: str, *, frame_from: str) -> bool:
        """Whether a VM hears another, spoken to alone and to all."""
        ...

    def strangers_are_silent(self) -> bool:
        """Nobody hears a frame of a network he is not on."""
        ...

    def names_of_ours(self) -> list[str]:
        """The names of all port groups of ours, sorted, with repetitions over switches left out."""
        ...

    def tags(self) -> dict[str, int | None]:
        """The VID that each running VM's place wears."""
        ...

    def known(self) -> int:
        """How many entries the NVEs hold, fixed frames left out."""
        ...

    def complaints(self) -> list[str]:
        """What the loops say cannot be had, and why."""
        ...

    def limit_vids(self, count: int) -> None:
        """From now on the pool has so many VIDs."""
        ...
