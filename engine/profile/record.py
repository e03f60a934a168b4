"""A profile: of a network's training or of a function; one text, one page, one trace for both."""

from typing import Any

from lenumba.engine.common.html import text_html


class Profile(dict[str, Any]):
    """What was measured, as JSON has it; in a notebook, its page.

    Both kinds have ``version``, ``kind`` (``"training"`` or ``"function"``), ``name``, ``threads``, ``rows`` (name, ms
    with ``median_ms``, ``least_ms`` and ``noise``, share, work and limits) and ``trace``.
    """

    @property
    def text(self) -> str:
        """The profile for a terminal."""
        from lenumba.engine.profile.report import profile_text

        return profile_text(self)

    @property
    def html(self) -> str:
        """The page."""
        from lenumba.engine.profile.html import profile_html

        return profile_html(self)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<profile of {self['name']}>"

    def _repr_html_(self) -> str:
        return text_html(self.text)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text)
