"""The GANs by name, as specs: `dcgan,size=32,width=0.5`; written as those of `models.architectures`."""

from __future__ import annotations

from ostrich.generative.biggan import conditional_gan
from ostrich.generative.dcgan import dcgan
from ostrich.generative.gan import GAN
from ostrich.generative.inversion import inversion
from ostrich.generative.perceptron import perceptron_gan
from ostrich.generative.video_gan import video_gan
from ostrich.models.architectures import Architecture, build

GANS = {
    entry.name: entry
    for entry in (
        Architecture(
            name="perceptron",
            build=perceptron_gan,
            size=(28, 28),
            source="Goodfellow et al. 2014, Generative adversarial nets",
        ),
        Architecture(
            name="dcgan",
            build=dcgan,
            size=(64, 64),
            source="Radford et al. 2016, Unsupervised representation learning with deep convolutional GANs",
        ),
        Architecture(
            name="conditional",
            build=conditional_gan,
            size=(128, 128),
            source="Brock et al. 2019, Large scale GAN training for high fidelity natural image synthesis",
        ),
        Architecture(
            name="video",
            build=video_gan,
            size=(64, 64),
            source="Vondrick et al. 2016, Generating videos with scene dynamics",
        ),
        Architecture(
            name="inversion",
            build=inversion,
            size=(64, 64),
            source="Dosovitskiy and Brox 2016, Generating images with perceptual similarity metrics",
        ),
    )
}


def build_gan(spec: str) -> GAN:
    """The untrained GAN of a spec. Raises UnknownName, InputError."""
    gan, _, _ = build(spec, GANS, kind="GAN")
    assert isinstance(gan, GAN)
    return gan
