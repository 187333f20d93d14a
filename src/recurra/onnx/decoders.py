"""What a decoder is made of in ONNX: attention over a memory, a named input, and what is written next."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from recurra.onnx.equations import Builder, Emitter
from recurra.runtime import ops

_ALL = 2**31 - 1  # the end of a slice that has none


def emit_attend(emitter: Emitter, name: str, op: ops.Attend, x: str) -> str:
    """Scores of all steps at once, and a softmax over the rows of the memory that are there; where it is told what it
    has looked at, a Scan over the steps."""
    builder, add = emitter.builder, emitter.builder.add
    K, V, M, P = op.sizes["K"], op.values, op.capacity, op.heads
    begin = {state: emitter.begins(name, state, x) for state in op.states(op.sizes["I"])}
    q = add("MatMul", [x, builder.array(f"{name}.W", op.W.T)])
    q = add("Add", [q, builder.array(f"{name}.b", op.b)])
    q = add("Reshape", [q, builder.numbers(0, 0, P, K // P)])  # [T, B, P, k]
    keys = add("Reshape", [begin["keys"], builder.numbers(0, P, K // P, M)])
    there = _there(builder, name, op, x, begin)
    if op.u is None:
        shares = _shares(builder, name, op, q, keys, there)
    else:
        shares, covered = _scanned(builder, name, op, q, keys, there, begin["covered"])
        emitter.give(name, "covered", covered)
    values = add("Transpose", [add("Reshape", [begin["values"], builder.numbers(0, M, P, V // P)])], perm=[0, 2, 1, 3])
    found = add("MatMul", [add("Unsqueeze", [shares, builder.numbers(3)]), values])  # [T, B, P, 1, v]
    last = add("Reshape", [shares, builder.numbers(0, 0, P * M)])
    last = add("Slice", [last, builder.numbers(-1), builder.numbers(_ALL), builder.numbers(0)])
    emitter.give(name, "weights", add("Squeeze", [last, builder.numbers(0)]))
    for state in ("keys", "values", "count"):
        emitter.give(name, state, add("Identity", [begin[state]]))
    if op.wait:
        steps = add("Cast", [add("Shape", [x], start=0, end=1)], to=onnx.TensorProto.FLOAT)
        emitter.give(name, "steps", add("Min", [add("Add", [begin["steps"], steps]), builder.number(float(M))]))
    parts = [x, add("Reshape", [found, builder.numbers(0, 0, V)])]
    if op.shows:
        parts.append(add("ReduceMean", [shares, builder.numbers(2)], keepdims=0))
    return add("Concat", parts, axis=-1)


def _there(builder: Builder, name: str, op: ops.Attend, x: str, begin: dict[str, str]) -> str:
    """Which rows of the memory each step sees, [T, B, 1, M] (or 1 in place of T)."""
    add = builder.add
    count = add("Unsqueeze", [begin["count"], builder.numbers(0)])  # [1, B, 1]
    if op.wait:
        first = add("Add", [begin["steps"], builder.number(float(op.wait))])
        steps = add("Squeeze", [add("Shape", [x], start=0, end=1), builder.numbers(0)])
        zero, one = (builder.array(f"whole_{n}", np.array(n, np.int64)) for n in (0, 1))
        steps = add("Cast", [add("Range", [zero, steps, one])], to=onnx.TensorProto.FLOAT)
        steps = add("Reshape", [steps, builder.numbers(-1, 1, 1)])
        count = add("Min", [count, add("Add", [first, steps])])
    place = builder.array(f"{name}.places", np.arange(op.capacity, dtype=np.float32))
    return add("Less", [place, add("Unsqueeze", [count, builder.numbers(3)])])


def _shares(builder: Builder, name: str, op: ops.Attend, q: str, keys: str, there: str) -> str:
    """Of the rows for queries [..., B, P, k] and keys [B, P, k, M]: [..., B, P, M]."""
    add, P = builder.add, op.heads
    if op.v is None:
        scores = add("MatMul", [add("Unsqueeze", [q, builder.numbers(-2)]), keys])
    else:
        bent = add("Tanh", [add("Add", [add("Unsqueeze", [q, builder.numbers(-1)]), keys])])
        scores = add("MatMul", [builder.array(f"{name}.v", op.v.reshape(P, 1, -1)), bent])
    scores = add("Squeeze", [scores, builder.numbers(-2)])
    scores = add("Where", [there, scores, builder.number(float(np.finfo(np.float32).min))])
    return add("Mul", [add("Softmax", [scores], axis=-1), add("Cast", [there], to=onnx.TensorProto.FLOAT)])


def _scanned(builder: Builder, name: str, op: ops.Attend, q: str, keys: str, there: str, begin: str) -> tuple[str, str]:
    """The shares step by step, and the sum of them all [B, P * M]."""
    P, M = op.heads, op.capacity
    step = Builder(builder.arrays, f"{name}.step.")
    before, query, seen = (f"{name}.step.{n}" for n in ("covered", "q", "there"))
    assert op.u is not None
    looked = step.add("Unsqueeze", [step.add("Reshape", [before, step.numbers(0, P, M)]), step.numbers(2)])
    own = step.add("Add", [keys, step.add("Mul", [step.array(f"{name}.u", op.u.reshape(P, -1, 1)), looked])])
    shares = _shares(step, name, op, query, own, seen)
    after = step.add("Add", [before, step.add("Reshape", [shares, step.numbers(0, P * M)])])
    outputs = [step.add("Identity", [v], [f"{name}.step.{n}"]) for n, v in (("covered.next", after), ("a", shares))]
    kinds = [
        (n, onnx.TensorProto.BOOL if n == seen else onnx.TensorProto.FLOAT) for n in (before, query, seen, *outputs)
    ]
    info = [helper.make_tensor_value_info(n, kind, None) for n, kind in kinds]
    body = helper.make_graph(step.nodes, f"{name}.step", info[:3], info[3:])
    lead = builder.add("Shape", [q], start=0, end=1)
    each = builder.add("Concat", [lead, builder.numbers(1, 1, 1)], axis=0)
    every = builder.add("Expand", [there, each])  # of each step, where it does not change
    ends = [f"{name}.covered.last", f"{name}.shares"]
    builder.add("Scan", [begin, q, every], ends, body=body, num_scan_inputs=2)
    return ends[1], ends[0]


def emit_join(emitter: Emitter, name: str, op: ops.Join, x: str) -> str:
    """Side by side."""
    return emitter.builder.add("Concat", [x, emitter.inputs[op.name]], axis=-1)


def emit_readout(emitter: Emitter, name: str, op: ops.Readout, x: str) -> str:
    """Two layers and a softmax; what is copied is added at its number."""
    builder, add = emitter.builder, emitter.builder.add
    shares = ""
    if op.copies:
        parts = [f"{name}.features", f"{name}.shares"]
        add("Split", [x, builder.numbers(op.sizes["F"], op.copies)], parts, axis=-1)
        x, shares = parts
    e = add("Add", [add("MatMul", [x, builder.array(f"{name}.W", op.W.T)]), builder.array(f"{name}.b", op.b)])
    e = add("Tanh", [e])
    scores = add("MatMul", [e, builder.array(f"{name}.S", op.S.T)])
    p = add("Softmax", [add("Add", [scores, builder.array(f"{name}.c", op.c)])], axis=-1)
    if op.w is not None and op.d is not None:
        own = add("MatMul", [e, builder.array(f"{name}.w", op.w.T)])
        own = add("Sigmoid", [add("Add", [own, builder.array(f"{name}.d", op.d)])])
        places = emitter.begins(name, "places", x)
        emitter.give(name, "places", add("Identity", [places]))
        at = add("Expand", [add("Cast", [places], to=onnx.TensorProto.INT64), add("Shape", [shares])])
        copied = add("Mul", [add("Sub", [builder.number(1.0), own]), shares])
        known = add("Concat", [add("Mul", [own, p]), add("Mul", [shares, builder.number(0.0)])], axis=-1)
        p = add("ScatterElements", [known, at, copied], axis=-1, reduction="add")
    return add("Concat", [p, e], axis=-1) if op.feeds else p
