"""`ostrich doctor`: is a network fed, normalised and evaluated right, and can its robustness be believed?

Each fault, and each remark, has a stable code. n is the number of images; p belongs to a one-sided test
(significance.py).

Of the outputs (outputs.py)
    not-finite-output           NaN or infinity for a legitimate image
    training-mode               dropout that drops, or batch norm by the batch, in evaluation mode
    stochastic-output           the same image twice, two answers
    batch-dependent-output      the answer depends on the neighbours in the batch
    constant-output             the answer does not depend on the image
    dead-output                 the score of a class never moves
    softmax-as-logits           probabilities; log-probabilities are harmless and pass
    sigmoid-as-logits           probabilities of each class alone
    saturated-logits            cross-entropy in float32 is exactly zero for most images
Of the input (normalization.py, preprocessing.py, double_normalization.py, batchnorm.py), most by trials
    missing-normalization       a normalisation does clearly better than none
    wrong-normalization         another does clearly better
    double-normalization        none, or one less, does clearly better; or the network normalises too
    wrong-channel-order         BGR does clearly better
    wrong-input-range           0..255 does clearly better
    other-preprocessing         another usual normalisation, resize or input size does better
    batch-norm-statistics       far from those of the images
Of the data (data.py)
    wrong-head                  answers that agree with the labels no better than by chance
    unused-files                pictures or tables in the folder that were not read
Of the classes (classes.py)
    wrong-class-order           another order of the classes does clearly better
    too-few-classes-for-dlr     fewer than the four that the targeted DLR loss compares: a remark, no fault
Of the gradients (gradients.py)
    quantized-input             the scores move in steps
    other-classes-off           all but the predicted one, so that no score leads to another
    zero-gradient               exactly zero, though the scores move
    nan-gradient                not finite, though the scores are
    constant-gradient           the same for every image, though the network is not linear
    masked-gradient             not what the scores do when the image moves along it
Of a robustness figure (robustness.py)
    noise-beats-gradient        random noise breaks images that PGD does not
    more-steps-weaker           PGD with more steps breaks fewer
    larger-budget-weaker        PGD with a larger budget breaks fewer
    unbounded-attack-fails      PGD that may change everything does not break everything
    black-box-beats-white-box   Square breaks images that PGD does not
    transfer-beats-white-box    so do images made for another network

It costs about 32 forwards an image for the outputs and the input, and, on 16 of the images, at most
about 200 gradients each (a network that breaks as usual takes some 20) and Square where PGD failed.
"""

from ostrich.diagnosis.checks import CHECKS, Examination, examine
from ostrich.diagnosis.model_under_test import FEW, Finding, ModelUnderTest, Remark

FORWARDS_PER_IMAGE = 32
GRADIENTS_OF_FEW = 25 * FEW  # of a network that breaks as usual

__all__ = [
    "CHECKS",
    "FORWARDS_PER_IMAGE",
    "GRADIENTS_OF_FEW",
    "Examination",
    "Finding",
    "ModelUnderTest",
    "Remark",
    "examine",
]
