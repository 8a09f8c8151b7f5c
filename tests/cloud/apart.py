"""One isthmus for each appliance, and one for the port groups that speaks to Neutron, in place of one for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab.netns.appliance import Appliance
from lab.netns.layout import Layout
from lab.netns.stage import until
from lab.netns.world import appliance_of
from lab.openstack.product import Isthmus
from lab.openstack.site import Site, Vm
from tests.cloud.talking import unharmed


@dataclass
class Apart:
    """The site, with its VMs, and the process of each host."""

    site: Site
    vms: dict[str, Vm]
    at: dict[str, Isthmus]


@contextmanager
def handed_over(
    site: Site, layout: Layout, configured: Callable[[Sequence[Appliance], str], str], vms: dict[str, Vm]
) -> Iterator[Apart]:
    """At first one process keeps all; it hands its hosts over while VMs talk, and no packet is lost.

    `configured`: the deployment on these appliances, with more keys of its own.
    """
    appliances = [appliance_of(site.state, layout, host) for host in layout.hosts]
    given = site.login, site.broker.url
    with unharmed((vms["a"], vms["b"]), (vms["k"], vms["b"])):
        site.isthmus.kill()
        site.isthmus.configure(*given, configured(appliances, "serve = []\n"))
        site.isthmus.start()
        at = {host: Isthmus(site.state, name=f"isthmus-{host}") for host in layout.hosts}
        for host, process in at.items():
            process.configure(*given, configured(appliances, f'serve = "{host}"\nport_groups = false\n'))
            process.start()
        assert until(lambda: all(process.is_settled for process in (site.isthmus, *at.values())), 90) is not None
    yield Apart(site, vms, at)
    print(site.logs())
