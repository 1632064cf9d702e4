"""Writes the tables that test/data/arrow-compressed.test.mjs reads, with pyarrow 25: make.py FOLDER."""

import random
import sys
from pathlib import Path

import pyarrow as pa

ROWS, BATCH = 60, 25
rng = random.Random(7)


def column(value, absent):
    """Rows of which each `absent`-th is null."""
    return [None if i % absent == 3 else value(i) for i in range(ROWS)]


mixed = pa.table(
    {
        "ids": pa.array(range(1000, 1000 + ROWS), pa.int64()),
        "x": pa.array(column(lambda i: i / 4 - 3, 7), pa.float64()),
        "words": column(lambda i: f"word {i % 13}", 11),
        "colours": pa.array(column(lambda i: ("red", "green", "blue")[i % 3], 9)).dictionary_encode(),
        "flags": column(lambda i: i % 3 == 0, 5),
        "noise": pa.array([rng.random() for _ in range(ROWS)], pa.float64()),
        "lists": pa.array(column(lambda i: list(range(i % 4)), 6), pa.list_(pa.int32())),
        "nothing": pa.nulls(ROWS),
    }
)
# More than a block of either format; LZ4 goes back to blocks before.
long = pa.table({"n": pa.array([i % 250 for i in range(100_000)], pa.int32())})


def write(table, name, codec, batch):
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_file(Path(sys.argv[1]) / name, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch)


write(mixed, "mixed.arrow", None, BATCH)
for codec in ("lz4", "zstd"):
    write(mixed, f"mixed-{codec}.arrow", codec, BATCH)
    write(long, f"long-{codec}.arrow", codec, len(long))
