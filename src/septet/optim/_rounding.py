"""Rounding to bfloat16 up or down at random, so that small steps count on average."""

import torch
from torch import Tensor

from septet.optim._projection import private_seed

_LOW = 16  # bits of a float32 that bfloat16 does not have


def stochastically_rounded(values: Tensor, *key: int) -> Tensor:
    """Round float32 `values` to bfloat16 so that the expected result is the value itself.

    Parameters
    ----------
    values : Tensor, float32
    *key : int
        The draw depends on it alone.

    Returns
    -------
    Tensor, bfloat16
        Infinities and NaN stay what they are.
    """
    generator = torch.Generator(values.device).manual_seed(private_seed(*key, _LOW))
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(
        0, 1 << _LOW, bits.shape, generator=generator, device=bits.device, dtype=torch.int32
    )
    rounded = ((bits + noise) & -(1 << _LOW)).view(torch.float32)
    return torch.where(torch.isfinite(values), rounded, values).to(torch.bfloat16)
