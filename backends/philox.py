"""Random numbers that depend on nothing but a seed, a name and an index.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), in integers.
A parameter's key is the first 64 bits, little-endian, of the SHA-256 of "schedc:SEED:NAME"; the element at flat
index i (row-major, in the whole tensor) is word i mod 4 of the block with counter (i div 4 mod 2^32, i div 2^34,
stream, 0). So any part of a tensor is drawn without the rest of it, on any device, in any order.

A word w stands for the probability u = (w + 1/2) / 2^32, which is never 0 or 1. Every distribution is
`offset + scale·k` with an integer k that is computed from w in integers alone: the only rounding is that of the last
multiplication (and addition, where offset is not 0), in float64. No library's log, erf or sin takes part, and without
offset a fused multiply-add can't either. The functions take numpy arrays and torch tensors alike.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Key = tuple[int, int]
"""The two 32-bit words of a Philox key."""

IntArray = Any
"""An int64 numpy array or torch tensor."""

MASK = 0xFFFFFFFF
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)

NORMAL_BITS = 44
"""`normal_units` counts in steps of 2^-44."""

SLICE = 1 << 13
"""Values that numpy computes at a time: their arrays stay in the cache, and come from the heap."""

SMALLEST_CUTOFF = 0.01
LARGEST_CUTOFF = 6.0
"""A cut further out than this cuts nothing: 2^32 probabilities reach to 6.34 sigmas, beyond 6 lie 2 in 10^9."""


def key(seed: int, name: str) -> Key:
    """The key of the stream that `seed` gives the parameter `name`."""
    digest = hashlib.sha256(f"schedc:{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox4x32(counter: Sequence[Any], k: Key) -> tuple[Any, Any, Any, Any]:
    """The four words of each block. A counter word is an int or an array of them: uint64 in numpy, int64 in torch."""
    c0, c1, c2, c3 = counter
    k0, k1 = k
    for _ in range(ROUNDS):
        low0, low1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        high0, high1 = _high(low0), _high(low1)
        high1 ^= c1
        high1 ^= k0
        high0 ^= c3
        high0 ^= k1
        low0 &= MASK
        low1 &= MASK
        c0, c1, c2, c3 = high1, low1, high0, low0
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def _high(product: Any) -> Any:
    high = product >> 32
    if not isinstance(high, np.ndarray | int):
        high &= MASK  # In torch the product has wrapped into the sign, which >> copies down.
    return high


def _blocks(k: Key, blocks: IntArray, last: int, stream: int) -> IntArray:
    """The words of blocks, 4 along a new last axis; `last` is the highest block."""
    is_numpy = isinstance(blocks, np.ndarray)
    index = blocks.view(np.uint64) if is_numpy else blocks
    low, high = (index & MASK, index >> 32) if last > MASK else (index, 0)
    lanes = philox4x32((low, high, stream, 0), k)
    if is_numpy:
        out = np.empty((*blocks.shape, 4), np.int64)
        for lane, word in enumerate(lanes):
            out[..., lane] = word
        return out
    import torch

    return torch.stack(lanes, dim=-1)


def words(k: Key, start: int, stop: int, stream: int = 0, device: torch.device | str | None = None) -> IntArray:
    """The words of the elements start … stop - 1, as int64: a tensor on `device`, or a numpy array if it is None."""
    first, end = start >> 2, (stop + 3) >> 2
    if device is None:
        blocks: IntArray = np.arange(first, end, dtype=np.int64)
    else:
        import torch

        blocks = torch.arange(first, end, dtype=torch.int64, device=device)
    return _blocks(k, blocks, end, stream).reshape(-1)[start - 4 * first : stop - 4 * first]


def words_in_runs(
    k: Key, starts: np.ndarray, length: int, stream: int = 0, device: torch.device | str | None = None
) -> IntArray:
    """The words of the elements s … s + length - 1 for each s in `starts`, as one row each; see `words`."""
    if len(starts) == 1:
        return words(k, int(starts[0]), int(starts[0]) + length, stream, device).reshape(1, length)
    offsets = starts & 3
    first = int(offsets[0])
    even = bool((offsets == first).all())
    count = ((first if even else 3) + length + 3) >> 2
    blocks: IntArray = (starts >> 2)[:, None] + np.arange(count)
    last = int(blocks.max())
    if device is not None:
        import torch

        blocks = torch.from_numpy(blocks).to(device)
    rows = _blocks(k, blocks, last, stream).reshape(len(starts), 4 * count)
    if even:
        return rows[:, first : first + length]
    columns = offsets[:, None] + np.arange(length)
    if isinstance(rows, np.ndarray):
        return np.take_along_axis(rows, columns, axis=1)
    return rows.gather(1, torch.from_numpy(columns).to(device))


def shares(indices: np.ndarray, count: int) -> list[np.ndarray]:
    """The indices cut into `count` shares as torch.chunk and DTensor do: equal, then a shorter one, then empty ones."""
    size = -(-len(indices) // count)
    return [indices[i * size : (i + 1) * size] for i in range(count)]


def runs(shape: Sequence[int], parts: Sequence[np.ndarray | None]) -> tuple[np.ndarray, int]:
    """The flat indices of a shard, row-major: those from each start on, `length` of them.

    `parts` has the shard's indices along each dimension, None for all of them.
    """
    whole_from = max((d for d, part in enumerate(parts) if part is not None), default=-1) + 1
    length = math.prod(shape[whole_from:])
    starts, stride = np.zeros(1, dtype=np.int64), length
    for d in range(whole_from - 1, -1, -1):
        part = parts[d]
        held = np.arange(shape[d], dtype=np.int64) if part is None else part.astype(np.int64)
        if d == whole_from - 1 and len(held) and held[-1] - held[0] == len(held) - 1 and (np.diff(held) == 1).all():
            starts, length = starts + held[0] * stride, length * len(held)
        else:
            starts = (held[:, None] * stride + starts[None, :]).reshape(-1)
        stride *= shape[d]
    return starts, length


def uniform_units(w: IntArray) -> IntArray:
    """The odd integer 2w + 1 - 2^32: uniform on (-2^32, 2^32), symmetric about 0."""
    k = 2 * w
    k -= (1 << 32) - 1
    return k


def normal_units(w: IntArray) -> IntArray:
    """The standard normal quantile of u, in units of 2^-44: strictly increasing in w, odd about u = 1/2.

    It differs from the true quantile by less than 1e-10. The tail probability's exponent and the 7 bits after it choose
    one of 4096 cubics, the other 24 bits are its argument; the cubics meet in value and slope.
    """
    c0, c1, c2, c3 = _table() if isinstance(w, np.ndarray) else _table_on(w.device)
    sign = w >> 31
    tail = sign * MASK
    tail ^= w
    tail *= 2
    tail += 1  # 2^33 times the probability of the nearer tail. It has at most 32 bits, so a double holds it.
    if isinstance(w, np.ndarray):
        bits = tail.astype(np.float64).view(np.int64)
    else:
        import torch

        bits = tail.to(torch.float64).view(torch.int64)
    cell = bits >> 45
    cell -= 1023 << 7
    bits >>= 21
    bits &= 0xFFFFFF
    size = c3[cell]
    for c in (c2, c1, c0):
        size *= bits
        size >>= 24
        size += c[cell]
    sign -= 1  # 0 above the median, -1 below: there (size ^ -1) - -1 is -size.
    size ^= sign
    size -= sign
    return size


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cubics' coefficients, in units of 2^-44: of 1, t, t², t³ with t in [0, 1) across the cell.

    Computed with additions, multiplications, divisions and square roots of doubles alone, so alike on every machine.
    """
    octave, step = np.divmod(np.arange(4097), 128)
    probability = np.ldexp(1.0 + step / 128.0, octave - 33)
    x = -_quantile(probability)
    cell_width = np.ldexp(1.0, octave[:-1] - 33 - 7)
    slope = -1.0 / _density(x)
    left, right = slope[:-1] * cell_width, slope[1:] * cell_width
    rise = x[1:] - x[:-1]
    columns = (x[:-1], left, 3.0 * rise - 2.0 * left - right, left + right - 2.0 * rise)
    c0, c1, c2, c3 = (np.rint(np.ldexp(c, NORMAL_BITS)).astype(np.int64) for c in columns)
    return c0, c1, c2, c3


