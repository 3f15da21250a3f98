"""The random numbers of initialisation: published vectors, exact relations, distributions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats  # type: ignore[import-untyped]

from schedc.backends import philox

MASK = philox.MASK
WORDS = np.unique(
    np.concatenate(
        [
            np.random.default_rng(0).integers(0, 1 << 32, 200_000),
            np.arange(5000),
            MASK - np.arange(5000),
            (1 << 31) + np.arange(-5000, 5000),
            # Around every power of two: there the cubics change octave.
            np.clip([(1 << k) // 2 + d for k in range(33) for d in range(-200, 200)], 0, MASK),
        ]
    )
).astype(np.int64)
"""Words from everywhere, and all those near the ends, the median and the octaves' borders; ascending."""


def quantile(w: np.ndarray) -> np.ndarray:
    values: np.ndarray = special.ndtri((w + 0.5) * 2.0**-32)
    return values


# The known answers for 10 rounds in Random123's kat_vectors.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    assert philox.philox4x32(counter, key) == expected
    as_numpy = philox.philox4x32([np.array([c], np.uint64) for c in counter], key)
    assert tuple(int(w[0]) for w in as_numpy) == expected
    as_torch = philox.philox4x32([torch.tensor([c]) for c in counter], key)
    assert tuple(int(w) for w in as_torch) == expected


def test_the_key_is_the_documented_one() -> None:
    # printf 'schedc:7:fc.weight' | sha256sum
    assert philox.key(7, "fc.weight") == (0x2DF6264D, 0x8E2E87C5)
    assert len({philox.key(s, n) for s in range(50) for n in ("a", "b", "a.b")}) == 150


def test_words_are_lanes_of_blocks() -> None:
    key = philox.key(0, "w")
    words = philox.words(key, 0, 40)
    for i in range(40):
        assert words[i] == philox.philox4x32((i // 4, 0, 0, 0), key)[i % 4]
    assert list(philox.words(key, 0, 4, stream=3)) == list(philox.philox4x32((0, 0, 3, 0), key))


def test_blocks_beyond_32_bits() -> None:
    key = philox.key(0, "w")
    start = (5 << 34) + (7 << 2)
    assert list(philox.words(key, start, start + 4)) == list(philox.philox4x32((7, 5, 0, 0), key))
    across = philox.words(key, (1 << 34) - 2, (1 << 34) + 2)
    assert list(across[2:]) == list(philox.philox4x32((0, 1, 0, 0), key))[:2]
    assert torch.equal(torch.from_numpy(across), philox.words(key, (1 << 34) - 2, (1 << 34) + 2, device="cpu"))


@given(st.integers(0, 1 << 40), st.integers(0, 70), st.integers(0, 3))
def test_any_part_has_the_same_words(start: int, count: int, stream: int) -> None:
    key = philox.key(1, "w")
    base = start - start % 4
    whole = philox.words(key, base, start + count + 5, stream)
    part = philox.words(key, start, start + count, stream)
    assert np.array_equal(part, whole[start - base :][:count])
    assert np.array_equal(part, philox.words(key, start, start + count, stream, device="cpu").numpy())


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6), st.integers(1, 30), st.booleans())
def test_runs_of_words(starts: list[int], length: int, aligned: bool) -> None:
    key = philox.key(1, "w")
    places = np.array(starts, np.int64) * (4 if aligned else 1)
    expected = np.stack([philox.words(key, int(s), int(s) + length) for s in places])
    assert np.array_equal(philox.words_in_runs(key, places, length), expected)
    assert np.array_equal(philox.words_in_runs(key, places, length, device="cpu").numpy(), expected)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_runs_cover_a_shard_in_its_own_order(shape: list[int], data: st.DataObject) -> None:
    indices = [data.draw(st.one_of(st.none(), st.sets(st.integers(0, n - 1)).map(sorted))) for n in shape]
    parts = [None if i is None else np.array(i, np.int64) for i in indices]
    starts, length = philox.runs(shape, parts)
    flat = (starts[:, None] + np.arange(length)).reshape(-1)
    whole = np.arange(math.prod(shape)).reshape(shape)
    expected = whole[np.ix_(*[np.arange(n) if p is None else p for n, p in zip(shape, parts, strict=True)])]
    assert np.array_equal(flat, expected.reshape(-1))


@given(st.integers(0, 30), st.integers(1, 9))
def test_shares_are_those_of_torch_chunk(n: int, count: int) -> None:
    shares = philox.shares(np.arange(n), count)
    assert len(shares) == count
    expected = [c.tolist() for c in torch.arange(n).chunk(count)] if n else []
    assert [s.tolist() for s in shares if len(s)] == [c for c in expected if c]


