"""In which order and in which blocks a graph runs."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from random_loops import samples
from readings import in_blocks, in_faust, interpreted
from work import instructions

import ir
from ir.cycles import least_delay, order
from ir.schedule import Loop, Step, schedule


def fdn(*samples: int, then: tuple[int, ...] = ()) -> ir.Graph:
    """u = x + A delay(u): a feedback delay network; `then` delays the feedback once more."""
    b = ir.Builder()
    N = len(samples)
    x = b.add("input", index=0, shape=(N,), kind="real")
    A = b.add("coefficient", slot="A", shape=(N, N), kind="real")
    u = b.reserve((N,))
    late = b.add("delay", u, samples=samples)
    mixed = b.add("einsum", late, A, subscripts="j,ij->i")
    if then:
        mixed = b.add("delay", mixed, samples=then)
    b.define(u, "add", x, mixed)
    return b.build([u, late])


def loops(steps: tuple[Step, ...]) -> list[Loop]:
    """All loops, inner ones after those that they are in."""
    found: list[Loop] = []
    for step in steps:
        if isinstance(step, Loop):
            found += [step, *loops(step.body)]
    return found


def flat(steps: tuple[Step, ...]) -> list[int]:
    """All nodes in the order in which they run."""
    found: list[int] = []
    for step in steps:
        found += flat(step.body) if isinstance(step, Loop) else [step]
    return found


def check(graph: ir.Graph, length: int) -> tuple[Step, ...]:
    """What every schedule must be: complete, and each node after what it needs."""
    steps = schedule(graph, length)
    assert sorted(flat(steps)) == list(range(len(graph.nodes)))

    def follow(steps: tuple[Step, ...], known: set[int], cuts: set[int], length: int) -> None:
        for step in steps:
            if isinstance(step, Loop):
                assert 1 <= step.block <= length
                assert all(least_delay(graph.nodes[k]) >= step.block for k in step.cuts)
                # Their pasts are brought up to date after each block, not within it.
                assert set(step.cuts) <= {k for k in step.body if isinstance(k, int)}
                follow(step.body, known, cuts | set(step.cuts), step.block)
            else:
                node = graph.nodes[step]
                needed = node.inputs[1:] if step in cuts else node.inputs
                assert set(needed) <= known
                known.add(step)

    follow(steps, set(), set(), length)
    return steps


def test_without_loops_there_is_one_block():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    y = b.add("delay", b.add("neg", x), samples=(5,))
    assert check(b.build([y]), 1000) == (x, 1, y)


@pytest.mark.parametrize("samples", [(7,), (31, 17, 23), (1, 5), (1, 1), (100, 64)])
def test_a_network_runs_in_blocks_of_its_shortest_delay(samples):
    (loop,) = loops(check(fdn(*samples), 10_000))
    assert loop.block == min(samples)
    assert loop.cuts == (3,)  # the delay itself


def test_a_block_is_no_longer_than_the_signal():
    (loop,) = loops(check(fdn(500, 700), 64))
    assert loop.block == 64


def test_two_delays_in_a_row_give_the_longer_block():
    """Either could be cut; the longer makes fewer, longer blocks."""
    (loop,) = loops(check(fdn(30, 40, then=(500, 600)), 10_000))
    assert loop.block == 500
    (loop,) = loops(check(fdn(500, 600, then=(30, 40)), 10_000))
    assert loop.block == 500


def nested(outer: int, inner: int) -> ir.Graph:
    """u = x + delay(v, outer) / 2, v = u + delay(v, inner) / 2."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    u, v = b.reserve(()), b.reserve(())
    half = b.constant(0.5)
    b.define(u, "add", x, b.add("mul", b.add("delay", v, samples=(outer,)), half))
    b.define(v, "add", u, b.add("mul", b.add("delay", v, samples=(inner,)), half))
    return b.build([u, v])


def test_a_short_loop_within_a_long_one_has_blocks_of_its_own():
    outer, inner = loops(check(nested(1000, 10), 10_000))
    assert (outer.block, inner.block) == (1000, 10)
    assert set(inner.members()) < set(outer.members())


def test_loops_of_like_length_share_their_blocks():
    """Two nested loops of 100 and 90 samples: one loop in blocks of 90 costs less."""
    (loop,) = loops(check(nested(100, 90), 10_000))
    assert loop.block == 90


def test_a_filter_as_a_loop_of_one_sample():
    """Inside a long loop only the filter runs sample by sample, not what is round it."""
    outer, inner = loops(check(nested(1000, 1), 10_000))
    assert (outer.block, inner.block) == (1000, 1)
    assert len(inner.members()) < len(outer.members())