@lru_cache(maxsize=16)
def _table_on(device: torch.device) -> tuple[torch.Tensor, ...]:
    import torch

    return tuple(torch.from_numpy(c).to(device) for c in _table())


# Wichura's AS241 (Applied Statistics 37, 1988), PPND16: numerator and denominator near the median, and in the tail
# down to e^-25. Highest power first.
_NEAR = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_LN2 = 0.6931471805599453
_SQRT_TAU = 2.5066282746310002


def _polynomial(coefficients: Sequence[float], x: np.ndarray) -> np.ndarray:
    out = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        out = out * x + c
    return out


def _quantile(p: np.ndarray) -> np.ndarray:
    """The standard normal quantile for e^-25 <= p <= 1/2, to about 1e-15."""
    q = p - 0.5
    r = 0.180625 - q * q
    near = q * _polynomial(_NEAR[0], r) / _polynomial(_NEAR[1], r)
    s = np.sqrt(-_log(p)) - 1.6
    tail = -_polynomial(_TAIL[0], s) / _polynomial(_TAIL[1], s)
    out: np.ndarray = np.where(q >= -0.425, near, tail)
    return out


def _log(x: np.ndarray) -> np.ndarray:
    """The natural logarithm, by 2·artanh((m - 1) / (m + 1))."""
    m, e = np.frexp(x)
    small = m < 0.7071067811865476
    m, e = np.where(small, 2.0 * m, m), np.where(small, e - 1, e)
    s = (m - 1.0) / (m + 1.0)
    out: np.ndarray = e * _LN2 + 2.0 * s * _polynomial([1.0 / (2 * n + 1) for n in range(14, -1, -1)], s * s)
    return out


