"""The JSON of CoreAudioML: one recurrent layer of PyTorch and a linear one.

What Automated-GuitarAmpModelling trains and GuitarML's plugins (Proteus, NeuralPi) play. Written
and read by `SimpleRNN.save_model` and `load_model` in `networks.py` of Alec-Wright/CoreAudioML;
played by `src/RTNeuralLSTM.cpp` of GuitarML/Proteus:

y = W_lin h + b_lin + x_skip, with h the state of `num_layers` cells in a row and x_skip the first
`skip` channels of the input. Gates are in PyTorch's order (`torch.nn.LSTM`: i, f, g, o;
`torch.nn.GRU`: r, z, n), matrices are (outputs, inputs), and every gate has two biases: those of an
LSTM are added into one, rounded to float32 as Proteus does; b_hn of a GRU stands inside the product
with r.

Channel 0 of the input is audio and the others are knobs in [0, 1]. The layout states no sample
rate; Proteus' models are made for 44100 Hz. Proteus adds the input whatever `skip` says.
"""

from __future__ import annotations

from typing import Any

from adac_jax.interop import layers
from adac_jax.interop.documents import FormatError, Part
from adac_jax.interop.network import Network
from adac_jax.interop.rtneural import MAX_CHANNELS

MAX_LAYERS = 32


def guitarml(document: Any, name: str = "the document") -> Network:
    """The network in a document of CoreAudioML.

    Args:
        document: What `json.load` gives: {"model_data": {"model": "SimpleRNN", "unit_type": "LSTM"
            or "GRU", "input_size", "hidden_size", "output_size", "num_layers", "skip", "bias_fl"},
            "state_dict": {"rec.weight_ih_l0": …, "lin.weight": …}}. Sizes that are missing are 1,
            as are `skip` and `bias_fl`; `hidden_size` must be there.
        name: What to call it in errors.

    Returns:
        A network of `input_size` inputs and `output_size` outputs.

    Raises:
        FormatError: a part is missing, unknown, of another shape or not finite.
    """
    root = Part(document, name)
    data, state = root.entry("model_data"), root.entry("state_dict")
    data.entry("model").text("SimpleRNN")
    kind = data.entry("unit_type").text("LSTM", "GRU")
    hidden = data.entry("hidden_size").whole(1, MAX_CHANNELS)
    inputs = _size(data, "input_size", MAX_CHANNELS)
    outputs = _size(data, "output_size", MAX_CHANNELS)
    skip = _size(data, "skip", inputs, least=0)
    if skip not in (0, 1, outputs):
        raise data.entry("skip").error(f"0, 1 or {outputs}, the outputs")
    biased = data.entry("bias_fl").flag() if data.has("bias_fl") else True

    known: set[str] = set()

    def weights(key: str, *shape: int) -> Any:
        known.add(key)
        return state.entry(key).array(*shape)

    found, width = [], inputs
    gates = {"LSTM": 4, "GRU": 3}[kind] * hidden
    for k in range(_size(data, "num_layers", MAX_LAYERS)):
        kernel = weights(f"rec.weight_ih_l{k}", gates, width).T
        recurrent = weights(f"rec.weight_hh_l{k}", gates, hidden).T
        bias, second = weights(f"rec.bias_ih_l{k}", gates), weights(f"rec.bias_hh_l{k}", gates)
        if kind == "LSTM":
            found.append(("lstm", layers.lstm(kernel, recurrent, bias + second)))
        else:
            found.append(("gru", layers.gru(kernel, recurrent, bias, second)))
        width = hidden
    last = weights("lin.weight", outputs, hidden).T
    found.append(("linear", layers.linear(last, weights("lin.bias", outputs) if biased else None)))
    for key in state.keys():  # noqa: SIM118
        if key not in known:
            raise FormatError(
                f"{name}: `state_dict` has {key!r}, which a {kind} of these sizes has not."
            )
    return Network(found, inputs, outputs, skip=skip)


def _size(data: Part, key: str, most: int, least: int = 1) -> int:
    if not data.has(key):
        return 1
    part = data.entry(key)
    if isinstance(part.value, bool):  # `skip` is written as a number or as a truth value
        return int(part.value)
    return part.whole(least, most)
