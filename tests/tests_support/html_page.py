"""A page of HTML taken apart, for tests that look at every tag."""

from __future__ import annotations

from html.parser import HTMLParser

ADDRESSES = ("href", "src", "hx-get", "action")


class Page(HTMLParser):
    """Every tag with its attributes, and the text inside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._is_inline = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.tags.append((tag, dict(attrs)))
        self._is_inline = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or style."""
        self._is_inline = False

    def handle_data(self, data: str) -> None:
        """Keep what stands inside a script or style."""
        if self._is_inline:
            self.inline += data.strip()

    def addresses(self) -> set[str]:
        """Everything that the page links to or loads."""
        return {attrs[name] or "" for _, attrs in self.tags for name in ADDRESSES if name in attrs}
