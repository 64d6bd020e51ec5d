"""Is the head made for these classes, and was all of the data read?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ostrich.data.walking import counted
from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.significance import agreement_test, p_value_text

FEWEST = 20  # images
CHANCE = 0.05
PICTURES = (".heic", ".heif", ".hif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".dcm", ".svg", ".pdf", ".psd")
TABLES = (".npz", ".mat", ".parquet", ".arrow", ".tar", ".h5", ".hdf5", ".tfrecord")


def head(model: ModelUnderTest) -> Iterator[Finding]:
    """A network whose answers agree with the labels no better than the same answers dealt out by chance.

    So one that tells a rare class from a frequent one has a head, though to say the frequent one of
    everything were right more often. What order or input would explain has been looked for before.
    """
    if model.labels is None:
        raise NotApplicable("The images have no labels.")
    count, known = len(model.labels), set(model.labels.tolist())
    if count < FEWEST:
        raise NotApplicable(f"With {count} images chance cannot be told from ability.")
    if agreement_test(model.labels, model.labels) > CHANCE:  # of a network without a mistake
        raise NotApplicable("Nearly all images are of one class, so that chance cannot be told from ability.")
    p = agreement_test(model.predictions, model.labels)
    if p <= CHANCE:
        return
    said, there = (Counter(classes.tolist()) for classes in (model.predictions, model.labels))
    right = float((model.predictions == model.labels).double().mean())
    dealt = sum(said[k] * there[k] for k in known) / count**2
    elsewhere = 1 - sum(said[k] for k in known) / count
    matched = "" if model.matching is None else f", matched {model.matching.sentence}"
    yield Finding(
        code="wrong-head",
        sentence="The network is no better than guessing: its head is not made for these classes, or not "
        "trained.",
        evidence=f"{right:.1%} right; the same answers dealt out by chance reach {dealt:.1%} (n = {count}, "
        f"{p_value_text(p)}). The network has {model.logits.shape[1]} classes, the images {len(known)}"
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