def test_loops_beside_each_other_do_not_meet():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    heads = []
    for m in (1, 50):
        u = b.reserve(())
        b.define(u, "add", x, b.add("mul", b.add("delay", u, samples=(m,)), b.constant(0.5)))
        heads.append(u)
    found = loops(check(b.build(heads), 1000))
    assert sorted(loop.block for loop in found) == [1, 50]


def test_a_ragged_delay_with_none_in_one_channel_cuts_nothing():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    u = b.reserve((2,))
    ragged = b.add("delay", u, samples=(0, 9))
    late = b.add("delay", ragged, samples=(4, 6))
    b.define(u, "add", x, late)
    (loop,) = loops(check(b.build([u]), 100))
    assert (loop.block, loop.cuts) == (4, (late,))


def reading_itself(shape: tuple = (2,)) -> ir.Program:
    """A delay that reads its own output: initial values that go round for ever."""
    b = ir.Builder()
    k = b.reserve(shape)
    start = b.add("coefficient", slot="start", shape=(3, *shape), kind="real")
    b.define(k, "delay", k, start, samples=(3, 2))
    return ir.Program(b.build([k]), {"start": np.arange(6.0).reshape(3, *shape)})


def test_a_loop_of_one_node():
    program = reading_itself()
    (loop,) = loops(check(program.graph, 20))
    assert loop.block == 2
    (y,) = interpreted(program, [], 20)
    np.testing.assert_array_equal(y[:6], [[0, 1], [2, 3], [4, 1], [0, 3], [2, 1], [4, 3]])
    np.testing.assert_array_equal(in_blocks(program, [], 20)[0], y)
    np.testing.assert_array_equal(in_blocks(program, [], 20, [7])[0], y)
    np.testing.assert_array_equal(in_faust(program, [], 20)[0], y)


def modulated() -> ir.Program:
    """A variable delay in a loop, whose length comes from a short delay in the same loop."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    u = b.reserve(())
    coarse = b.add("round", b.add("mul", b.add("delay", u, samples=(3,)), b.constant(10.0)))
    lengths = b.add("convert", b.add("abs", coarse), kind="int")
    modulated = b.add("variable_delay", u, lengths, minimum=20, maximum=40)
    fixed = b.add("delay", u, samples=(25,))
    both = b.add("add", modulated, fixed)
    b.define(u, "add", x, b.add("mul", both, b.constant(0.375)))
    return ir.Program(b.build([u, modulated]))


def test_a_delay_whose_length_depends_on_itself():
    program = modulated()
    check(program.graph, 200)
    x = np.random.default_rng(3).integers(-8, 9, 200) / 8
    wanted = interpreted(program, [x], 200)
    for found in (
        in_blocks(program, [x], 200),
        in_blocks(program, [x], 200, [7, 50]),
        in_faust(program, [x], 200),
    ):
        for y, w in zip(found, wanted, strict=True):
            np.testing.assert_allclose(y, w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("least", [0, 1])
def test_a_loop_without_delay_is_named(least):
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    u = b.reserve((2,))
    late = b.add("delay", u, samples=(least, 1), name="hall.delay")
    b.define(u, "add", x, late, name="hall.mix")
    graph = b.build([u])
    if least:
        check(graph, 10)
        return
    for function in (order, ir.verify, lambda g: schedule(g, 10)):
        with pytest.raises(ir.DelayFreeLoopError, match=r"hall.mix.*hall.delay|hall.delay.*hall"):
            function(graph)


def coupled(count: int) -> ir.Graph:
    """Lines of different delays, each a node, that all feed all."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    heads = [b.reserve(()) for _ in range(count)]
    lines = [b.add("delay", head, samples=(100 + 37 * k,)) for k, head in enumerate(heads)]
    total = lines[0]
    for line in lines[1:]:
        total = b.add("add", total, line)
    total = b.add("mul", total, b.constant(-1 / count))
    for head, line in zip(heads, lines, strict=True):
        b.define(head, "add", total, line)
    return b.build([b.add("add", total, x)])


def ring(count: int) -> ir.Graph:
    """Delays of 1, 2, 3, … samples round one loop."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    k = head = b.reserve(())
    for m in range(1, count + 1):
        k = b.add("delay", k, samples=(m,))
    b.define(head, "add", x, k)
    return b.build([k])


@pytest.mark.parametrize("make", [coupled, ring])
def test_the_search_takes_work_in_proportion(make):
    """So few blocks are tried that four times the delays take four times the instructions."""
    few, many = (instructions(lambda n=n: schedule(make(n), 96_000)) for n in (15, 60))
    # Rings of more lengths than blocks are tried; a square would be 16 times as many.
    assert many < 5 * few


def test_loops_of_many_delays():
    check(coupled(60), 96_000)
    (loop,) = loops(check(ring(300), 900))
    assert loop.block == 300


@settings(max_examples=150, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])  # fmt: skip
@given(samples(), st.integers(1, 300))
def test_any_program(sample, length):
    check(sample.program.graph, length)
