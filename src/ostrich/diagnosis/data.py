"""Is the head made for these classes, and was all of the data read?"""

from __future__ import annotations

from collections.abc import Iterator

from scipy import stats

from ostrich.data.walking import counted
from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.significance import p_value_text

FEWEST = 20  # images
CHANCE = 0.05
PICTURES = (".heic", ".heif", ".hif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".dcm", ".svg", ".pdf", ".psd")
TABLES = (".npz", ".mat", ".parquet", ".arrow", ".tar", ".h5", ".hdf5", ".tfrecord")


def head(model: ModelUnderTest) -> Iterator[Finding]:
    """A network that is not more often right than by guessing one of the data's classes.

    A binomial test against guessing the most frequent class; what order or input would explain has been
    looked for before.
    """
    if model.labels is None:
        raise NotApplicable("The images have no labels.")
    if len(model.labels) < FEWEST:
        raise NotApplicable(f"With {len(model.labels)} images chance cannot be told from ability.")
    there = model.labels.unique(return_counts=True)
    right = int((model.predictions == model.labels).sum())
    guessing = int(there[1].max()) / len(model.labels)
    p = float(stats.binom.sf(right - 1, len(model.labels), min(guessing, 1 - 1e-9)))
    if p <= CHANCE or len(there[0]) < 2:
        return
    known = set(there[0].tolist())
    elsewhere = sum(k not in known for k in model.predictions.tolist()) / len(model.labels)
    classes = model.logits.shape[1]
    matched = "" if model.matching is None else f", matched {model.matching.sentence}"
    yield Finding(
        code="wrong-head",
        sentence="The network is no better than guessing: its head is not made for these classes, or not "
        "trained.",
        evidence=f"{right / len(model.labels):.1%} right, guessing reaches {guessing:.1%} (n = "
        f"{len(model.labels)}, {p_value_text(p)}). The network has {classes} classes, the images {len(known)}"
        f"{matched}; {elsewhere:.0%} of its answers are classes that no image has.",
        fix="Give the weights that were trained on these classes with --weights FILE, the names of the "
        "network's outputs with --classes FILE, or say which class each folder is with --class-map FILE.",
    )


def unused(model: ModelUnderTest) -> Iterator[Finding]:
    """Files in the folder that are pictures or tables of them, and were not read."""
    if model.samples is None:
        raise NotApplicable("The images come from no folder.")
    kinds = {kind: number for kind, number in model.samples.unused.items() if _holds_images(kind)}
    if not kinds:
        return
    yield Finding(
        code="unused-files",
        sentence="Some of the pictures are not used.",
        evidence=f"{counted(kinds)}, beside {len(model.samples)} images that were chosen.",
        fix=" ".join(dict.fromkeys(_way_out(kind) for kind in sorted(kinds))),
    )


def _holds_images(kind: str) -> bool:
    return " " in kind.removeprefix("without a suffix") or kind in (*PICTURES, *TABLES)


def _way_out(kind: str) -> str:
    """How files of that kind are read."""
    if kind in PICTURES[:3]:
        return "pip install 'ostrich-vision[heif]' reads HEIC."
    if " beside " in kind:
        return "Put pictures that lie beside the class folders into one of them."
    if " below" in kind:
        return "Class folders are read by folder:PATH, pictures of one folder by images:PATH."
    if kind in TABLES:
        return "Tables are read by npz:FILE, hf:DIR or webdataset:FILE, others by PATH.py:FUNCTION."
    return "Convert them to PNG, or read them by PATH.py:FUNCTION."
