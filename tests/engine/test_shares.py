"""The share of slots: all for one alone, a part beside others, and first who has waited longest."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.engine.agenda import Pace
from cloaca_django.engine.rotation import Rotation
from cloaca_django.engine.shares import MAX_PARTS, Shares


@dataclass
class FakeSlots:
    """Slots of which only the number that is taken is known."""

    limit: int
    load: int = 0


@dataclass
class Tenant:
    schema: str
    shares: Shares
    held: int = 0
    queued: int = 0

    def wants(self):
        return self.queued > 0

    def room(self):
        return self.shares.room(self)


@dataclass
class House:
    """A worker's slots and its tenants, without a database."""

    limit: int
    cap: int | None = None
    left: int | None = None
    tenants: dict[str, Tenant] = field(default_factory=dict)

    def __post_init__(self):
        self.slots, self.rotation = FakeSlots(self.limit), Rotation()
        self.shares = Shares(
            self.slots, self.rotation, self.tenants, limit=self.cap, left=lambda: self.left
        )

    def add(self, schema, *, held=0, queued=0):
        made = Tenant(schema, self.shares, held, queued)
        self.tenants[schema] = made
        self.slots.load += held
        return made

    def serve(self, tenant):
        """Let a tenant claim what it may, and wait if it wants more; returns how many."""
        taken = min(tenant.room(), tenant.queued)
        tenant.held += taken
        tenant.queued -= taken
        self.slots.load += taken
        if tenant.queued and tenant.room() <= 0 and not self.shares.is_full(tenant):
            self.rotation.starve(tenant.schema)
        return taken

    def end_one(self, tenant):
        tenant.held -= 1
        self.slots.load -= 1
        self.rotation.call(tenant.schema)

    def step(self):
        """One round of a worker; returns who claimed."""
        claimed = []
        guest = self.shares.next_guest()
        if guest is not None:
            self.rotation.forget(guest)
            claimed += [guest] * self.serve(self.tenants[guest])
        self.shares.see_off()
        one = self.rotation.take(0.0)
        if one is not None:
            claimed += [one] * self.serve(self.tenants[one])
        assert sum(tenant.held for tenant in self.tenants.values()) <= self.limit
        return claimed


def test_a_tenant_alone_may_have_all_slots():
    house = House(8)
    assert house.add("a", queued=100).room() == 8


def test_a_tenant_has_half_the_slots_while_another_waits():
    house = House(8)
    a, b = house.add("a", queued=100), house.add("b", queued=1)
    house.rotation.call("b")
    assert a.room() == 4
    b.queued = 0
    assert a.room() == 8


def test_a_part_is_never_less_than_one_slot_and_gets_no_smaller_beyond_some_tenants():
    house = House(2)
    for number in range(50):
        house.add(f"t{number}", queued=1)
        house.rotation.call(f"t{number}")
    assert house.tenants["t0"].room() == 1
    large = House(8 * MAX_PARTS)
    for number in range(50):
        large.add(f"t{number}", queued=100)
        large.rotation.call(f"t{number}")
    assert large.tenants["t0"].room() == 8


def test_nobody_has_more_than_its_limit_and_who_has_it_takes_no_part_of_others():
    house = House(8, cap=2)
    a, b = house.add("a", queued=100), house.add("b", held=2, queued=100)
    house.rotation.call("b")
    assert b.room() == 0
    assert house.shares.is_full(b)
    assert a.room() == 2
    free = House(8)
    free.cap = None
    assert free.add("a", queued=1).room() == 8


def test_who_is_full_does_not_stand_in_the_way_of_who_waits_for_a_slot():
    house = House(4, cap=1)
    house.add("a", held=1, queued=5)
    house.add("b", queued=5)
    house.rotation.starve("a")
    house.rotation.starve("b")
    assert house.shares.next_guest() == "b"


def test_no_more_is_claimed_than_the_worker_may_do_at_all():
    house = House(8, left=3)
    a = house.add("a", queued=100)
    assert a.room() == 3
    house.left = 0
    assert house.shares.is_full(a)


def test_a_free_slot_goes_to_who_waits_for_it_and_not_to_who_gave_it_back():
    house = House(1)
    a, b = house.add("a", held=1, queued=9), house.add("b", queued=1)
    house.serve(b)
    assert list(house.rotation.hungry()) == ["b"]
    house.end_one(a)
    assert a.room() == 0
    assert house.step() == ["b"]


def test_a_guest_may_take_what_is_kept_for_those_who_wait():
    house = House(2)
    house.add("a", queued=5)
    b = house.add("b", queued=5)
    house.rotation.starve("a")
    house.rotation.starve("b")
    assert house.shares.next_guest() == "a"
    assert b.room() == 1
    house.shares.see_off()


def test_who_wants_nothing_any_more_is_no_guest():
    house = House(2)
    house.add("a")
    house.rotation.starve("a")
    house.rotation.starve("unknown")
    assert house.shares.next_guest() is None
    assert list(house.rotation.hungry()) == []


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
@given(data=st.data(), count=st.integers(2, 12))
def test_a_tenant_with_one_run_waits_for_at_most_one_claim_of_each_other(slots, data, count):
    """Whatever order slots become free in, with all others flooded."""
    house = House(slots)
    flooded = [house.add(f"t{number}", queued=10_000) for number in range(count)]
    for tenant in flooded:
        house.rotation.call(tenant.schema)
    for _ in range(2 * count):
        house.step()
    house.add("small", queued=1)
    house.rotation.call("small")
    claims = []
    for _ in range(20 * count):
        claims += house.step()
        if "small" in claims:
            break
        busy = [tenant for tenant in flooded if tenant.held]
        house.end_one(data.draw(st.sampled_from(busy)))
    before = claims[: claims.index("small")]
    assert max(map(before.count, set(before)), default=0) <= max(1, -(-slots // MAX_PARTS))


def test_short_tasks_of_one_are_claimed_ahead_and_still_leave_room_for_another():
    house = House(4)
    ahead = Pace(4, whole=house.shares.pace)
    for _ in range(4):
        ahead.note(0.001, started=1.0)
    a, b = house.add("a", queued=10_000), house.add("b", queued=1)
    assert house.serve(a) == 4 + ahead.prefetch() > 100
    assert b.room() == 0
    house.serve(b)
    for _ in range(a.held // 2 + 1):
        house.end_one(a)
        house.rotation.take(0.0)
        assert house.serve(a) == 0
        if house.shares.next_guest() == "b":
            break
    assert house.shares.next_guest() == "b"


def test_who_stalls_slows_all_who_share_the_slots():
    whole = Pace(4)
    pace = Pace(4, whole=whole)
    pace.note(0.001)
    assert whole.prefetch() == pace.prefetch() > 0
    pace.slow_down()
    assert whole.prefetch() == pace.prefetch() == 0
