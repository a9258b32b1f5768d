"""A LLaMA-style language model of any size."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Extents of a model."""

    hidden: int
    feedforward: int
    layers: int
    heads: int


# "tiny" and "small" are ours; the others are the published sizes, by their usual names.
SHAPES = {
    "tiny": Shape(16, 32, 1, 2),
    "small": Shape(96, 256, 3, 4),
    "llama-60m": Shape(512, 1376, 8, 8),
    "llama-130m": Shape(768, 2048, 12, 12),
    "llama-350m": Shape(1024, 2736, 24, 16),
    "llama-1b": Shape(2048, 5461, 24, 32),
}


class Llama(nn.Module):
    """Decoder with RMS norms before each part, rotary positions, SwiGLU and an untied head.

    No biases; every weight is drawn from a normal distribution with deviation 0.02.

    Parameters
    ----------
    shape : Shape
    n_symbols : int
        Size of the vocabulary.
    context : int
        Longest sequence.
    """

    def __init__(self, shape: Shape, n_symbols: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, shape.hidden)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = _norm(shape.hidden)
        self.head = _linear(shape.hidden, n_symbols)
        n_pairs = shape.hidden // shape.heads // 2
        frequency = 10_000.0 ** (-torch.arange(n_pairs) / n_pairs)
        angle = torch.arange(context)[:, None] * frequency
        self.register_buffer("turn", torch.polar(torch.ones(()), angle), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits of each next symbol: ``(batch, time)`` -> ``(batch, time, symbol)``."""
        x = self.embedding(symbols)
        for block in self.blocks:
            x = block(x, self.turn[: symbols.shape[1]])
        return self.head(self.norm(x))

    def loss(self, windows: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, of all but the first symbol of each window."""
        logits = self(windows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = _norm(shape.hidden)
        self.query = _linear(shape.hidden, shape.hidden)
        self.key = _linear(shape.hidden, shape.hidden)
        self.value = _linear(shape.hidden, shape.hidden)
        self.output = _linear(shape.hidden, shape.hidden)
        self.feedforward_norm = _norm(shape.hidden)
        self.gate = _linear(shape.hidden, shape.feedforward)
        self.up = _linear(shape.hidden, shape.feedforward)
        self.down = _linear(shape.feedforward, shape.hidden)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        h = self.attention_norm(x)
        query, key, value = (
            part(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(
            _rotated(query, turn), _rotated(key, turn), value, is_causal=True
        )
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        h = self.feedforward_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def _rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Turn each pair of coordinates by its position's angle: ``(..., time, coordinate)``."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


def _norm(size: int) -> nn.RMSNorm:
    return nn.RMSNorm(size, eps=1e-6)


def _linear(n_in: int, n_out: int) -> nn.Linear:
    return nn.Linear(n_in, n_out, bias=False)
