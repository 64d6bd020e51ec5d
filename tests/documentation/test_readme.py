"""The README names what there is, and where it leads to; `test_examples.py` runs its Python."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from ostrich.attacks import ATTACKS, IMAGE_AGNOSTIC
from ostrich.attribution import EXPLAINERS

README = Path(__file__).parents[2] / "README.md"
CLICKS = 4  # from the README to the source of what broke a network of one's own


def test_it_names_every_attack_and_explainer():
    named = set(re.findall(r"`([a-z0-9-]+)`", README.read_text()))
    assert named >= ATTACKS.keys() | IMAGE_AGNOSTIC.keys() | EXPLAINERS.keys()


def test_the_pictures_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text()):
        assert (README.parent / path).is_file(), path


def test_from_the_readme_to_an_own_result_and_the_source_of_its_attack_are_four_clicks_at_most():
    own = "ostrich check torchvision:resnet18 folder:photos --weights"
    assert own in README.read_text()  # a newcomer's first result, without a click
    page = README.parent / "docs/howto/network.md"
    assert own in page.read_text()
    source = Path(inspect.getfile(ATTACKS["pgd"]))
    assert reached(README)[page] + reached(page)[source] <= CLICKS


def reached(start: Path) -> dict[Path, int]:
    """The files that links lead to from a page, each with its clicks.

    The page of an attack shows its source.
    """
    found, pages = {start: 0}, [start]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)", page.read_text()) if page.suffix == ".md" else ():
            made = re.fullmatch(r"/made/attacks/(.+)\.md", link)
            to = Path(inspect.getfile(ATTACKS[made[1]])) if made else (page.parent / link).resolve()
            if to.is_file() and to not in found:
                found[to] = found[page] + 1
                pages.append(to)
    return found
