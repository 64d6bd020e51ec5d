"""A classifier: a network with its preprocessing, class names and input size.

Called on images (N, C, H, W) in [0, 1] it returns logits (N, K). It normalises and nothing else;
resizing happens when files are loaded, in 8 bits.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from ostrich.errors import InputError, OstrichError, UnknownName, first_line
from ostrich.images import INTERPOLATIONS
from ostrich.models.answers import NO_ANSWER
from ostrich.models.batch_dependence import APART, ONE_BY_ONE, depends, very_different
from ostrich.models.batches import SIDES, Batches, exactly, fixed_batch, images_per_forward
from ostrich.models.channels import guessed_channels, other_channels, per_channel
from ostrich.models.channels import input_channels as input_channels
from ostrich.models.class_names import class_index
from ostrich.models.exported import settled
from ostrich.models.outputs import Reading, recognised
from ostrich.models.preprocessing import described
from ostrich.models.quantised import content, is_dynamic, is_quantised
from ostrich.models.returned import FailsOnImage, OtherRows, Reached
from ostrich.models.untouched import is_compiled, uncompiled, untouched, unwrapped
from ostrich.runtime import events
from ostrich.runtime.deadline import check_time, in_its_own_time
from ostrich.runtime.randomness import seeded, undrawn

DRAWS = 20  # answers to an image, of a network whose answers are random
REENTRANT = "it checkpoints with use_reentrant=True; change that to use_reentrant=False, the same function"
RANDOM = "its answers are random, and no attack averaged over them"
SAID = 110  # characters of a network's own complaint
TAKEN = 3  # sizes that are named to who gave one that the network does not take
FOOLED = 0.8  # of them, that a success has to fool
AS_WRITTEN = "it runs as it is written: what torch.compile made of it is left aside"
HALVES = (torch.float16, torch.bfloat16)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Classifier:
    """A network, or only a prediction function, that classifies images.

    `name` is what it is called, `source` where it is from; `channels` that it takes, where they are not given
    those of its first convolution, or others that `probe` finds where it does not take so many; `class_names`
    K of them, in the order of the logits. `size` is the input (H, W), None where any will do; `resize` the
    shorter side before the centre crop, or both (H, W), and `interpolation` how, as in `images.fit`; `mean`
    and `std` per channel, None for no normalisation; `checksum` of what a function computes, since it has no
    tensors. What a network or function may return stands in `outputs`; `output` chooses where it is not
    clear, as --output.
    `batch` is the only number of images that the network takes at once, None where any will do; the
    classifier takes any: it fills the network's batch up. Where it is not given, `probe` finds it. It also
    finds whether the answer to an image depends on the others in its batch: slightly, and images are asked
    about one at a time (`batch` 1, and `one_at_a_time` says so), or wholly, which `neighbours` says. `draws`
    is how often a network whose answers are random is asked for one; None: once, until it is found out.
    `told` are sentences about how it was loaded, by what they are about. With a `surrogate`, attacks follow
    its gradients, and success is decided by this one. `words` are MODEL and its options as the command line
    takes them.

    Raises InputError for weights that have no size yet, for a deviation that is not above 0, for means and
    deviations that are not finite or of other channels, and for fewer draws than 1; UnknownName for an
    interpolation that there is not.
    """

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Any],
        *,
        name: str = "network",
        size: tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        interpolation: str = "bilinear",
        channels: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        source: str = "",
        checksum: str = "",
        batch: int | None = None,
        output: str | None = None,
        draws: int | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        self.network = settled(unwrapped(network))
        _check_initialised(self.network, name)
        self._compiled = is_compiled(self.network)
        self.name = name
        self.source = source or name
        self.words: tuple[str, ...] = (name,)
        self.checksum = checksum
        self.batch = batch
        self.wanted = output
        self.told = dict(told or {}) | ({"compiled": AS_WRITTEN} if is_compiled(network) else {})
        self.size = size
        self.resize = resize
        self.interpolation = interpolation
        found = (channels, False) if channels else guessed_channels(self.network, mean, std)
        self.channels, self._guessed_channels = found
        self.mean = per_channel("mean", mean, self.channels)
        self.std = per_channel("std", std, self.channels)
        if interpolation not in INTERPOLATIONS:
            raise UnknownName("interpolation", interpolation, INTERPOLATIONS)
        if draws is not None and (type(draws) is not int or draws < 1):
            raise InputError(f"Draws are a whole number, at least 1; got {draws!r}.")
        if not all(map(math.isfinite, (*(self.mean or ()), *(self.std or ())))):
            raise InputError(f"Means and standard deviations are finite; got {self.mean} and {self.std}.")
        if self.std is not None and min(self.std) < torch.finfo(torch.float32).tiny:
            raise InputError(f"A standard deviation is above 0, in float32 too; got {self.std}.")
        self.class_names = tuple(class_names) if class_names is not None else None
        self.surrogate: Classifier | None = None
        self.neighbours: str | None = None
        self.draws = draws or 1
        self._chosen_draws = draws is not None
        self.one_at_a_time: str | None = None
        self._reading: Reading | None = None
        self._compared = False
        self._halved: str | None = None  # how a smaller batch than was asked about was found
        self._writes = False  # whether the network changes its input in place
        self._num_classes = len(self.class_names) if self.class_names else None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in [0, 1]."""
        return self.answers(self.normalised(images))

    def __repr__(self) -> str:
        size = "any size" if self.size is None else "x".join(map(str, self.size))
        classes = "" if self._num_classes is None else f", {self._num_classes} classes"
        return f"<Classifier {self.name}: {self.channels} channels, {size}{classes}, on {self.device}>"

    def to(self, device: str | torch.device) -> Classifier:
        """This classifier, its network moved to a device."""
        if isinstance(self.network, nn.Module) and not self.quantised:
            self.network.to(device)
        return self

    def eval(self) -> Classifier:
        """This classifier, its network in evaluation mode, in which it is asked anyway."""
        if isinstance(self.network, nn.Module):
            self.network.eval()
        return self

    @torch.no_grad()
    def predict(self, images: Batches, batch_size: int | None = None) -> Tensor:
        """Logits (N, K), without gradients, of the network in evaluation mode; it is handed back untouched.

        `images` (N, C, H, W) in [0, 1] of any floating type, on any device, go through in parts of
        `batch_size`, by default 64 and fewer of large ones; the logits are on the images' device, and at
        least float32. How images are cut into parts can show in the last bits. Samples are decoded part by
        part.
        """
        first = images[:1]
        own, size = next(self._parameters(), first), batch_size or images_per_forward(first)
        with untouched(self.network):
            parts = (images[i : i + size] for i in range(0, len(images), size) or (0,))
            return torch.cat([self.averaged(part.to(own.device)).to(first.device) for part in parts])

    def averaged(self, images: Tensor) -> Tensor:
        """Logits (N, K); where answers are random, the mean of `draws` of them."""
        if self.draws == 1:
            return self(images)
        return torch.stack([self(images) for _ in range(self.draws)]).mean(0)

    def answers(
        self,
        inputs: Tensor,
        network: Callable[[Tensor], Any] | None = None,
        *,
        before_softmax: bool = False,
    ) -> Tensor:
        """Scores (N, K) of inputs (N, C, H, W) as the network itself takes them, normalised.

        They are brought to the network's own type, and its batch is filled up where it is fixed. `network` is
        a copy that is asked in its place. With `before_softmax`, the scores of a network that ends in a
        softmax are what goes into it, where that can be seen: the same argmax, and a slope everywhere. Raises
        TimeUp where a deadline around is over.
        """
        check_time()
        ask = partial(self._answers, network=network or self.network, before_softmax=before_softmax)
        with uncompiled(self.network) if self._compiled else nullcontext():
            try:
                return ask(inputs) if self.batch is None else exactly(ask, inputs, self.batch)
            except (OstrichError, Reached):  # what is said in a sentence already, or no failure
                raise
            except Exception as error:  # of the network: an assertion on the batch, a key that is missing
                return self._fewer(ask, inputs, error)

    def _fewer(self, ask: Callable[[Tensor], Tensor], inputs: Tensor, error: Exception) -> Tensor:
        """Answers in batches of the largest half, quarter ... that the network takes, which is said.

        Where an image fails by itself and a grey one does not, no size of a batch is at fault: raises
        FailsOnImage then, with the network's own error; else, before the network has answered at all, and
        where its batch is given, that error.
        """
        asked, size = len(inputs), min(self.batch or len(inputs), len(inputs))
        while size > 1 and (self.batch is None or self._halved):
            size //= 2
            try:
                answers = exactly(ask, inputs, size)
            except (OstrichError, Reached):
                raise
            except Exception as smaller:
                error = smaller
                continue
            reason = first_line(error)
            self.batch = size
            self._halved = f"the network failed on {asked} images at once ({reason}); {size} it takes"
            events.say(f"batch: {self._halved}")
            return answers
        if self._reading is None or (self.batch is not None and not self._halved):
            raise error
        grey = torch.empty_like(inputs[:1], requires_grad=False).copy_(
            self.normalised(torch.full_like(inputs[:1], 0.5))
        )
        try:
            exactly(ask, grey, size)
        except Exception:
            raise error from None  # it fails on any image now: its own fault, or of what was put into it
        raise FailsOnImage(self.name, tuple(inputs.shape[1:]), error) from error

    def example(self, images: Tensor) -> Tensor:
        """The first of the images (N, C, H, W), as often as the network takes at once."""
        return images[:1].expand(self.batch or 1, *images.shape[1:])

    def _answers(self, inputs: Tensor, network: Callable[[Tensor], Any], before_softmax: bool) -> Tensor:
        own = next((p.dtype for p in self._parameters() if p.dtype in FLOATS), inputs.dtype)
        inputs, ask = inputs.to(own), network
        if self._writes:
            inputs = inputs.clone()
        if self._reading is None:
            original, inputs = inputs, inputs.clone()
            before = None if inputs.is_inference() else inputs._version
            output = network(inputs)
            self._writes = before is not None and inputs._version != before
            if isinstance(output, Tensor) and not output.requires_grad:
                output = output.clone()
            self._reading = self._recognised(original, network, output)
            if not self._reading.ends:
                ask = lambda _: output  # noqa: E731 - the first answer, which need not be asked for again
            elif self._writes:
                inputs = original.clone()
        count = len(self.class_names) if self.class_names else None
        scores = self._reading.scores(self.name, ask, inputs, count, before_softmax=before_softmax)
        if not isinstance(self.network, nn.Module):
            scores = scores.to(inputs.device, inputs.dtype)
        if not scores.requires_grad:  # a network may give the same memory for every answer
            scores = scores.clone()
        return scores.float() if scores.dtype in HALVES else scores

    @torch.no_grad()
    def _recognised(self, inputs: Tensor, network: Callable[[Tensor], Any], output: object) -> Reading:
        """How to read what the network returns, found by the answer to these inputs."""
        count = len(self.class_names) if self.class_names else None
        with untouched(self.network), undrawn(inputs.device):
            varied = [self.normalised(images) for images in very_different(inputs)]
            return recognised(self.name, network, output, len(inputs), count, self.wanted, varied)

    @property
    def output(self) -> str | None:
        """How the answers are read, in a sentence, where they are not simply logits."""
        return None if self._reading is None else self._reading.sentence

    @property
    def of_one_output(self) -> bool:
        """Whether its two classes are read from one output, once it has answered."""
        return self._reading is not None and self._reading.of_one

    @property
    def preprocessing(self) -> str:
        """What is done to a picture before the network sees it, in words."""
        return described(self.size, self.resize, self.interpolation, self.mean, self.std)

    def remarks(self) -> dict[str, str]:
        """What was guessed or found out about the network, in sentences, by what they are about."""
        found = {
            **self.told,
            "output": self.output,
            "batch": self.one_at_a_time,
            "neighbours": self.neighbours,
        }
        if self.draws > 1:
            found["draws"] = (
                f"its answers are random: each is asked for {self.draws} times, and a success fools in "
                f"{self.needed} of them, twice; --set eot=8 averages gradients too"
            )
        if self._halved is not None:
            found["batch"] = self._halved
        elif self.batch is not None and self.batch > 1:
            found["batch"] = f"the network takes {self.batch} images at once: others are filled up"
        if self.channels not in (1, 3):
            shown = "the mean" if self.channels == 2 else "the first three"
            found["pictures"] = f"{shown} of {self.channels} channels; whole images are .npy files"
        if self.surrogate is not None:
            found["surrogate"] = f"gradients are those of {self.surrogate.name}; success is decided here"
        return {what: sentence for what, sentence in found.items() if sentence}

    @property
    def needed(self) -> int:
        """How many of its draws an image has to fool to count as a success."""
        return math.ceil(FOOLED * self.draws)

    @property
    def form(self) -> str | None:
        """What the answers are, as in `outputs.Reading`; None before the first one."""
        return None if self._reading is None else self._reading.form

    @property
    def access(self) -> str:
        """What the network offers: "gradient", or only "scores" or "labels".

        It is asked about a grey image: whether it returns scores or labels is known after its first answer,
        and whether a Module has a gradient when that is asked for.
        """
        if self.surrogate is not None:
            return self.surrogate.access
        sloped = isinstance(self.network, nn.Module) and not is_dynamic(self.network)
        if not sloped and self._reading is None:
            self.probe()
        sloped = sloped and self.way_back is None
        if self.form == "labels":
            return "labels"
        return "gradient" if sloped else "scores"  # of a network in 8 bits it is zero, and an attack says so

    @cached_property
    def way_back(self) -> str | None:
        """Why the gradient of a grey image cannot be computed, where the network answers and that fails."""
        count = self.batch or 1
        with in_its_own_time(), seeded(0, self.device), torch.enable_grad():
            try:
                leaf = self._greys(count).requires_grad_(True)
                with untouched(self.network):
                    total = self(leaf.clone()).sum()  # a clone: a network may change its input in place
                    if total.requires_grad:
                        torch.autograd.grad(total, leaf, allow_unused=True)
            except Exception as error:
                said = first_line(error.__cause__ or error)
                why = REENTRANT if "use_reentrant" in said else shorten(said, SAID, placeholder=" ...")
                return why if self._takes(count) else None
        return None

    @property
    def lacks(self) -> str:
        """Why there is no gradient of a network whose `access` is another, as a sentence goes on after it."""
        if not isinstance(self.network, nn.Module):
            return "is only a prediction function"
        if self.form == "labels":
            return "returns labels alone"
        if is_dynamic(self.network):
            return "computes in 8 bits whose scale is found anew for each batch"
        return f"gives no gradient (asked for one it fails: {self.way_back})"

    @cached_property
    def quantised(self) -> bool:
        """Whether a part of it computes in 8 bits: its scores have no slope."""
        return isinstance(self.network, nn.Module) and is_quantised(self.network)

    @property
    def hides_scores(self) -> bool:
        """Whether what attacks follow is not what it answers: of a surrogate, or before a softmax."""
        return self.surrogate is not None or (self._reading is not None and self._reading.ends)

    def normalised(self, images: Tensor) -> Tensor:
        """(images - mean) / std, per channel."""
        if self.mean is None and self.std is None:
            return images
        mean = images.new_tensor(self.mean or (0.0,)).view(1, -1, 1, 1)
        std = images.new_tensor(self.std or (1.0,)).view(1, -1, 1, 1)
        return (images - mean) / std

    @property
    def num_classes(self) -> int:
        """K, from the class names or from one forward of a grey image."""
        if self._num_classes is None:
            self._num_classes = self.probe().shape[1]
        return self._num_classes

    def probe(self) -> Tensor:
        """Logits (1, K) of one grey image: whether the network runs at all on its input size.

        Raises InputError with the network's own complaint where it does not.
        """
        height, width = self.size or (224, 224)
        try:
            logits = self._grey(1)
        except Exception as error:
            if isinstance(error, InputError) and not isinstance(error, OtherRows | FailsOnImage):
                raise
            if not self._takes_other_channels():
                batch = fixed_batch(self._takes, str(error)) if self.batch is None else None
                if batch is None:
                    raise InputError(
                        f"{self.name} fails on an image of {self.channels}x{height}x{width}: "
                        f"{first_line(error).removesuffix('.')}. {self._way_out()}"
                    ) from error
                self.batch = batch
            logits = self._grey(1)
        if self.class_names is not None and logits.shape[1] != len(self.class_names):
            raise InputError(
                f"{self.name} returns {logits.shape[1]} scores, but {len(self.class_names)} class names "
                "are given."
            )
        self.examine()
        return logits

    def doubts(self, *, averaged: bool = False) -> list[str]:
        """What speaks against each figure of its robustness, gradients being `averaged` over draws or not."""
        random = self.draws > 1 and not averaged
        return [why for why in (self.neighbours, RANDOM if random else None) if why]

    def examine(self) -> None:
        """Find out, once, whether answers are random or depend on the neighbours in a batch."""
        if not self._compared:
            self._compare()

    @torch.no_grad()
    def _compare(self) -> None:
        """Whether the answer to an image depends on its neighbours, and what follows."""
        self._compared = True
        like = torch.zeros(1, self.channels, *(self.size or (224, 224))).to(self.device, self.dtype)
        quiet = events.listening(events.Listener())  # what is found now is told with all remarks
        with untouched(self.network), undrawn(like.device), quiet:
            try:
                found = depends(self, like, self.batch, self.dtype)
            except Exception:  # a network that takes no such images, or not so many: nothing is known then
                return
        if found == "slightly":
            self.batch, self.one_at_a_time = 1, ONE_BY_ONE
        elif found == "randomly" and not self._chosen_draws:
            self.draws = DRAWS
        elif found == "wholly":
            self.neighbours = APART

    def _greys(self, count: int) -> Tensor:
        """That many grey images (count, C, H, W)."""
        grey = torch.full((count, self.channels, *(self.size or (224, 224))), 0.5)
        return grey.to(self.device, self.dtype)

    @torch.no_grad()
    def _grey(self, count: int) -> Tensor:
        """Logits of that many grey images together."""
        with untouched(self.network):
            return self(self._greys(count))

    def _takes(self, count: int) -> bool:
        """Whether that many images together are answered."""
        try:
            self._grey(count)
        except Exception as error:
            if isinstance(error, InputError) and not isinstance(error, OtherRows | FailsOnImage):
                raise
            return False
        return True

    def _way_out(self) -> str:
        """What may help where a grey image is not answered: another size, or a wrapper."""
        if self.size is None:
            return "Give its input size with --size N or HxW."
        fitting: list[str] = []
        for side in SIDES:
            other = copy.copy(self)
            other.size, other.told = (side, side), dict(self.told)
            if other._takes(1) or other._takes_other_channels():
                fitting.append(f"{other.channels}x{side}x{side}")
            if len(fitting) == TAKEN:
                break
        if fitting:
            return f"Give its input size with --size N or HxW: it takes {', '.join(fitting)}."
        return (
            "No usual size helps. A network is given floats (N, C, H, W) and nothing else; for one that takes"
            " something else, write a file with a function that returns a torch.nn.Module which brings them "
            "to that, and name it PATH.py:FUNCTION."
        )

    def _takes_other_channels(self) -> bool:
        """Whether images of other channels than were guessed are answered; they are its own then."""
        if not self._guessed_channels:
            return False
        guessed = self.channels
        for count in other_channels(self.network, self.size or (224, 224), guessed):
            self._have(count)
            if self._takes(1):
                self.told["channels"] = f"{count}, found by trying: images of {guessed} it does not take"
                return True
        self._have(guessed)
        return False

    def _have(self, channels: int) -> None:
        """So many channels, of one mean and deviation."""
        self.channels = channels
        self.mean = per_channel("mean", self.mean and self.mean[:1], channels)
        self.std = per_channel("std", self.std and self.std[:1], channels)

    def digest(self) -> str:
        """A checksum of the network's tensors; where it has none, of its name and what is known of it."""
        checksum = hashlib.sha256(self.name.encode() + self.checksum.encode())
        checksum.update((self.wanted or "").encode())
        if isinstance(self.network, nn.Module):
            for name, value in sorted(self.network.state_dict().items()):
                checksum.update(name.encode())
                for part in content(value):
                    checksum.update(part)
        if self.surrogate is not None:
            checksum.update(self.surrogate.digest().encode())
        return checksum.hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        parameter = next(self._parameters(), None)
        return parameter.device if parameter is not None else torch.device("cpu")

    def beside(self, given: Tensor) -> Tensor:
        """`given` where the network's parameters are; as it is where it has none."""
        parameter = next(self._parameters(), None)
        return given if parameter is None else given.to(parameter.device)

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the network's parameters; float32 where it has none."""
        return next((p.dtype for p in self._parameters() if p.dtype in FLOATS), torch.float32)

    @property
    def image_dtype(self) -> torch.dtype:
        """The floating type in which it is asked about images: `dtype`, float32 of a network in halves.

        It brings images to its own type itself; what is made of its answers needs more than a half holds.
        """
        return torch.float32 if self.dtype in HALVES else self.dtype

    def _parameters(self) -> Iterator[nn.Parameter]:
        return self.network.parameters() if isinstance(self.network, nn.Module) else iter(())

    def class_name(self, index: int) -> str:
        """The name of the class `index`, or its number where names are not known.

        "no answer" for NO_ANSWER.
        """
        if index == NO_ANSWER:
            return "no answer"
        return self.class_names[index] if self.class_names else str(index)

    def class_index(self, name: str) -> int:
        """The class of that name or number. Raises UnknownName."""
        return class_index(name, self.class_names, self.num_classes)


def _check_initialised(network: object, name: str) -> None:
    """Refuse layers whose weights wait for their first image."""
    layers = network.named_modules() if isinstance(network, nn.Module) else ()
    for layer, module in layers:
        if any(isinstance(one, UninitializedParameter) for one in module._parameters.values()):
            raise InputError(
                f"Layer {layer} of {name} is {type(module).__name__}, whose weights have no size yet: ask it "
                "about an image once, or load its weights, before it is handed over."
            )
