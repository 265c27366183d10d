"""The networks: small 3D U-Nets that work at half the grid's resolution inside.

Folding 2x2x2 voxels into channels at the start and unfolding them at the end costs a third of a U-Net whose finest level has
the grid's own resolution. Batch normalisation folds into the convolutions in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

TYPICAL = 1.0
SPREAD = 0.25
"""Images come divided by their mean in the brain or head. Brought to zero mean and about unit spread, they taught WMH with a Dice of .33
after 100 steps, instead of .12."""


@dataclass(frozen=True)
class UNetSettings:
    """Shape of a U-Net.

    Attributes
    ----------
    inputs, outputs : int
        Channels.
    widths : tuple of int
        Channels per level, the first at half the grid's resolution; every further level halves again.
    """

    inputs: int
    outputs: int
    widths: tuple[int, ...]
    head_bias: float = 0.0
    """Logits at the start: negative where positives are rare, or the first hundreds of steps only learn that."""
    flags: int = 0
    """Of the inputs, the last ones, which are constant over the image: is a sequence there or not."""
    gate: int = 0
    """Channels that join what the network found with the voxels as they were, 0 for a network that needs no single voxels."""
    blank_zeros: bool = True
    """With a gate: an input of 0 means that nothing is known there, and stays 0; otherwise it is air, as dark as can be."""
    fine: int = 0
    """With a gate: channels of two last convolutions at the grid's own resolution, for the borders of lesions a voxel or two wide; 0 for
    none. What they find is added to the coarser logits, and nothing at the start, so that a network without them can be the start."""


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, convolutions: int = 2, size: int = 3) -> None:
        layers: list[nn.Module] = []
        for index in range(convolutions):
            layers += [
                nn.Conv3d(inputs if index == 0 else outputs, outputs, size, padding=size // 2, bias=False),
                nn.BatchNorm3d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class _Fold(nn.Module):
    """Every 2x2x2 voxels become channels: (batch, c, x, y, z) to (batch, 8 c, x/2, y/2, z/2).

    A convolution with a single one in each kernel, since that is exact and every runtime has it for any size.
    """

    pick: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("pick", torch.eye(8).reshape(8, 1, 2, 2, 2).repeat(channels, 1, 1, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.conv3d(image, self.pick.to(image.dtype), stride=2, groups=self.channels)


class UNet(nn.Module):
    """A U-Net with logits out; with a gate, single voxels reach the last layers, for lesions of one or two of them."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        widths = settings.widths
        self.settings = settings
        fine = settings.gate > 0
        folded = 8 * (settings.inputs - settings.flags)
        self.fold = _Fold(settings.inputs - settings.flags) if fine else None
        self.stem: nn.Module = (
            _Block(folded + settings.flags, widths[0], convolutions=1)
            if fine
            else nn.Sequential(
                nn.Conv3d(settings.inputs, widths[0], 4, stride=2, padding=1, bias=False),
                nn.BatchNorm3d(widths[0]),
                nn.ReLU(inplace=True),
            )
        )
        self.down = nn.ModuleList(_Block(widths[max(i - 1, 0)], width, convolutions=1 if i == 0 else 2) for i, width in enumerate(widths))
        self.narrow = nn.ModuleList(nn.Conv3d(widths[i + 1], widths[i], 1) for i in range(len(widths) - 1))
        self.up = nn.ModuleList(_Block(2 * widths[i], widths[i], convolutions=1 if fine and i == 0 else 2) for i in range(len(widths) - 1))
        self.pool = nn.MaxPool3d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.gate = _Block(widths[0] + folded, settings.gate, convolutions=1, size=1) if fine else None
        self.head = nn.ConvTranspose3d(settings.gate or widths[0], settings.outputs, 2, stride=2)
        if self.head.bias is not None:
            nn.init.constant_(self.head.bias, settings.head_bias)
        images = settings.inputs - settings.flags
        self.unfold = nn.ConvTranspose3d(settings.gate, settings.fine - images, 2, stride=2) if settings.fine else None
        self.fine = _Block(settings.fine, settings.fine) if settings.fine else None
        self.correct = nn.Conv3d(settings.fine, settings.outputs, 1, bias=False) if settings.fine else None
        if self.correct is not None:
            nn.init.zeros_(self.correct.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, outputs, x, y, z) for an input of (batch, inputs, x, y, z), sizes multiples of 2^levels."""
        voxels = images = x[:, :0]
        if self.fold is not None:
            first_flag = self.settings.inputs - self.settings.flags
            images, flags = x[:, :first_flag], x[:, first_flag:]
            known = (images > 0).to(images.dtype) if self.settings.blank_zeros else 1.0
            images = (images - TYPICAL) / SPREAD * known
            voxels = self.fold(images)
            x = torch.cat([voxels, flags[:, :, ::2, ::2, ::2]], dim=1)
        x = self.stem(x)
        kept = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            kept.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([self.grow(self.narrow[level](x)), kept[level]], dim=1))
        if self.gate is not None:
            x = self.gate(torch.cat([x, voxels], dim=1))
        logits: torch.Tensor = self.head(x)
        if self.unfold is not None and self.fine is not None and self.correct is not None:
            logits = logits + self.correct(self.fine(torch.cat([self.unfold(x), images], dim=1)))
        return logits
