"""One training step of FLAMO, in the way of its own examples and of its `Trainer.train_step`.

The modules and their order are those of its examples of colourless networks and of networks with
graphic equalisers: gains in and out, a `Recursion` round a `Series`, a `Shell` whose layers are
the Fourier transform and the magnitude, Adam, the mean square error from ones. It differs in what
makes it the network that the other side trains: gains or equalisers stand behind the delays, in
single precision, without the envelope against aliasing, which the decay makes needless. With them
there, FLAMO builds the loop matrix from diagonals, the faster of its two ways.
"""

# The checker may run where FLAMO is not installed.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from peers.serving import CORES, pin, serve

pin()
import torch  # noqa: E402
from flamo.optimize.loss import mse_loss  # noqa: E402
from flamo.processor import dsp, system  # noqa: E402

from peers.case import LEARNING_RATE, RATE, Case  # noqa: E402


def network(case: Case) -> system.Shell:
    """Input, output gains and matrix are trained, and equalisers if there are any."""
    n = case.lines
    common = {"nfft": case.length, "device": "cpu", "dtype": torch.float32}
    trained = common | {"requires_grad": True}
    values = {name: torch.from_numpy(value) for name, value in case.parameters().items()}
    input_gain, output_gain = dsp.Gain((n, 1), **trained), dsp.Gain((1, n), **trained)
    matrix = dsp.Matrix((n, n), matrix_type="orthogonal", **trained)
    delays = dsp.parallelDelay((n,), max_len=max(case.delays), isint=True, fs=RATE, **common)
    if case.filters == "gains":
        filters = dsp.parallelGain((n,), **common)
    else:
        # Parameters in dB, as the other side has them; so no logarithm is taken of them.
        in_decibels = {"map": lambda gains: gains}
        filters = dsp.parallelGEQ((n,), octave_interval=1, fs=RATE, **in_decibels, **trained)
    delays.assign_value(delays.sample2s(torch.tensor(case.delays)))
    for module, name in (
        (input_gain, "input_gain"),
        (output_gain, "output_gain"),
        (matrix, "matrix"),
        (filters, case.filters),
    ):
        module.assign_value(values[name])
    lines = system.Series(OrderedDict({"delays": delays, "filters": filters}))
    core = system.Series(
        OrderedDict(
            {
                "input_gain": input_gain,
                "feedback_loop": system.Recursion(fF=lines, fB=matrix),
                "output_gain": output_gain,
            }
        )
    )
    magnitude = dsp.Transform(transform=torch.abs, dtype=torch.float32)
    return system.Shell(core, dsp.FFT(case.length, dtype=torch.float32), magnitude)


def prepare(case: Case) -> Callable[[], float]:
    """The step, which returns the loss before the update."""
    torch.set_num_threads(CORES)
    model, criterion = network(case), mse_loss(nfft=case.length, device="cpu")
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    bins = case.length // 2 + 1
    impulse, target = torch.zeros(1, bins, 1), torch.ones(1, bins, 1)
    impulse[:, 0] = 1

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(model(impulse), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    serve(prepare, ("flamo", "torch", "numpy"))
