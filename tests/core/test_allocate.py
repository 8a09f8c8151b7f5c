"""VIDs are given so that nothing worn moves, nothing is worn twice, and what cannot be had is said."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.allocate import Claim, Hold, Worn, allocate
from isthmus.model.names import DvsId, HostId
from isthmus.model.place import DvPort
from isthmus.model.scope import ForeignSubject, HostScope, NetworkSubject, SwitchScope
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid, VidSet, Vni

DVS = DvsId("dvs")
SWITCH = SwitchScope(DVS)


def place(key: int) -> DvPort:
    return DvPort(DVS, str(key), key)


def host(number: int) -> HostScope:
    return HostScope(HostId(f"esx{number}"), DVS)


def red(vni: int = 5001) -> NetworkSubject:
    return NetworkSubject(Vni(vni))


def claim(key: int, vni: int = 5001, on: int = 1, assigned: int | None = None) -> Claim:
    return Claim(place(key), host(on), red(vni), (SWITCH,), Vid(assigned) if assigned else None)


def worn(vid: int, vni: int = 5001, on: int = 1, hold: Hold = Hold.OPEN, key: int | None = 99) -> Worn:
    return Worn(SWITCH, host(on), Vid(vid), red(vni), hold, None if key is None else place(key))


def pool(ranges: str = "100-109", **options: object) -> VidPool:
    return VidPool(VidSet.of(ranges), **options)  # type: ignore[arg-type]


def test_a_place_keeps_what_it_wears() -> None:
    allocation = allocate([claim(1)], [worn(107, key=1)], pool())
    assert allocation.bindings == {place(1): 107}


def test_a_network_gets_the_vid_it_has_on_this_host_before_that_of_a_sibling_host() -> None:
    seen = [worn(103, on=2), worn(108, on=1, key=98)]
    assert allocate([claim(1)], seen, pool()).bindings == {place(1): 108}
    assert allocate([claim(1)], seen[:1], pool()).bindings == {place(1): 103}


def test_a_vid_that_only_an_nve_still_maps_is_not_free() -> None:
    seen = [worn(vid, vni=6000 + vid, hold=Hold.KNOWN, key=None) for vid in range(100, 109)]
    assert allocate([claim(1)], seen, pool()).bindings == {place(1): 109}


def test_a_vid_that_an_nve_would_not_take_now_is_given_to_nobody_and_who_has_it_keeps_it() -> None:
    unfit = {SWITCH: {"leaf:one": VidSet.of("100-105"), "leaf:two": VidSet.of("104-108")}}
    assert allocate([claim(1)], [], pool(), unfit=unfit).bindings == {place(1): 109}
    seen = [worn(107, key=1), worn(103, vni=6000, key=98)]
    kept = allocate([claim(1), claim(2, vni=6000), claim(3, assigned=105, vni=6001)], seen, pool(), unfit=unfit)
    assert kept.bindings == {place(1): 107, place(2): 103, place(3): 105}
    [unmet] = allocate([claim(1)], [worn(109, vni=6000)], pool(), unfit=unfit).unmet
    assert "reserved, or not taken now by leaf:one (100-105), or not taken now by leaf:two (104-108)" in unmet.reason


def test_reserved_vids_are_never_given_out_and_a_reservation_on_one_host_counts_there_alone() -> None:
    reserving = pool("100-101", reserved=VidSet.of("100"))
    assert allocate([claim(1)], [], reserving).bindings == {place(1): 101}
    on_one = pool("100-101", reserved_in={host(2): VidSet.of("100")})
    both = allocate([claim(1), claim(2, on=2)], [worn(100, key=1)], on_one)
    assert both.bindings == {place(1): 100, place(2): 101}


def test_foreign_wearers_are_left_their_vid() -> None:
    foreign = Worn(SWITCH, None, Vid(100), ForeignSubject("port group 7"), Hold.OPEN)
    allocation = allocate([claim(1)], [foreign, worn(100, key=1)], pool("100-101"))
    assert allocation.bindings == {place(1): 101}


def test_an_exhausted_switch_leaves_the_claim_unmet_with_a_reason_and_others_as_they_are() -> None:
    seen = [worn(100, vni=6000), worn(101, vni=6001, key=98)]
    allocation = allocate([claim(1), claim(2, vni=6000)], seen, pool("100-101"))
    assert allocation.bindings == {place(2): 100}
    [unmet] = allocation.unmet
    assert unmet.about == str(place(1))
    assert "no VID left of 2 (100-101)" in unmet.reason
    assert allocate([claim(1), claim(2, vni=6000)], seen[:1], pool("100-101")).bindings[place(1)] == 101


def test_a_warning_comes_at_80_percent() -> None:
    seen = [worn(100 + n, vni=6000 + n, key=50 + n) for n in range(7)]
    assert allocate([claim(1, vni=6000)], seen, pool()).warnings == ()
    assert "8 of 10 VIDs" in allocate([claim(1)], seen, pool()).warnings[0]


def test_an_assigned_vid_is_taken_or_waited_for_never_replaced() -> None:
    assert allocate([claim(1, assigned=105)], [], pool()).bindings == {place(1): 105}
    waiting = allocate([claim(1, assigned=105)], [worn(105, vni=6000)], pool())
    assert waiting.bindings == {}
    assert "still worn by VNI 6000" in waiting.unmet[0].reason


def test_two_closed_claims_that_meet_both_step_aside_and_traffic_steps_aside_for_neither() -> None:
    meeting = [worn(100, vni=5001, key=1, hold=Hold.CLAIMED), worn(100, vni=5002, key=2, on=2, hold=Hold.CLAIMED)]
    given_out = allocate([claim(1), claim(2, vni=5002, on=2)], meeting, pool()).bindings
    assert 100 not in given_out.values()
    flowing = [worn(100, vni=5001, key=1), worn(100, vni=5002, key=2, on=2, hold=Hold.CLAIMED)]
    allocation = allocate([claim(1), claim(2, vni=5002, on=2)], flowing, pool())
    assert allocation.bindings[place(1)] == 100
    assert allocation.bindings[place(2)] != 100


def test_a_vid_set_by_hand_outside_the_ranges_is_not_kept_but_one_older_than_the_ranges_is() -> None:
    assert allocate([claim(1)], [worn(50, key=1)], pool()).bindings[place(1)] != 50
    older = [worn(50, key=1), worn(50, hold=Hold.KNOWN, key=None)]
    assert allocate([claim(1)], older, pool()).bindings[place(1)] == 50


@given(
    claims=st.lists(st.tuples(st.integers(1, 6), st.integers(5001, 5004), st.integers(1, 3)), max_size=6),
    seen=st.lists(
        st.tuples(st.integers(100, 104), st.integers(5001, 5006), st.integers(1, 3), st.sampled_from(list(Hold))),
        max_size=6,
    ),
)
def test_no_vid_is_ever_given_to_two_subjects_and_none_is_taken_from_its_wearer(claims, seen) -> None:  # type: ignore[no-untyped-def]
    wanted = list({key: claim(key, vni, on) for key, vni, on in claims}.values())
    wears = [worn(vid, vni, on, hold, key=50 + n) for n, (vid, vni, on, hold) in enumerate(seen)]
    allocation = allocate(wanted, wears, pool("100-104"))
    subject = {c.place: c.subject for c in wanted}
    owner: dict[int, object] = {}
    for at, vid in allocation.bindings.items():
        assert owner.setdefault(vid, subject[at]) == subject[at]
        rivals = {w.subject for w in wears if w.vid == vid and w.hold is not Hold.CLAIMED} - {subject[at]}
        mine = [w for w in wears if w.vid == vid and w.subject == subject[at]]
        assert not rivals or any(w.hold >= Hold.KNOWN for w in mine)
    assert len(allocation.bindings) + len(allocation.unmet) == len(wanted)


@given(st.permutations([claim(1, 5001), claim(2, 5002), claim(3, 5001, on=2), claim(4, 5003, on=3)]))
def test_the_order_of_claims_does_not_matter(claims) -> None:  # type: ignore[no-untyped-def]
    first = next(permutations(sorted(claims, key=lambda c: str(c.place))))
    assert allocate(claims, [], pool()).bindings == allocate(first, [], pool()).bindings


@pytest.mark.slow
def test_20_000_networks_fit_on_64_hosts_of_one_switch_under_reuse() -> None:
    reuse = VidPool(VidSet.of("1-4094"), reuse=True)
    claims = []
    for number in range(20_000):
        for copy in range(3):  # each network has ports on three of the hosts
            on = host((number * 7 + copy * 21) % 64)
            claims.append(Claim(place(number * 3 + copy), on, red(5001 + number), (on,)))
    allocation = allocate(claims, [], reuse)
    assert allocation.unmet == ()
    seen: dict[tuple[object, int], object] = {}
    for c in claims:
        assert seen.setdefault((c.scope, allocation.bindings[c.place]), c.subject) == c.subject


def test_of_two_that_wear_one_vid_openly_all_writers_choose_the_one_that_would_have_found_it_sooner() -> None:
    """Where others allocate, too, what the own NVE knows would make each writer choose its own; pools may differ."""
    pools = [VidPool(VidSet.of(ranges)) for ranges in ("100-149", "100-101", "1-4094", "200-300")]
    finds = {vni: allocate([claim(1, vni=vni)], [], pools[0]).bindings[place(1)] for vni in range(5000, 5040)}
    kept = 0
    for vni, vid in finds.items():
        stranger = next(other for other in finds if finds[other] != vid)
        chosen = set()
        for order in ((vni, stranger), (stranger, vni)):
            seen = [worn(int(vid), key=number, vni=which) for number, which in enumerate(order, 1)]
            chosen |= {allocate([], seen, pool, shared={SWITCH}).owners[SWITCH, vid] for pool in pools}
        assert len(chosen) == 1
        kept += chosen == {red(vni)}
    assert kept > 35, "who came to its VID by itself nearly always keeps it"
