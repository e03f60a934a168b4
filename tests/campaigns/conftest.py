"""What the campaigns share: how long they are, and a line for each in the summary of what was done.

`python -m pytest tests/campaigns --campaign` runs them at full length, without the option they take seconds.
Seeds are fixed, so that a finding can be repeated.
"""

import pytest

NOTES = pytest.StashKey[list[str]]()


class Campaign:
    """How much to do, and what was done."""

    def __init__(self, full: bool, notes: list[str]):
        self.full, self._notes = full, notes

    def size(self, short: int, full: int) -> int:
        """Return how many cases to try: a few on every run of the tests, all with --campaign."""
        return full if self.full else short

    def note(self, text: str) -> None:
        """Have the end of the run say what was done: counts and measured figures in one line."""
        self._notes.append(text)


@pytest.fixture
def campaign(request) -> Campaign:
    """Return the length of this run, and the list of what it did."""
    notes = request.config.stash.setdefault(NOTES, [])
    return Campaign(request.config.getoption("--campaign"), notes)


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Print what each campaign did."""
    if notes := config.stash.get(NOTES, []):
        terminalreporter.section("campaigns")
        for note in notes:
            terminalreporter.line(note)
