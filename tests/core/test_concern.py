"""A change on a host wakes every host that carries one of its networks, and no other."""

from isthmus.core.concern import concerned
from isthmus.model.inventory import Inventory
from isthmus.model.names import HostId
from tests.core.town import ESX1, ESX2, HOSTS, Town

ESX3 = HostId("vc/esx3")


def test_the_hosts_of_a_networks_other_members_are_concerned_also_when_the_vm_is_gone() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "red", on=ESX2).vm("c", "blue", on=ESX3)
    before = Inventory(HOSTS, {}, dict(town.nics))
    after = Inventory(HOSTS, {}, {nic_id: nic for nic_id, nic in town.nics.items() if nic_id.vm != "a"})
    assert concerned(frozenset({ESX1}), before) == {ESX1, ESX2}
    assert concerned(frozenset({ESX1}), after) == {ESX1}
    assert concerned(frozenset({ESX1}), before, after) == {ESX1, ESX2}
