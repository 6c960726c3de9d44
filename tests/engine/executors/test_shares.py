"""Shares of one whole: whatever comes and goes, in whatever order it is told, nobody has too much."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from braze_etl.engine.executors.shares import Shares
from braze_etl.engine.tasks import Share


@dataclass
class Member:
    """Takes shares over a wire that delivers late; until then it goes by the last one."""

    processes: int = 1
    on_its_way: deque[int] = field(default_factory=deque)
    confirming: int = 0
    holds: int = 0
    """Over how many processes it takes the whole to be split; 0: it has no share."""

    def tell(self, share: Share) -> None:
        self.on_its_way.append(share.processes)

    def take(self) -> None:
        if self.on_its_way:
            self.holds = self.on_its_way.popleft()
            self.confirming += 1

    @property
    def part(self) -> float:
        return self.processes / self.holds if self.holds else 0.0


def member(name: int, shares: Shares, processes: int = 1) -> Member:
    found = Member(processes)
    shares.join(name, found.tell, processes=processes)
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "leave", "take", "confirm"]), st.integers(0, 5), st.integers(1, 3)
        ),
        max_size=80,
    )
)
def test_the_parts_of_all_members_never_exceed_the_whole_and_come_to_it_in_the_end(
    steps: list[tuple[str, int, int]],
) -> None:
    shares, members = Shares(), dict[int, Member]()
    for act, name, processes in steps:
        if act == "join" and name not in members:
            members[name] = member(name, shares, processes)
        elif act == "leave" and name in members:
            del members[name]
            shares.leave(name)
        elif act == "take" and name in members:
            members[name].take()
        elif act == "confirm" and name in members and members[name].confirming:
            members[name].confirming -= 1
            shares.confirm(name)
        assert sum(each.part for each in members.values()) <= 1 + 1e-9
    for _ in range(3 * len(members) + 3):
        for name, each in members.items():
            each.take()
            if each.confirming:
                each.confirming -= 1
                shares.confirm(name)
    whole = sum(each.processes for each in members.values())
    assert {each.holds for each in members.values()} <= {whole}
    assert shares.confirmed == whole


def test_the_only_one_has_the_whole_and_a_second_one_waits_until_it_has_given_up_half() -> None:
    shares = Shares()
    first = member(1, shares)
    first.take()
    shares.confirm(1)
    second = member(2, shares)
    assert (list(first.on_its_way), list(second.on_its_way)) == ([2], [])
    first.take()
    shares.confirm(1)
    assert list(second.on_its_way) == [2]


def test_when_one_is_gone_the_others_have_its_part_at_once() -> None:
    shares = Shares()
    first = member(1, shares)
    first.take()
    shares.confirm(1)
    member(2, shares)
    shares.leave(2)
    assert list(first.on_its_way) == [2, 1]


def test_a_number_from_above_is_told_to_all_and_to_who_comes_later() -> None:
    shares = Shares(given=True)
    first = member(1, shares)
    assert not first.on_its_way
    shares.give(Share(8))
    assert list(first.on_its_way) == [8]
    assert shares.confirmed == 0
    shares.confirm(1)
    assert shares.confirmed == 8
    assert list(member(2, shares).on_its_way) == [8]
