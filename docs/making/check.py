"""After the build: nothing from outside, no broken link inside, no tutorial over its time.

python docs/making/check.py docs/_build/html
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

MOST_SECONDS = 40
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page loads, where its links lead, and what can be led to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        rel = given.get("rel", "")
        if tag in LOADED and LOADED[tag] in given and rel not in ("canonical", "prev", "next"):
            self.loads.append(given[LOADED[tag]])


def faults(site: Path) -> list[str]:
    """Sentences, a fault each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name} loads {url}" for url in page.loads if urlsplit(url).netloc]
        for url in page.links + page.loads:
            target = urlsplit(url)
            if target.scheme or target.netloc:
                continue
            to = (path.parent / unquote(target.path)).resolve() if target.path else path
            if not to.exists():
                found.append(f"{name} leads to {url}, which is not there")
            elif target.fragment and to in pages and unquote(target.fragment) not in pages[to].ids:
                found.append(f"{name} leads to {url}; there is no such place on that page")
    return sorted(set(found))


def slow(made: Path) -> list[str]:
    """Tutorials that took longer than a reader waits."""
    found = []
    for path in sorted(made.glob("*.rst")):
        time = re.search(r"\((\d+) minutes (\d+\.\d+) seconds\)", path.read_text(encoding="utf-8"))
        if time and 60 * int(time[1]) + float(time[2]) > MOST_SECONDS:
            found.append(
                f"{path.stem} took {time[1]} minutes {time[2]} seconds; {MOST_SECONDS} s are allowed"
            )
    return found


def main(folder: str) -> int:
    """Print what is wrong; 1 where anything is. A slow tutorial is said, and no fault: machines differ."""
    site = Path(folder)
    for sentence in slow(Path(__file__).parents[1] / "made" / "tutorials"):
        sys.stdout.write(f"Slow here: {sentence}.\n")
    wrong = faults(site)
    for sentence in wrong:
        sys.stdout.write(f"{sentence}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
