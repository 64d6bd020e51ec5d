"""How often is the network right, and what does it confuse?"""

from __future__ import annotations

from collections import Counter

from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Confusion, Confusions, Number
from ostrich.crashtest.context import Context
from ostrich.crashtest.plan import ANYTIME
from ostrich.figures.words import in_percent, several
from ostrich.statistics import wilson

TITLE = "Clean accuracy"
COST = ANYTIME
SHOWN = 8  # confusions


def probe(context: Context) -> Answer:
    """The question of this file."""
    count, right = len(context.samples), int(context.correct.sum())
    if context.samples.labels is None:
        return Answer(
            sentence=f"The {several(count, 'image')} {'has' if count == 1 else 'have'} no labels: what the "
            "network says of them counts as right.",
            how_to_read="Without labels, accuracy is not known; attacks try to change the prediction.",
            figures={"n": count, "accuracy": None, "interval": None},
            blocks=[Number(label="clean accuracy", value=None, interval=None, n=count)],
        )
    interval = wilson(right, count)
    confusions = _confusions(context)
    sentence = f"It is right on {right} of {several(count, 'image')} ({in_percent(right / count)})."
    if confusions:
        worst = confusions[0]
        times = "once" if worst.count == 1 else f"{worst.count} times"
        sentence += f" Its most frequent confusion: {worst.true} taken for {worst.predicted}, {times}."
    per_class = Counter(context.labels.tolist())
    return Answer(
        sentence=sentence,
        how_to_read="The bar is the 95 % interval (Wilson): another draw of as many images would likely "
        "fall inside it.",
        figures={
            "n": count,
            "accuracy": right / count,
            "interval": interval,
            "chance": _chance(per_class, context.classifier.num_classes),
            "classes": len(per_class),
            "confusions": [[c.true, c.predicted, c.count] for c in confusions],
        },
        blocks=[
            Number(label="clean accuracy", value=right / count, interval=interval, n=count),
            Confusions(rows=confusions),
        ],
    )


def _chance(per_class: Counter[int], num_classes: int) -> float:
    """What guessing reaches: the share of the most frequent class; of images of one class, one of K."""
    uniform = 1 / num_classes
    return max(uniform, max(per_class.values()) / per_class.total()) if len(per_class) > 1 else uniform


def _confusions(context: Context) -> list[Confusion]:
    predictions, labels = context.predictions.tolist(), context.labels.tolist()
    wrong = [(y, p) for y, p in zip(labels, predictions, strict=True) if y != p]
    rows = []
    for (label, predicted), times in Counter(wrong).most_common(SHOWN):
        example = next(
            i for i, pair in enumerate(zip(labels, predictions, strict=True)) if pair == (label, predicted)
        )
        rows.append(
            Confusion(
                true=context.classifier.class_name(label),
                predicted=context.classifier.class_name(predicted),
                count=times,
                file=context.save(f"confusion-{label}-{predicted}", context.images[example]),
            )
        )
    return rows
