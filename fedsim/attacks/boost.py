"""Model replacement: send the update larger than it is, so that averaging does not wash it out."""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.attacks import attacks
from fedsim.types import AdversaryView


@attacks.register
def boost(
    view: AdversaryView,
    *,
    factor: Annotated[float, Field(gt=0)] | Literal["auto"],
    buffers: bool = False,
) -> Float[Tensor, "m d"]:
    """The adversary's own rows times `factor`.

    u_i ← γ · u_i. With `auto`, γ_i = 1 / (η · p_i): η is the server's learning rate and p_i the
    weight of row i in the mean over the cohort, so γ = n / η when all n rows weigh the same.

    Paper: Bagdasaryan et al., AISTATS 2020, arXiv:1807.00459; Sun et al., 2019, arXiv:1911.07963.
    Differs: n is the cohort of the round, not all clients; Sun et al. let several attackers of a
    round share one boosted update, here each boosts its own.

    Args:
        factor: γ > 0, or `auto`.
        buffers: apply the same factor to the change of the BatchNorm buffers, as DBA's code does;
            whoever runs the attack reads it and calls `boost` once more on those rows.

    Raises:
        ValueError: `auto` with a share or a server learning rate that is not positive.

    >>> import torch
    >>> boost(AdversaryView(torch.tensor([[2.0, -1.0]]), 10, torch.zeros(2)), factor="auto")
    tensor([[ 20., -10.]])
    """
    if factor != "auto":
        return view.own * factor
    shares = view.shares
    if shares is None:
        shares = view.own.new_full((len(view.own),), 1 / view.num_clients)
    portions = view.server_lr * shares.double()  # so that 1 / 0.1 is 10 in float32, not 9.999999
    if not (portions > 0).all():
        raise ValueError(
            f"boost: factor auto needs positive shares and server_lr; "
            f"got shares {shares.tolist()}, server_lr {view.server_lr}"
        )
    return view.own * (1 / portions).to(view.own)[:, None]
