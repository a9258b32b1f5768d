"""Candidates in parts: sums over partitions give what the whole gives, bit for bit."""

from functools import reduce
from operator import add

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet._core.errors import SeptetWarning
from septet.cohort import partitioned_probabilities, selection_probabilities
from septet.cohort._scores import LATTICE
from septet.cohort._shift import exact_shift
from septet.cohort._tally import Tally, add_bins, count_bins

lattice_scores = st.one_of(
    st.integers(0, LATTICE),
    st.sampled_from([0, 1, LATTICE - 1, LATTICE]),
    st.integers(0, 8).map(lambda x: x * (LATTICE // 8)),
    st.integers(0, 4).map(lambda x: x << 16),
    st.integers(0, 200_000),
    st.integers(LATTICE - 200_000, LATTICE),
)


@settings(max_examples=30)
@given(st.lists(lattice_scores, min_size=1, max_size=20), st.data())
def test_tallies_of_parts_give_the_shift_of_the_whole(z, data):
    z = np.array(z)
    n = z.size
    k = data.draw(st.integers(0, n))
    cut = data.draw(st.integers(1, n))
    parts = [part for part in (z[:cut], z[cut:]) if part.size]
    whole = reduce(add, [Tally.of(part) for part in parts])
    fine = reduce(add_bins, [count_bins(part, whole.bins(k)) for part in parts])
    assert (whole.n, whole.total) == (n, z.sum())
    assert whole.shift(k, fine) == exact_shift(z, k)
    assert whole.largest(k, fine) == np.sort(z)[n - k :].sum()
    assert len(fine) <= 4


@pytest.mark.parametrize("objective", ["linear", "ratio"])
@pytest.mark.parametrize("k", [0, 1, 70, 400, 999, 1000])
def test_a_frame_in_partitions_gives_the_same_bits(k, objective, rng):
    scores = rng.beta(2, 5, 1000)
    frame = dd.from_pandas(pd.DataFrame({"s": scores}), npartitions=7)
    found = partitioned_probabilities(frame, k, score="s", objective=objective)
    whole = selection_probabilities(scores, k, objective=objective)
    assert (found.n, found.k) == (1000, k)
    assert (found.shift, found.scale) == (whole.shift, whole.scale)
    series = found.p.compute(scheduler="threads")
    assert series.to_numpy().tobytes() == np.asarray(whole).tobytes()
    assert series.index.tolist() == list(range(1000))


def test_partitions_may_be_empty(rng):
    scores = rng.random(100)
    frame = dd.from_pandas(pd.DataFrame({"s": scores}), npartitions=4)
    kept = frame[frame["s"] > scores[25:].max()] if scores[:25].max() > scores[25:].max() else frame
    found = partitioned_probabilities(kept[kept["s"] >= 0], 1, score="s")
    assert found.p.compute().sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="nobody to choose from"):
        partitioned_probabilities(frame[frame["s"] > 2], 1, score="s")


def test_bad_input_is_refused_as_in_memory():
    frame = dd.from_pandas(pd.DataFrame({"s": [0.5, 0.2, 0.7], "t": [1.0, 2.0, np.nan]}), 2)
    with pytest.raises(ValueError, match="score='x' is no column; there are 's', 't'"):
        partitioned_probabilities(frame, 1, score="x")
    with pytest.raises(ValueError, match="missing or infinite|outside"):
        partitioned_probabilities(frame, 1, score="t")
    with pytest.raises(ValueError, match="from 0 to n = 3"):
        partitioned_probabilities(frame, 4, score="s")
    zeros = dd.from_pandas(pd.DataFrame({"s": [0.5, 0.0, 0.0]}), 2)
    with pytest.warns(SeptetWarning, match="candidates of score 0"):
        partitioned_probabilities(zeros, 1, score="s")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cluster's own machinery
def test_a_local_cluster_gives_the_same_bits(rng):
    from dask.distributed import Client, LocalCluster

    scores = rng.random(200_000)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        frame = dd.from_pandas(pd.DataFrame({"s": scores}), npartitions=8)
        p = partitioned_probabilities(frame, 5_000, score="s").p.compute()
    expected = np.asarray(selection_probabilities(scores, 5_000))
    assert p.to_numpy().tobytes() == expected.tobytes()
