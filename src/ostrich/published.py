"""Published numbers, in one table, with their sources. Studies and tests compare with these.

`read` says whether the number was read at the source itself, or taken from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostrich.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number: `value` in `unit`, and where it stands."""

    value: float
    unit: str
    source: str
    read: bool


_ALEX = "Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks"
_ZEILER = "Zeiler & Fergus 2014, Visualizing and understanding convolutional networks"
_HE = "He et al. 2016, Deep residual learning for image recognition"
_YOSINSKI = "Yosinski et al. 2015, Understanding neural networks through deep visualization"
_TOOLBOX = "Deep Visualization Toolbox, doc/running-optimize-image.md"
_DGN_AM = "Nguyen et al. 2016, Synthesizing the preferred inputs for neurons in neural networks"
_DEEPSIM = "Dosovitskiy & Brox 2016, Generating images with perceptual similarity metrics"
_VISUALISATION = ("decay", "blur-sigma", "blur-every", "small-norm", "small-contribution", "steps", "rate")
_IN = ("of 1", "pixels", "steps", "% of pixels", "% of pixels", "steps", "in values of 0..255")
_BN = "Ioffe & Szegedy 2015, Batch normalization"
_MISHKIN = "Mishkin et al. 2017, Systematic evaluation of CNN advances on the ImageNet, benchmark"
_RAZAVIAN = "Razavian et al. 2014, CNN features off-the-shelf, tables 1 and 2"
_RECTIFIERS = "He et al. 2015, Delving deep into rectifiers"
_DROP = "Srivastava et al. 2014, Dropout"
_IMAGENET_C = "Hendrycks & Dietterich 2019, Benchmarking neural network robustness, errors of AlexNet"
PUBLISHED = {
    **{
        f"inception{kind}/{what}": Published(value=value, unit=unit, source=f"{_BN}, figure 3", read=True)
        for kind, steps, accuracy in (
            ("", 31.0, 72.2),
            ("-bn-baseline", 13.3, 72.7),
            ("-bn-x5", 2.1, 73.0),
            ("-bn-x30", 2.7, 74.8),
        )
        for what, value, unit in (
            ("steps-to-72.2", steps, "million steps"),
            ("top1-accuracy", accuracy, "% of ImageNet validation, the best"),
        )
    },
    **{
        f"caffenet128-{images}k/accuracy": Published(
            value=value, unit="of ImageNet validation", source=f"{_MISHKIN}, data set size", read=True
        )
        for images, value in ((200, 0.305), (400, 0.393), (600, 0.425), (800, 0.438), (1200, 0.471))
    },
    **{
        f"caffenet128-noise{share}/accuracy": Published(
            value=value,
            unit="of ImageNet validation",
            source=f"{_MISHKIN}, {share} % wrong labels",
            read=True,
        )
        for share, value in ((5, 0.458), (10, 0.447), (15, 0.437), (50, 0.347))
    },
    **{
        f"off-the-shelf-{task}/{what}": Published(value=value, unit=unit, source=_RAZAVIAN, read=True)
        for task, unit, values in (
            ("voc07", "mean average precision", (73.9, 77.2, 71.1)),
            ("mit67", "% right", (58.4, 69.0, 64.0)),
        )
        for what, value in zip(("cnn", "cnn-augmented", "before"), values)
    },
    **{
        f"he2015-{depth}-layers-{start}/top1-error": Published(
            value=error, unit="% of ImageNet validation", source=f"{_RECTIFIERS}, section 2.2", read=True
        )
        for depth, start, error in ((14, "xavier", 33.90), (14, "he", 33.82), (30, "he", 38.56))
    },
    "he2015-gradient-shrinks": Published(
        value=1.7e4,
        unit="times, from conv10 to conv2 of a VGG net that starts from N(0, 0.01)",
        source=f"{_RECTIFIERS}, section 2.2",
        read=True,
    ),
    **{
        f"mnist-{network}/test-error": Published(
            value=error, unit="% of 10,000 images", source=f"{_DROP}, table 2", read=True
        )
        for network, error in (("mlp", 1.60), ("mlp-dropout", 1.25), ("mlp-dropout-max-norm", 1.06))
    },
    **{
        f"cifar10-resnet{depth}/test-error": Published(
            value=error, unit="% of 10,000 images", source=f"{_HE}, table 6", read=False
        )
        for depth, error in ((20, 8.75), (32, 7.51), (44, 7.17), (56, 6.97), (110, 6.43))
    },
    **{
        f"cifar10-resnet{depth}/parameters": Published(
            value=count, unit="million", source=f"{_HE}, table 6", read=False
        )
        for depth, count in ((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7))
    },
    **{
        f"imagenet-{name}/top1-error": Published(
            value=error, unit="% of ImageNet validation, 10 crops", source=f"{_HE}, table 2", read=True
        )
        for name, error in (("plain18", 27.94), ("plain34", 28.54), ("resnet18", 27.88), ("resnet34", 25.03))
    },
    "alexnet/parameters": Published(value=60, unit="million", source=f"{_ALEX}, abstract", read=True),
    "alexnet/units": Published(value=650_000, unit="neurons", source=f"{_ALEX}, abstract", read=True),
    "alexnet/units-layer1": Published(value=253_440, unit="neurons", source=f"{_ALEX}, figure 2", read=True),
    "alexnet/2010-top1-error": Published(
        value=37.5, unit="% of ILSVRC-2010 test", source=f"{_ALEX}, table 1", read=True
    ),
    "alexnet/2010-top5-error": Published(
        value=17.0, unit="% of ILSVRC-2010 test", source=f"{_ALEX}, table 1", read=True
    ),
    "alexnet/top1-error": Published(
        value=40.7, unit="% of ILSVRC-2012 validation", source=f"{_ALEX}, table 2", read=False
    ),
    "alexnet/top5-error": Published(
        value=18.2, unit="% of ILSVRC-2012 validation", source=f"{_ALEX}, table 2", read=False
    ),
    "alexnet-5-networks/top5-error": Published(
        value=16.4, unit="% of ILSVRC-2012 validation", source=f"{_ALEX}, table 2", read=False
    ),
    # What errors under common corruptions are divided by: AlexNet's, the mean of five severities.
    **{
        f"alexnet-imagenet-c/{name}-error": Published(
            value=error,
            unit="of ImageNet-C",
            source=f"{_IMAGENET_C} (numbers as evaluations hold them)",
            read=False,
        )
        for name, error in {
            "gaussian_noise": 0.886428,
            "shot_noise": 0.894468,
            "impulse_noise": 0.922640,
            "defocus_blur": 0.819880,
            "glass_blur": 0.826268,
            "motion_blur": 0.785948,
            "zoom_blur": 0.798360,
            "snow": 0.866816,
            "frost": 0.826572,
            "fog": 0.819324,
            "brightness": 0.564592,
            "contrast": 0.853204,
            "elastic_transform": 0.646056,
            "pixelate": 0.717840,
            "jpeg_compression": 0.606500,
        }.items()
    },
    "alexnet-imagenet-c/clean-error": Published(
        value=0.4348, unit="of ImageNet validation", source="torchvision, alexnet: 56.52 % right", read=False
    ),
    # The cut versions, trained from scratch: the paper's table, and the rise of top-5 error as told in
    # Fergus's tutorial slides, which stands in no version of the paper.
    **{
        f"alexnet{cut}/{what}": Published(
            value=error, unit="% of ImageNet", source=f"{_ZEILER}, table 3", read=True
        )
        for cut, errors in (
            ("-replica", (35.1, 40.5, 18.1)),
            ("-without-7", (27.4, 40.0, 18.4)),
            ("-without-67", (27.4, 44.8, 22.4)),
            ("-without-34", (41.8, 45.4, 22.1)),
            ("-without-3467", (71.1, 71.3, 50.1)),
        )
        for what, error in zip(("train-top1-error", "top1-error", "top5-error"), errors)
    },
    **{
        f"alexnet-without-{cut}/top5-rise-on-slides": Published(
            value=rise, unit="points", source="Fergus, tutorial slides on convolutional networks", read=False
        )
        for cut, rise in (("7", 1.1), ("67", 5.7), ("34", 3.0), ("3467", 33.5))
    },
    # The four good settings; where "progress" is not zero, "rate" is the largest one. Table 1 of the paper
    # gives them as in the toolbox, whose words were read; the start and the trace are of its code and run.
    **{
        f"yosinski-{row}/{name}": Published(
            value=value, unit=unit, source=f"{_YOSINSKI}, table 1; {_TOOLBOX}", read=True
        )
        for row, values in (
            (1, (0, 0.5, 4, 50, 0, 500, 100, 2)),
            (2, (0.3, 0, 0, 20, 0, 750, 100, 0)),
            (3, (1e-4, 1.0, 4, 0, 0, 1000, 100, 0)),
            (4, (0, 0.5, 4, 0, 90, 1000, 1e8, 2)),
        )
        for name, value, unit in zip(
            (*_VISUALISATION, "progress"), values, (*_IN, "of the unit, a step"), strict=True
        )
    },
    # For codes of CaffeNet's fc6, whose lowest is 0.
    **{
        f"dgn-am/{name}": Published(value=value, unit=unit, source=f"{_DGN_AM}, act_max.py", read=True)
        for name, value, unit in (
            ("start", 1, "standard deviation of a code unit, mean 0"),
            ("steps", 200, "steps"),
            ("rate", 8.0, "mean change of a code unit in the first step, falling linearly to 0"),
            ("decay", 0.01, "of 1, a step"),
            ("deviations", 3, "above a code unit's mean, its highest value"),
        )
    },
    # For sums over values of 0..255 and over features of AlexNet's conv5.
    **{
        f"deepsim/{name}-weight": Published(value=value, unit="of a loss", source=_DEEPSIM, read=False)
        for name, value in (("feature", 0.01), ("adversarial", 100.0), ("image", 2e-6))
    },
    "yosinski/start": Published(
        value=10,
        unit="standard deviation, in values of 0..255",
        source="Deep Visualization Toolbox, optimize/gradient_optimizer.py",
        read=True,
    ),
    **{
        f"yosinski/start-value-{place}": Published(
            value=value, unit="in values of 0..255, seed 0", source="Deep Visualization Toolbox", read=True
        )
        for place, value in ((1, 17.6405234597), (2, 4.00157208367))
    },
}


def published(name: str) -> Published:
    """The number of that name. Raises UnknownName."""
    if name not in PUBLISHED:
        raise UnknownName("published number", name, PUBLISHED)
    return PUBLISHED[name]