def _density(x: np.ndarray) -> np.ndarray:
    """The standard normal density."""
    z = -0.5 * x * x
    n = np.rint(z / _LN2)
    r = z - n * _LN2
    out = np.ones_like(r)
    for k in range(18, 0, -1):
        out = 1.0 + out * r / k
    density: np.ndarray = np.ldexp(out, n.astype(np.int64)) / _SQRT_TAU
    return density


@lru_cache(maxsize=64)
def _first_word(cutoff: float) -> int:
    """The smallest word whose quantile is not below -cutoff."""
    low, high = 0, 1 << 31
    while low < high:
        middle = (low + high) // 2
        if int(normal_units(np.array([middle]))[0]) * 2.0**-NORMAL_BITS >= -cutoff:
            high = middle
        else:
            low = middle + 1
    return low


def truncated_words(w: IntArray, cutoff: float) -> IntArray:
    """The words moved, in order and evenly, to those whose quantile lies within ±cutoff."""
    first = _first_word(cutoff)
    # Split in halves of 16 bits, so that the product with a count of up to 2^32 stays within 63.
    count = (1 << 32) - 2 * first
    return first + (((w >> 16) * count + (((w & 0xFFFF) * count) >> 16)) >> 16)


@lru_cache(maxsize=64)
def truncated_std(cutoff: float) -> float:
    """The standard deviation of the standard normal cut at ±cutoff: 0.8796… at 2. To the last bit, on every machine."""
    with localcontext() as context:
        context.prec = 60
        c = Decimal(cutoff)
        density_ratio = (-c * c / 2).exp()  # times 1/√(2π), as the integral below: that factor cancels.
        term, total, n = c, c, 0
        while abs(term) > Decimal(10) ** -50:  # ∫₀ᶜ e^(-x²/2) dx = Σ (-1)ⁿ c^(2n+1) / (2ⁿ n! (2n+1))
            n += 1
            term = -term * c * c * (2 * n - 1) / (2 * n * (2 * n + 1))
            total += term
        return float((1 - c * density_ratio / total).sqrt())


@dataclass(frozen=True, slots=True)
class Law:
    """The distribution `offset + scale·k`. `base` says which integer a word gives, `cutoff` where a normal is cut."""

    base: str
    scale: float
    offset: float
    cutoff: float | None = None

    def units(self, w: IntArray) -> IntArray:
        """The integers k of the words."""
        if self.base == "uniform":
            return uniform_units(w)
        return normal_units(w if self.cutoff is None else truncated_words(w, self.cutoff))

    def values(self, w: IntArray) -> Any:
        """The float64 values of the words."""
        if isinstance(w, np.ndarray):
            flat, x = w.reshape(-1), np.empty(w.size)
            for start in range(0, w.size, SLICE):
                x[start : start + SLICE] = self.units(flat[start : start + SLICE])
            x = x.reshape(w.shape)
        else:
            import torch

            x = self.units(w).to(torch.float64)
        x *= self.scale
        if self.offset:
            x += self.offset
        return x


def uniform(low: float, high: float) -> Law:
    """The uniform distribution on (low, high)."""
    return Law("uniform", (high - low) / 2 * 2.0**-32, (low + high) / 2)


def normal(mean: float, std: float) -> Law:
    """The normal distribution."""
    return Law("normal", std * 2.0**-NORMAL_BITS, mean)


def trunc_normal(mean: float, std: float, cutoff: float, correct: bool = True) -> Law:
    """A normal distribution cut at `cutoff` sigmas either side.

    `std` is that of what is left; with `correct` off it is that of the normal before the cut. The sigmas of the cut are
    those of the normal before it. Raises ValueError for a cutoff under 0.01.
    """
    if not cutoff >= SMALLEST_CUTOFF:
        raise ValueError(f"the cutoff is {cutoff:g} sigmas; the smallest is {SMALLEST_CUTOFF:g}")
    if cutoff > LARGEST_CUTOFF:
        return normal(mean, std)
    return Law("normal", (std / truncated_std(cutoff) if correct else std) * 2.0**-NORMAL_BITS, mean, cutoff)


def sample(law: Law, seed: int, name: str, start: int, stop: int) -> np.ndarray:
    """The float64 values of the elements start … stop - 1 of the parameter `name`, by numpy alone."""
    values: np.ndarray = law.values(words(key(seed, name), start, stop))
    return values
