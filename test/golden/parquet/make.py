"""Writes the tables that test/data/parquet-damage.test.mjs reads, with pyarrow 25: make.py FOLDER."""

import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS, GROUP = 300, 200
rng = random.Random(7)


def column(value, absent):
    """Rows of which each `absent`-th is null."""
    return [None if i % absent == 3 else value(i) for i in range(ROWS)]


mixed = pa.table(
    {
        "ids": pa.array(range(1000, 1000 + ROWS), pa.int64()),
        "small": pa.array(column(lambda i: i * i % 97, 13), pa.int32()),
        "x": pa.array(column(lambda i: i / 4 - 3, 7), pa.float64()),
        "words": column(lambda i: f"word {i % 13}", 11),
        "texts": column(lambda i: f"text {i // 7} {'x' * (i % 5)}", 17),
        "plain": column(lambda i: f"{i}", 19),
        "colours": column(lambda i: ("red", "green", "blue")[i % 3], 9),
        "flags": column(lambda i: i % 3 == 0, 5),
        "noise": pa.array([rng.random() for _ in range(ROWS)], pa.float64()),
        "same": pa.array([5] * ROWS, pa.int32()),
        "nothing": pa.nulls(ROWS, pa.float32()),
    }
)
encodings = {
    "ids": "DELTA_BINARY_PACKED",
    "small": "DELTA_BINARY_PACKED",
    "words": "DELTA_LENGTH_BYTE_ARRAY",
    "texts": "DELTA_BYTE_ARRAY",
    "noise": "BYTE_STREAM_SPLIT",
    "flags": "RLE",
}

for version in (1, 2):
    for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
        pq.write_table(
            mixed,
            Path(sys.argv[1]) / f"{codec}-{version}.parquet",
            compression=codec,
            data_page_version=f"{version}.0",
            row_group_size=GROUP,
            data_page_size=600,
            write_batch_size=50,
            use_dictionary=["colours", "same"],
            column_encoding=encodings,
            store_schema=False,
        )
