"""What DATA may look like: one table for `ostrich list data`, the help, and what is said of wrong data."""

from __future__ import annotations

FORMS = {  # a form, and what it is; in brackets the splits, of which test is the default
    "toybox": "rendered scenes of ten objects, 64x64 [:train|:test]",
    "photographs": "eight that scikit-image and scikit-learn carry, without labels",
    "digits": "handwritten digits, 8x8, grey [:train|:test]",
    "cifar10": "CIFAR-10, downloaded, or cifar10:PATH in folders [:train|:test]",
    "folder:PATH": "class folders, images inside at any depth [:train|:val|:test]",
    "images:PATH": "a folder of images without labels: the label is the prediction",
    "csv:FILE": "a table with the columns path (or file_name) and label (or class)",
    "jsonl:FILE": "the same, an object a line",
    "npz:FILE": "arrays images and labels, x_test and y_test, or as MedMNIST names them [:train|:val|:test]",
    "PATH.py:FUNCTION": "a torch Dataset, or arrays and labels, that your function returns",
    "hf:DIR": "a folder of Hugging Face's datasets: metadata beside images, parquet or arrow files "
    "[:train|:val|:test]",
    "webdataset:FILE": "a tar file of key.jpg and key.cls or key.json; several: a folder of them, or "
    "part-{000..099}.tar; FILE, and PATH of folders and images, may be an address, s3://...",
    "torchvision:NAME:PATH": "MNIST, FashionMNIST, CIFAR10, CIFAR100, SVHN or STL10 as torchvision stores it "
    "[:train|:test]",
    "clips:PATH": "videos, or folders of frames, for generators of clips",
    "faces": "100 faces and 100 others, grey, 140x140 [:train|:test]; faces:astronaut is one photograph",
    "face-windows": "faces and what is none in windows of 24x24, grey [:train|:test]",
    "generator:NAME": "samples of a generator, bundled or in the folder of its run",
    "mesh:FILE": "views of a textured mesh",
    "mesh:toybox/NAME": "views of an object of the toybox",
}
OF_CLIPS = "clips:PATH"  # what classifies images does not take it
LISTED = f"image files, {', '.join(form for form in FORMS if form != OF_CLIPS)}"


def known_data() -> list[dict[str, str]]:
    """The rows of `ostrich list data`: data that has a name."""
    return [{"name": name, "what": what} for name, what in FORMS.items()]
