#!/usr/bin/env python3
"""TensorBoard event files: what Python's own package writes, and what it reads of ours.

    pip install tensorboard
    python oracles/tensorboard_events.py                 # writes crates/train/tests/data/events.bin
    python oracles/tensorboard_events.py DIR_OR_FILE     # prints the scalars that TensorBoard finds there

The times are fixed so that the bytes are.
"""
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

OUT = Path(__file__).resolve().parent.parent / "crates/train/tests/data/events.bin"


def write():
    def scalars(time, step, pairs):
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in pairs]
        return Event(wall_time=time, step=step, summary=Summary(value=values))

    with open(OUT, "wb") as file:
        writer = RecordWriter(file)
        for event in (
            Event(wall_time=1_700_000_000.25, file_version="brain.Event:2"),
            scalars(1_700_000_001.5, 1, [("train/loss", 0.7), ("train/learning_rate", 2e-4)]),
            scalars(1_700_000_002.75, 300, [("eval/准确率", 0.875)]),
        ):
            writer.write(event.SerializeToString(deterministic=True))
        writer.flush()


def read(path):
    events = EventAccumulator(path, size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        for s in events.Scalars(tag):
            print(tag, s.step, s.value)


read(sys.argv[1]) if len(sys.argv) > 1 else write()
