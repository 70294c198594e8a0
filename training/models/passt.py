"""PaSST: a vision transformer on overlapping patches of a log-mel; used as a teacher only.

Tensor names are those of the published AudioSet checkpoints, which :func:`load_audioset` reads strictly by name.
Source: Koutini et al., "Efficient training of audio transformers with patchout" (2022). Refuses clips longer than ten
seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import TrainingError
from .config import ModelConfig

PATCH, STRIDE = 16, 10
MELS, MAX_FRAMES = 128, 998  # of the AudioSet checkpoints: ten seconds
FREQ_PATCHES, TIME_PATCHES = 12, 99
NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention over float32 (batch, tokens, dim) with one matrix for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        y: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim))
        return y


class MLP(nn.Module):
    """Two linear layers around an exact GELU; the hidden one is four times as wide."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class TransformerBlock(nn.Module):
    """Attention and MLP, each after a LayerNorm and with a residual connection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Patches(nn.Module):
    """Overlapping patches of (batch, 1, 128, frames) as (batch, dim, 12, time)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, PATCH, STRIDE)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(x)
        return y


class PaSST(nn.Module):
    """float32 (batch, 1, 128, n_frames) to logits (batch, n_classes); ``features`` gives (batch, dim) before the head.

    In training ``patchout_freq`` whole rows of patches are dropped, the same for the batch (structured patchout).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, n = config.embed_dim, config.n_classes
        self.patchout_freq = config.patchout_freq
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, dim, FREQ_PATCHES, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, TIME_PATCHES))
        self.patch_embed = Patches(dim)
        self.blocks = nn.ModuleList(TransformerBlock(dim, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, n))
        self.head_dist = nn.Linear(dim, n).requires_grad_(False)  # present in the checkpoints, unused
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Mean of the class and the distillation token after the last norm: float32 (batch, dim)."""
        if x.shape[2] != MELS or not PATCH <= x.shape[3] <= MAX_FRAMES:
            expected = f"(batch, 1, {MELS}, {PATCH} to {MAX_FRAMES})"
            raise TrainingError("PaSST", "unsupported log-mel size", expected=expected, got=tuple(x.shape))
        patches = self.patch_embed(x)
        patches = patches + self.time_new_pos_embed[..., : patches.shape[3]] + self.freq_new_pos_embed
        if self.training and self.patchout_freq:
            rows = torch.randperm(FREQ_PATCHES)[: FREQ_PATCHES - self.patchout_freq].sort().values
            patches = patches[:, :, rows.to(x.device)]
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        y = torch.cat([tokens.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        for block in self.blocks:
            y = block(y)
        normalised: Tensor = self.norm(y)
        return normalised[:, :2].mean(dim=1)

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith(("token", "pos_embed")) or (name.endswith("weight") and parameter.ndim == 2):
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias") and parameter.ndim == 1:
                nn.init.zeros_(parameter)


def load_audioset(model: PaSST, state: dict[str, Tensor], where: str) -> None:
    """Copy a published AudioSet checkpoint into ``model``: every tensor by its name, except the heads.

    Raises TrainingError for a name or shape that does not match, before anything is copied.
    """
    own = model.state_dict()
    for name in sorted(set(own) ^ set(state)):
        what = "is missing" if name in own else "does not belong to PaSST"
        raise TrainingError(where, f"tensor '{name}' {what}", expected="a PaSST AudioSet checkpoint")
    body = {name: t for name, t in state.items() if not name.startswith(("head.1.", "head_dist."))}
    for name, tensor in body.items():
        if tensor.shape != own[name].shape:
            raise TrainingError(
                where, f"tensor '{name}' has another shape", expected=list(own[name].shape), got=list(tensor.shape)
            )
    model.load_state_dict(body, strict=False)  # without the heads only, as checked above
