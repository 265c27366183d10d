"""From a checkpoint to what ships: an ONNX file and its card."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..models import ModelCard, Network
from .network import UNet

HALVED_FROM = 1024
"""Weights of at least so many numbers are stored in half precision; the rest is not worth its rounding."""


def round_weights(model: UNet) -> None:
    """Round the network to what its file will hold, so that it is calibrated and tested as it ships."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() >= HALVED_FROM:
                parameter.copy_(parameter.half().float())


def export_onnx(model: UNet, path: Path) -> str:
    """Write a network as ONNX with free spatial sizes and weights in half precision; the file appears whole or not at all.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    example = torch.zeros((1, model.settings.inputs, 32, 32, 32))
    axes = {2: "x", 3: "y", 4: "z"}
    torch.onnx.export(
        model.cpu().eval(),
        (example,),
        str(temporary),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": axes, "logits": axes},
        opset_version=17,
        # kept apart from the convolutions, so that the weights can be read back for another training; OpenVINO folds them
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )
    _halve(temporary)
    os.replace(temporary, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _halve(path: Path) -> None:
    """Store large weights in half precision, each with a cast back; runtimes do that once, when they load the file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = onnx.load(str(path))
    casts = []
    for part in network.graph.initializer:
        values = numpy_helper.to_array(part)
        if values.dtype == np.float32 and values.size >= HALVED_FROM:
            name = part.name
            part.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name} half"))
            casts.append(helper.make_node("Cast", [part.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *network.graph.node]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    onnx.save(network, str(path))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of an exported network by name, as a start for another training.

    Raises
    ------
    InputError
        When the file is no ONNX model with named weights.
    """
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # whatever the parser says of a damaged file
        raise InputError(f"{path}, which is no ONNX model ({type(error).__name__})", "an exported network", "give a .onnx file") from None
    weights = {part.name: torch.from_numpy(numpy_helper.to_array(part).copy()) for part in graph.initializer}
    for node in graph.node:  # weights with equal values are stored once, large ones in half precision
        if node.op_type in ("Identity", "Cast") and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]].float()
    return weights


def compare_export(model: UNet, card: ModelCard, folder: Path) -> float:
    """Largest difference between the logits of the trained network and of the exported file on a random input."""
    image = np.random.default_rng(0).random((model.settings.inputs, 32, 48, 32), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(image)[None])[0].numpy()
    return float(np.abs(Network(card, folder)(image) - expected).max())
