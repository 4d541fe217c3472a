"""Fine-pruning: prune what clean images leave dormant, then train the rest on clean data."""

from torch import nn

from fedsim.channels import switch_off
from fedsim.repairs import repairs
from fedsim.repairs._clean import clean_data, tune
from fedsim.repairs.fine_tuning import Momentum, Rate
from fedsim.repairs.pruning import Part, pruned
from fedsim.strict import Positive, Share
from fedsim.suspects import Suspect


@repairs.register
def fine_pruning(
    suspect: Suspect,
    *,
    fall: Share = 0.1,
    held_out: Part = 0.5,
    epochs: Positive = 100,
    lr: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch_size: Positive = 32,
) -> nn.Module:
    """The model pruned as by `pruning`, then trained as by `fine_tuning`.

    What was pruned stays off during and after the training.

    Paper: Liu, Dolan-Gavitt and Garg, "Fine-Pruning", RAID 2018, arXiv:1805.12185; the fall, rate
    and epochs are those of BackdoorBench.
    Differs: as `pruning` and `fine_tuning` do; trained on all clean data, those held out included.

    Args:
        fall: how much of the accuracy the pruning may cost, a share of it.
        held_out: share of the clean images that this is measured on.

    Raises:
        ValueError: fewer than 2 clean images, or a network without a hidden layer.
    """
    model, site, units = pruned("fine_pruning", suspect, fall, held_out)
    tune(
        model,
        clean_data("fine_pruning", suspect),
        suspect.generator,
        epochs=epochs,
        lr=lr,
        momentum=momentum,
        batch_size=batch_size,
        after_step=lambda: switch_off(model, site, units),
    )
    return model
