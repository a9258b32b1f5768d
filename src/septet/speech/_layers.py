"""Layers of the SEGAN family: exact "SAME" convolutions, spectral norm, attention, batch norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

KERNEL = 31


def _truncated_normal(weight: Tensor, generator: torch.Generator | None) -> None:
    nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04, generator=generator)


class Down(nn.Module):
    """Convolution that divides the length by its stride, unevenly padded.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    stride : int, default 2
        An even number below the width.
    kernel : int, default 31
        Width, an odd number.
    generator : torch.Generator, optional
        Source of the initial weights: normal of deviation 0.02 cut at two deviations; biases 0.

    Notes
    -----
    Input of shape (B, in_channels, L) with L a multiple of the stride, output (B, out_channels,
    L / stride). The padding (14 left, 15 right for stride 2) is that of TensorFlow's "SAME"; a
    symmetric one shifts every layer by a sample.

    Examples
    --------
    >>> down = Down(1, 1)
    >>> _ = nn.init.ones_(down.weight)
    >>> down(torch.arange(8.0).reshape(1, 1, 8)).flatten().tolist()
    [28.0, 28.0, 28.0, 28.0]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 2,
        kernel: int = KERNEL,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        _truncated_normal(self.weight, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Divide the length by the stride."""
        left = (self.weight.shape[-1] - self.stride) // 2
        return F.conv1d(F.pad(x, (left, left + 1)), self.weight, self.bias, stride=self.stride)


class Up(nn.Module):
    """Transposed convolution that multiplies the length: the exact adjoint of `Down`.

    Parameters as for `Down`; input (B, in_channels, L), output (B, out_channels, stride L).

    Examples
    --------
    >>> up = Up(1, 1)
    >>> up.weight.data = torch.arange(31.0).reshape(1, 1, 31)
    >>> up(torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])).flatten().tolist()
    [12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 2,
        kernel: int = KERNEL,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        _truncated_normal(self.weight, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the length by the stride."""
        left = (self.weight.shape[-1] - self.stride) // 2
        longer = F.conv_transpose1d(x, self.weight, self.bias, stride=self.stride, padding=left)
        return longer[..., :-1]


class SelfAttention1d(nn.Module):
    r"""Light self-attention over time: keys and values are pooled, the output is gated by β.

    :math:`F' = F + \beta\,\mathrm{softmax}(Q K^T) V W_O` with :math:`Q = F W_Q`,
    :math:`K = \mathrm{pool}_p(F W_K)`, :math:`V = \mathrm{pool}_p(F W_V)`; the product is *not*
    divided by the root of the width.

    Parameters
    ----------
    channels : int
        Channels C of input and output.
    channel_reduction : int, default 8
        Queries and keys have C / channel_reduction channels.
    value_reduction : int, default 8
        Values have C / value_reduction channels: 8 as in the paper, 2 as in its code.
    memory_reduction : int, default 4
        Keys and values are the maximum over this many frames.
    generator : torch.Generator, optional
        Source of the initial weights (Xavier).

    Raises
    ------
    ValueError
        If a reduction leaves no channel, or (on call) the length is no multiple of
        `memory_reduction`.

    Notes
    -----
    The map is never built: a fused kernel computes the product. It needs queries, keys and values
    of one width, so the narrower ones are padded with zero channels, which changes no product.

    References
    ----------
    Phan et al., ICASSP 2021, section 2 (non-local layer of SAGAN in one dimension).

    Examples
    --------
    >>> attention = SelfAttention1d(16)
    >>> x = torch.randn(2, 16, 8)
    >>> torch.equal(attention(x), x)  # β starts at 0
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_reduction: int = 8,
        value_reduction: int = 8,
        memory_reduction: int = 4,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.memory_reduction = memory_reduction
        for name, reduction in (
            ("channel_reduction", channel_reduction),
            ("value_reduction", value_reduction),
        ):
            if not 1 <= reduction <= channels:
                raise ValueError(f"{name} must be from 1 to {channels} channels; got {reduction}.")
        narrow, wide = channels // channel_reduction, channels // value_reduction
        self.query = nn.Conv1d(channels, narrow, 1, bias=False)
        self.key = nn.Conv1d(channels, narrow, 1, bias=False)
        self.value = nn.Conv1d(channels, wide, 1, bias=False)
        self.output = nn.Conv1d(wide, channels, 1, bias=False)
        for projection in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(projection.weight, generator=generator)
        self.beta = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, shape (B, C, L), plus the gated attention over it."""
        p = self.memory_reduction
        if x.shape[-1] % p:
            raise ValueError(f"the length must be a multiple of {p} here; got {x.shape[-1]}.")
        q, k, v = self.query(x), F.max_pool1d(self.key(x), p), F.max_pool1d(self.value(x), p)
        narrow, wide = q.shape[1], v.shape[1]
        if narrow < wide:
            q, k = (F.pad(t, (0, 0, 0, wide - narrow)) for t in (q, k))
        elif wide < narrow:
            v = F.pad(v, (0, 0, 0, narrow - wide))
        # channels last and without gaps: otherwise the kernel that builds the map is chosen
        q, k, v = (t.transpose(1, 2).contiguous().unsqueeze(1) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return x + self.beta * self.output(mixed.squeeze(1).transpose(1, 2)[:, :wide])


class VirtualBatchNorm1d(nn.Module):
    """Batch normalisation by the statistics of a reference batch.

    Called with a reference batch it normalises that batch by itself and remembers its moments;
    called with a live batch it normalises it by the reference moments with the live mean mixed in
    as one more sample.

    Parameters
    ----------
    channels : int
        Channels.
    eps : float, default 1e-5
        Added to the variance.
    generator : torch.Generator, optional
        Source of the initial gains, normal around 1 with deviation 0.02.

    References
    ----------
    Salimans et al., 2016; the mixing as in the code of SEGAN.

    Examples
    --------
    >>> norm = VirtualBatchNorm1d(1)
    >>> _ = nn.init.ones_(norm.weight)
    >>> out, moments = norm.reference(torch.tensor([[[0.0, 1.0]], [[2.0, 3.0]]]))
    >>> [round(x, 6) for x in out.flatten().tolist()]
    [-1.341635, -0.447212, 0.447212, 1.341635]
    >>> round(norm(torch.full((2, 1, 2), 4.0), moments)[0, 0, 0].item(), 5)
    1.11803
    """

    def __init__(
        self, channels: int, *, eps: float = 1e-5, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))
        nn.init.normal_(self.weight, 1.0, 0.02, generator=generator)

    def reference(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, int]]:
        """Normalise the reference batch, shape (n, C, L); also return its moments and n."""
        mean, square = self._moments(x)
        return self._normalise(x, mean, square), (mean, square, x.shape[0])

    def forward(self, x: Tensor, moments: tuple[Tensor, Tensor, int]) -> Tensor:
        """Normalise a live batch, shape (B, C, L), by the moments of a reference batch."""
        mean, square, n = moments
        live_mean, live_square = self._moments(x)
        return self._normalise(
            x, (live_mean + n * mean) / (n + 1), (live_square + n * square) / (n + 1)
        )

    @staticmethod
    def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        return wide.mean(dim=(0, 2))[:, None], wide.square().mean(dim=(0, 2))[:, None]

    def _normalise(self, x: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        scale = torch.rsqrt(self.eps + square - mean.square()) * self.weight
        return ((x - mean) * scale + self.bias).to(x.dtype)


def normalised(layer: nn.Module) -> nn.Module:
    """Wrap a layer's weight in spectral normalisation over its input dimension or output dimension.

    Both `Down` and `Up` are normalised as the matrix whose rows are dimension 0 of the torch
    weight: out-channels of a convolution, in-channels of a transposed one, as TensorFlow's layouts
    have it (torch's own default for a transposed convolution is another).
    """
    return spectral_norm(layer, dim=0)