class TestNormal:
    def test_it_is_the_quantile_to_1e_10(self) -> None:
        values = philox.normal(0, 1).values(WORDS)
        assert np.abs(values - quantile(WORDS)).max() < 1e-10
        assert values.max() == pytest.approx(6.3379577545537, abs=1e-10)

    def test_it_increases_strictly(self) -> None:
        assert (np.diff(philox.normal_units(WORDS)) > 0).all()

    def test_neighbours_at_every_border_of_the_cubics_increase(self) -> None:
        # Cell j of octave k begins where 2w + 1 reaches 2^k·(1 + j/128).
        edges = np.array([((1 << k) * (128 + j) // 128 - 1) // 2 for k in range(32) for j in range(128)])
        for d in range(-2, 3):
            w = np.clip(edges + d, 0, (1 << 31) - 2)
            assert (philox.normal_units(w + 1) > philox.normal_units(w)).all()

    def test_it_is_odd(self) -> None:
        assert np.array_equal(philox.normal_units(MASK - WORDS), -philox.normal_units(WORDS))

    def test_torch_computes_the_same_integers(self) -> None:
        expected = philox.normal_units(WORDS)
        assert np.array_equal(philox.normal_units(torch.from_numpy(WORDS)).numpy(), expected)

    def test_its_table_is_the_same_on_every_machine(self) -> None:
        # Were it computed with a library's logarithm, these sums would differ between machines.
        sums = [int(c.sum()) for c in philox._table()]
        assert sums == [290585771400239643, -111758890158152, 261376518400, -1018320011]

    def test_the_arguments_are_not_changed(self) -> None:
        w = WORDS[:100].copy()
        philox.normal(0, 1).values(w)
        philox.trunc_normal(0, 1, 2).values(w)
        philox.uniform(0, 1).values(w)
        assert np.array_equal(w, WORDS[:100])


class TestUniform:
    def test_it_is_exact(self) -> None:
        values = philox.uniform(0, 1).values(WORDS)
        assert np.array_equal(values, (2.0 * WORDS + 1) / 2.0**33)
        assert values.min() > 0
        assert values.max() < 1

    def test_it_is_symmetric_about_its_middle(self) -> None:
        values = philox.uniform(-0.3, 0.3)
        assert np.array_equal(values.values(MASK - WORDS), -values.values(WORDS))


class TestTruncatedNormal:
    @pytest.mark.parametrize("cutoff", [0.01, 0.5, 1.0, 2.0, 3.0, 5.5])
    def test_it_stays_within_and_reaches_the_cut(self, cutoff: float) -> None:
        moved = philox.truncated_words(WORDS, cutoff)
        values = philox.normal(0, 1).values(moved)
        assert np.abs(values).max() <= cutoff
        assert np.abs(values).max() == pytest.approx(cutoff, rel=1e-3)
        assert (np.diff(moved) >= 0).all()

    @pytest.mark.parametrize("cutoff", [0.01, 1.0, 2.0, 4.0])
    def test_the_words_are_moved_as_exact_arithmetic_does(self, cutoff: float) -> None:
        first = philox._first_word(cutoff)
        count = (1 << 32) - 2 * first
        expected = [first + int(w) * count // (1 << 32) for w in WORDS[::500]]
        assert philox.truncated_words(WORDS[::500], cutoff).tolist() == expected
        assert philox.truncated_words(torch.from_numpy(WORDS[::500]), cutoff).tolist() == expected

    def test_std(self) -> None:
        # The constant in jax and keras is .87962566103423978.
        assert philox.truncated_std(2) == 0.8796256610342398
        for cutoff in (0.01, 0.5, 1.0, 3.0, 6.0):
            scipys = float(stats.truncnorm(-cutoff, cutoff).std())
            assert philox.truncated_std(cutoff) == pytest.approx(scipys, rel=1e-9)

    def test_a_cut_far_out_cuts_nothing(self) -> None:
        assert philox.trunc_normal(0, 1, 7) == philox.normal(0, 1)

    def test_a_cut_too_narrow_for_32_bits_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"0\.01"):
            philox.trunc_normal(0, 1, 0.001)


LAWS: list[tuple[philox.Law, Any]] = [
    (philox.uniform(-2, 3), stats.uniform(-2, 5)),
    (philox.normal(0.5, 2), stats.norm(0.5, 2)),
    (philox.trunc_normal(1, 1, 2), stats.truncnorm(-2, 2, 1, 1 / 0.8796256610342398)),
    (philox.trunc_normal(0, 1, 0.5, correct=False), stats.truncnorm(-0.5, 0.5)),
]


@pytest.mark.parametrize(("law", "expected"), LAWS)
def test_the_distribution_is_the_one_asked_for(law: philox.Law, expected: Any) -> None:
    for seed in range(3):
        values = philox.sample(law, seed, "w", 0, 100_000)
        assert stats.kstest(values, expected.cdf).pvalue > 1e-3
        assert values.std() == pytest.approx(float(expected.std()), rel=0.01)
        assert np.corrcoef(values[:-1], values[1:])[0, 1] == pytest.approx(0, abs=0.015)


def test_streams_of_different_names_and_seeds_are_unrelated() -> None:
    values = [philox.sample(philox.normal(0, 1), s, n, 0, 50_000) for s in (0, 1) for n in ("a", "b")]
    for x, y in pairwise(values):
        assert np.corrcoef(x, y)[0, 1] == pytest.approx(0, abs=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize(("law", "expected"), LAWS)
def test_a_gpu_has_the_same_bits(law: philox.Law, expected: Any) -> None:
    here = law.values(WORDS)
    there = law.values(torch.from_numpy(WORDS).cuda()).cpu().numpy()
    assert np.array_equal(here, there)
