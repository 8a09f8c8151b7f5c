from __future__ import annotations

import pytest

from lab.contrail.addresses import allocate, check_overlap, completed, subnets
from lab.contrail.refusals import Refused
from lab.contrail.schema import Json


def network(*given: Json) -> Json:
    return {"network_ipam_refs": [{"attr": {"ipam_subnets": [completed(each) for each in given]}}]}


def prefix(text: str, **more: object) -> Json:
    address, _, length = text.partition("/")
    return {"subnet": {"ip_prefix": address, "ip_prefix_len": int(length)}, **more}


def test_a_subnet_says_its_own_gateway_and_name_server() -> None:
    its = subnets(network(prefix("10.0.0.0/29", default_gateway="10.0.0.6", dns_server_address="10.0.0.5")))
    assert allocate(["red"], its, [])[0] == "10.0.0.1"
    assert allocate(["red"], its, ["10.0.0.1"])[0] == "10.0.0.2"


def test_the_second_subnet_is_used_when_the_first_is_full() -> None:
    its = subnets(network(prefix("10.0.0.0/29"), prefix("10.0.1.0/24")))
    full = [f"10.0.0.{last}" for last in range(3, 7)]
    assert allocate(["red"], its, full)[0] == "10.0.1.3"


def test_a_family_or_a_subnet_may_be_asked_for() -> None:
    its = subnets(network(prefix("10.0.0.0/24"), prefix("2001:db8::/64")))
    assert allocate(["red"], its, [], family="v6")[0] == "2001:db8::3"
    assert allocate(["red"], its, [], subnet_id=its[1].id)[0] == "2001:db8::3"


def test_a_pool_bounds_what_is_given_and_what_may_be_asked_for() -> None:
    its = subnets(network(prefix("10.0.0.0/24", allocation_pools=[{"start": "10.0.0.100", "end": "10.0.0.101"}])))
    assert allocate(["red"], its, [])[0] == "10.0.0.100"
    with pytest.raises(Refused, match="exhausted"):
        allocate(["red"], its, ["10.0.0.100", "10.0.0.101"])
    with pytest.raises(Refused, match="exhausted"):
        allocate(["red"], its, [], "10.0.0.7")


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "no/24"])
def test_a_prefix_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(Refused) as refused:
        completed(prefix(wrong))
    assert refused.value.status == 400


def test_subnets_of_a_network_do_not_overlap() -> None:
    with pytest.raises(Refused, match="Overlapping"):
        check_overlap(subnets(network(prefix("10.0.0.0/16"), prefix("10.0.9.0/24"))))


def test_a_network_without_a_subnet_has_no_addresses() -> None:
    with pytest.raises(Refused, match="no defined subnet"):
        allocate(["red"], [], [])
