"""Several `isthmus run` list the same deployments, and each keeps its own: nobody else speaks to Neutron of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app.leaf_site import until
from tests.openstack.site import Site, site
from tests.openstack.test_vds import HOSTS, per_leaf

pytestmark = [pytest.mark.openstack, pytest.mark.sim]
RACK = "[deployment.rack{}]\n"
KEPT_ELSEWHERE = "serve = []\nport_groups = false\n"
RACK3 = """
[deployment.rack3]
design = "vds-leaf"
dvs = "rack3"
[deployment.rack3.leaf.leaf3]
driver = "hwvtep"
target = "unix:/nowhere/leaf3"
vtep = "192.0.2.3"
[deployment.rack3.host."esx3.lab"]
leaf = "leaf3"
ports = ["swp1"]
"""


def keeps(text: str, *racks: int) -> str:
    """The configuration of a process that keeps these of the two racks only."""
    for rack in {1, 2} - set(racks):
        text = text.replace(RACK.format(rack), RACK.format(rack) + KEPT_ELSEWHERE)
    return text


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A process for each rack, and one for a third rack that vCenter does not have."""
    whole = per_leaf()
    with (
        pytest.MonkeyPatch.context() as patch,
        site(tmp_path_factory.mktemp("site"), patch, keeps(whole, 1)) as made,
        made.beside("second", lambda text: keeps(text.replace(KEPT_ELSEWHERE, ""), 2)),
        made.beside("third", lambda text: keeps(text.replace(KEPT_ELSEWHERE, "")) + RACK3),
    ):
        made.has_hosts(*HOSTS)
        yield made


def test_each_process_answers_for_its_own_domain_and_no_port_fails(
    made: Site, caplog: pytest.LogCaptureFixture
) -> None:
    networks = [made.neutron.network_named(f"red{number}") for number in range(3)]
    with caplog.at_level("WARNING"):
        ports = [made.neutron.port_on(network, f"compute-{rack}") for network in networks for rack in (1, 2)]
    assert [made.neutron.port(port)["binding:vif_type"] for port in ports] == ["dvs"] * 6
    # Neutron tries ten times: somebody who keeps the host may be met after others.
    assert not [text for text in caplog.messages if "is no cluster of" in text]
    until(lambda: all(made.is_active(port) for port in ports))
