"""Is the network fed and evaluated right, and can the figures above be believed?

The checks of `ostrich doctor`, on the same images.
"""

from __future__ import annotations

from dataclasses import asdict

import torch

from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Table
from ostrich.crashtest.context import Context
from ostrich.crashtest.plan import ANYTIME
from ostrich.diagnosis import ModelUnderTest, examine
from ostrich.diagnosis.checks import out_of_time
from ostrich.figures.words import several

TITLE = "What the doctor says"
COST = ANYTIME


def probe(context: Context) -> Answer:
    """The question of this file."""
    rows = torch.tensor(context.rows("doctor"))
    labels = None if context.samples.labels is None else context.labels[rows]
    model = ModelUnderTest(
        classifier=context.classifier,
        images=context.images[rows],
        labels=labels,
        surrogate=context.attacked.surrogate,
        samples=context.samples.take(rows.tolist()),
        seed=context.seed,
    )
    found = examine(model, progress=context.progress)
    findings = [asdict(finding) for finding in found.findings]
    asked = several(len(found.done), "check")
    late = out_of_time(found.skipped)
    if findings:
        listed = ", ".join(finding["code"] for finding in findings)
        sentence = f"Of {asked}, {len(findings)} found a fault: {listed}."
    else:
        sentence = f"{'' if late else 'Nothing speaks against these figures: '}{asked} found no fault."
    if late:
        sentence += f" For {len(late)} more there was no time."
    columns = ["what it is", "evidence", "what to do"]
    tables = [
        Table(columns=[kind, *columns], rows=[[f.code, f.sentence, f.evidence, f.fix] for f in listed])
        for kind, listed in (("fault", found.findings), ("remark", found.remarks))
        if listed
    ]
    checked = [[name, "no fault" if not findings else "done"] for name in found.done]
    checked += [[one["check"], one["reason"]] for one in found.skipped]
    return Answer(
        sentence=sentence,
        how_to_read="A fault of the input or of the outputs makes every other figure meaningless; a fault of "
        "the gradients makes robust accuracy too high. Repair it and check again.",
        figures={"n": len(rows), "findings": findings, "checks": found.done, "skipped": found.skipped},
        blocks=[*tables, Table(columns=["check", "answer"], rows=checked)],
    )
