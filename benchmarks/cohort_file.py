"""Choosing from a Parquet file of 100 million rows in bounded memory (`ROWS=...` for another size).

There is no peer: the row states time, size and the peak memory of a process that does nothing else.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sidebyside

ROWS = int(os.environ.get("ROWS", 100_000_000))
PIECE = 1 << 20
CHILD = """
import json, resource, sys, time
from septet.cohort import pick_file
start = time.perf_counter()
cohort = pick_file(sys.argv[1], sys.argv[2], int(sys.argv[3]), score="score", id="id", seed="s")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([time.perf_counter() - start, peak, len(cohort.ids)]))
"""


def main() -> list[dict[str, Any]]:
    """Write the file, choose one row in a thousand, and state what it took."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "all.parquet"), Path(folder, "some.parquet")
        write(source)
        command = [sys.executable, "-c", CHILD, str(source), str(target), str(ROWS // 1000)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, peak, chosen = json.loads(done.stdout)
        size = source.stat().st_size / 2**30
    return [
        {
            "what": f"choose {chosen} of {ROWS} rows, Parquet to Parquet",
            "file (GiB)": size,
            "seconds": seconds,
            "peak GiB": peak,
            "floor": "1 GiB",
            "met": peak <= 1,
        }
    ]


def write(path: Path) -> None:
    """Write ids and skewed scores piece by piece."""
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    schema = pa.schema([("id", pa.int64()), ("score", pa.float64())])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, ROWS, PIECE):
            n = min(PIECE, ROWS - start)
            ids = np.arange(start, start + n)
            writer.write_table(pa.table([ids, rng.beta(2, 5, n)], schema=schema))


if __name__ == "__main__":
    sidebyside.show(main())
