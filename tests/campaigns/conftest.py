"""What the campaigns share: how long they are, and a line for each in the summary of what was done.

`python -m pytest tests/campaigns --campaign` runs them at full length, without the option they take seconds.
Seeds are fixed, so that a finding can be repeated. Campaigns that take hours go on with what is left of them when they
are run again, and `--campaign-minutes M` has each of them end after M minutes.
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import pytest

NOTES = pytest.StashKey[list[str]]()
Item = TypeVar("Item")


class Campaign:
    """How much to do, and what was done."""

    def __init__(self, request: pytest.FixtureRequest, notes: list[str]):
        self.full: bool = request.config.getoption("--campaign")
        self._request, self._notes = request, notes

    def size(self, short: int, full: int) -> int:
        """Return how many cases to try: a few on every run of the tests, all with --campaign."""
        return full if self.full else short

    def each(self, cases: Sequence[Item], short: int, seed: int = 1) -> Iterator[Item]:
        """Yield cases to try, in an order that a seed draws: a few on every run of the tests, all with --campaign.

        There, pytest's cache folder keeps which are done (a case that fails is not), and those are passed over until
        all are.
        """
        order = random.Random(seed).sample(cases, len(cases))
        if not self.full:
            yield from order[:short]
            return
        config, name = self._request.config, self._request.node.name
        key, end = f"lenumba/campaigns/{name}", time.monotonic() + 60 * config.getoption("--campaign-minutes")
        done = set(config.cache.get(key, []))
        before = len(done)
        for case in order:
            if str(case) not in done and time.monotonic() < end:
                yield case
                config.cache.set(key, sorted(done := done | {str(case)}))
        tried = sum(str(case) in done for case in order)
        self.note(f"{name}: {tried} of {len(order)} cases done, {before} of them earlier")
        if tried == len(order):
            config.cache.set(key, [])

    def note(self, text: str) -> None:
        """Have the end of the run say what was done: counts and measured figures in one line."""
        self._notes.append(text)


@pytest.fixture
def campaign(request) -> Campaign:
    """Return the length of this run, and the list of what it did."""
    notes = request.config.stash.setdefault(NOTES, [])
    return Campaign(request, notes)


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Print what each campaign did."""
    if notes := config.stash.get(NOTES, []):
        terminalreporter.section("campaigns")
        for note in notes:
            terminalreporter.line(note)
