"""Of the study `breaking`: what its page shows, a line for each row, tables inside of some, a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ostrich.figures.chart import Chart
from ostrich.studies.points import percent, percent_words
from ostrich.studies.schema import Row, Table, Verdict


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a row came to: a figure with its interval, of n; `more` in words; the rule's verdict, if any."""

    value: float
    low: float
    high: float
    n: int
    what: str
    verdict: Verdict | None = None
    more: str = ""
    published: str = "-"
    digits: int = 1

    @property
    def here(self) -> str:
        low, high = (f"{end:.{self.digits}f}" for end in (self.low, self.high))
        more = f"; {self.more}" if self.more else ""
        return f"{self.value:.{self.digits}f} ({low} to {high}), n = {self.n}{more}"


def share(rows: Sequence[Row], field: str) -> tuple[float, float, float, int]:
    """Percent of the rows whose field is true, its interval, and how many rows there are."""
    n = len(rows)
    return *percent(sum(bool(row[field]) for row in rows), n), n


def because(
    verdicts: Mapping[str, Verdict], count: int, partial: Mapping[str, int], about: Row | None
) -> str:
    """The reason for the verdict of the whole: how many rows are judged, and how; how good the network is."""
    said = [
        f"{one}: {', '.join(name for name, given in verdicts.items() if given == one)}"
        for one in ("reproduced", "direction only", "not reproduced")
        if one in verdicts.values()
    ]
    beside = count - len(verdicts) - len(partial)
    parts = [f"Of {count} rows {len(verdicts)} are judged ({'; '.join(said) or 'none'})"]
    if beside:
        parts.append(f"{beside} have nothing comparable published beside them")
    if partial:
        parts.append(f"{len(partial)} are not whole yet")
    known = f" The network gets {about['right']} of {about['of']} images right." if about else ""
    return ", ".join(parts) + "." + known


def row_by_row(lines: Mapping[str, Line], partial: Mapping[str, int], seeds: int) -> Table:
    """All rows with their verdicts; `partial` are those of which not all of the `seeds` shares are there."""
    return Table(
        title="Row by row",
        columns=("row", "figure", "published", "here, 95 % interval", "n", "more", "verdict"),
        rows=[
            (
                name,
                one.what,
                one.published,
                f"{one.value:.{one.digits}f} ({one.low:.{one.digits}f} to {one.high:.{one.digits}f})",
                one.n,
                one.more or "-",
                f"so far, {partial[name]} of {seeds} shares"
                if name in partial
                else one.verdict or "beside, no rule",
            )
            for name, one in lines.items()
        ],
    )


def details(rows: Sequence[Row]) -> list[Table]:
    """Destruction by transformation, and what a universal perturbation does to other networks."""
    found = []
    parts: dict[str, list[Row]] = {}
    others: dict[str, list[Row]] = {}
    for row in rows:
        if row["kind"] == "transformation":
            parts.setdefault(row["transformation"], []).append(row)
        if row["kind"] == "transfer":
            others.setdefault(row["network"], []).append(row)
    if parts:
        columns = ("transformation", "destroyed, %", "n fooled", "clean images still right, %", "n")
        printed = []
        for name, some in parts.items():
            destroyed, fooled, kept, n = (
                sum(row[f] for row in some) for f in ("destroyed", "fooled", "kept", "attacked")
            )
            printed.append((name, percent_words(destroyed, fooled), fooled, percent_words(kept, n), n))
        found.append(Table(title="Printed: the destruction rate", columns=columns, rows=printed))
    if others:
        own = [row for row in rows if row["kind"] == "image" and row.get("row") == "universal"]
        judged = [
            (name, percent_words(sum(bool(row["changed"]) for row in some), len(some)), len(some))
            for name, some in {"the network itself": own, **others}.items()
        ]
        heads = ("judged on", "predictions changed, %", "n held out")
        found.append(
            Table(title="Universal: fitted on this network, judged on others", columns=heads, rows=judged)
        )
    return found


def charts(lines: Mapping[str, Line]) -> list[Chart]:
    """The figures that are percentages, beside what is published."""
    shown = {name: one for name, one in lines.items() if one.what.endswith("%")}
    if not shown:
        return []
    here, told = [], []
    for x, (name, one) in enumerate(shown.items()):
        here.append({"x": x, "y": one.value, "low": one.low, "high": one.high, "label": name})
        if one.published != "-":
            told += [{"x": x, "y": float(one.published.split(" to ")[0]), "label": name}]
    series = {"here": here, **({"published, the least": told} if told else {})}
    return [
        Chart(
            x_label="row",
            y_label="% of the images, or of confidence",
            series=series,
            even=True,
            fraction=False,
            dashed=frozenset({"published, the least"}),
        )
    ]
