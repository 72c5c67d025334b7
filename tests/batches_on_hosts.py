"""What `test_batches.py` runs in two processes at once, as if they were two hosts.

python batches_on_hosts.py ADDRESS PROCESS
"""

from __future__ import annotations

import sys

import batches_case as case
import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from adac_jax.batches import stack, train_step

PROCESSES, MEMBERS = 2, 4


def main(address: str, process: int) -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, PROCESSES, process)
    assert len(jax.devices()) == 4
    assert len(jax.local_devices()) == 2

    data = case.targets(MEMBERS)
    batch = stack([case.network(seed) for seed in range(MEMBERS)], jax.devices())
    state, targets = batch.optimiser_state(case.OPTIMISER), batch.put(data)
    own = slice(2 * process, 2 * process + 2)
    joined = jax.make_array_from_process_local_data(batch.sharding(), data[own])
    assert joined.sharding == targets.sharding
    step, losses = train_step(case.loss, case.OPTIMISER), []
    for part in (targets, joined, targets):
        batch, state, values = step(batch, state, part)
        losses.append(multihost_utils.process_allgather(values, tiled=True))
    for leaf in jax.tree.leaves((batch.parameters, state, values)):
        assert not leaf.is_fully_addressable
        assert {s.device for s in leaf.addressable_shards} == set(jax.local_devices())

    # Each process sees members of the other, too.
    for k, (wanted, values) in enumerate(case.alone(range(MEMBERS), data)):
        case.assert_trees_close(nnx.state(batch.model(k)), wanted, case.BOUND)
        found = [losses_then[k] for losses_then in losses]
        np.testing.assert_allclose(found, values, rtol=0, atol=case.LOSS_BOUND)
    print("passed", flush=True)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
