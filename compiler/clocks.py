"""The clocks of a run: how many steps, samples, tokens and epochs were consumed before a position.

A position counts updates and is rational. Every clock is strictly increasing, 0 at the start, and linear inside an
update, so
that a boundary given in any clock is one exact position. Where the batch size or the sequence length is itself
scheduled,
the clocks grow update by update from what was consumed before, and stretches of equal batches are kept as one piece.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Protocol

from schedc.compiler import plan
from schedc.compiler.plan import UnknownClock

MAX_PIECES = 20_000
"""More changes of the batch size than this within a run are refused."""


class ClockError(Exception):
    """Clocks that cannot be: an epoch without updates, a batch that changes too often. The text says it in one line."""


class Size(Protocol):
    """A batch size or sequence length as a function of what was consumed before."""

    def __call__(self, n: int, samples: Fraction, tokens: Fraction | None) -> tuple[int, int | None]:
        """The size at update n, and for how many updates from n on it certainly stays so (None: for ever)."""


@dataclass(slots=True)
class Piece:
    """Updates from `n` on that advance every clock evenly. Readings at its start, rates per update."""

    n: int
    samples: Fraction
    tokens: Fraction
    epochs: Fraction
    d_samples: Fraction
    d_tokens: Fraction
    d_epochs: Fraction
    batch: int
    seq_len: int


class Clocks:
    """All clocks of one file. Known pieces are extended when a reading beyond them is asked for."""

    def __init__(
        self,
        batch: int | Size | None,
        seq_len: int | Size | None,
        dataset: int | None,
        drop_last: bool,
        steps_per_epoch: int | None,
    ) -> None:
        self.batch, self.seq_len, self.dataset, self.drop_last = batch, seq_len, dataset, drop_last
        self.steps_per_epoch = steps_per_epoch
        self.known = {
            "steps": True,
            "samples": batch is not None,
            "tokens": batch is not None and seq_len is not None,
            "epochs": steps_per_epoch is not None or (dataset is not None and batch is not None),
        }
        self.pieces: list[Piece] = []
        self.starts: list[int] = []
        self.period: tuple[int, int] | None = None  # (index of the first repeated piece, updates in a period)
        self.finished = batch is None
        self._n, self._samples, self._tokens, self._epoch = 0, Fraction(0), Fraction(0), 0
        self._left = dataset or 0
        self._epoch_pieces: list[int] = []

    # -- reading

    def check(self, clock: str) -> None:
        if not self.known[clock]:
            raise UnknownClock(clock)

    def at(self, clock: str, position: Fraction) -> Fraction:
        """What `clock` shows at the position."""
        if clock == "steps":
            return position
        self.check(clock)
        if clock == "epochs" and self.steps_per_epoch is not None:
            return position / self.steps_per_epoch
        n = floor(position)
        while not self.finished and (
            n > self._n or (n == self._n and position != n) or (clock == "epochs" and self._open_epoch(n))
        ):
            self._extend()
        index, turns, n0 = self._locate(n)
        piece = self.pieces[index] if index < len(self.pieces) else None
        if piece is None:
            return {"samples": self._samples, "tokens": self._tokens, "epochs": Fraction(self._epoch)}[clock]
        value, rate = _column(piece, clock)
        return value + turns * self._per_period(clock) + (position - n0) * rate

    def position(self, clock: str, reading: Fraction) -> Fraction:
        """The position where `clock` shows `reading` (at least 0)."""
        if clock == "steps":
            return reading
        self.check(clock)
        if clock == "epochs" and self.steps_per_epoch is not None:
            return reading * self.steps_per_epoch
        while not self.finished and reading > self._frontier(clock):
            self._extend()
        turns = 0
        first = 0
        if self.period is not None:
            first = self.period[0]
            base, whole = _column(self.pieces[first], clock)[0], self._per_period(clock)
            if reading >= base + whole:
                turns = floor((reading - base) / whole)
                reading -= turns * whole
        values = [_column(p, clock)[0] for p in self.pieces] if len(self.pieces) < 64 else self._values(clock)
        index = max(bisect_right(values, reading) - 1, 0)
        piece = self.pieces[index]
        value, rate = _column(piece, clock)
        shift = turns * self.period[1] if self.period else 0
        # In an epoch still open its rate is unknown, but its start is a whole number of epochs.
        within = (reading - value) / rate if reading != value else Fraction(0)
        return piece.n + within + shift

    def _values(self, clock: str) -> list[Fraction]:
        return [_column(p, clock)[0] for p in self.pieces]

    def ratio(self, clock: str, per: str) -> Fraction | None:
        """How much `clock` advances while `per` advances by one, where that never changes; else None."""
        if clock == per:
            return Fraction(1)
        self.check(clock)
        self.check(per)
        a, b = self._rate(clock), self._rate(per)
        if a is not None and b is not None:
            return a / b
        if (
            not self.finished
            or clock in ("steps",)
            or per in ("steps",)
            or (self.steps_per_epoch and "epochs" in (clock, per))
        ):
            return None
        rates = {_column(p, clock)[1] / _column(p, per)[1] for p in self.pieces if _column(p, per)[1]}
        return rates.pop() if len(rates) == 1 else None

    def _rate(self, clock: str) -> Fraction | None:
        """How much the clock advances at every update, where that never changes."""
        if clock == "steps":
            return Fraction(1)
        if clock == "epochs" and self.steps_per_epoch is not None:
            return Fraction(1, self.steps_per_epoch)
        if not self.finished and isinstance(self.batch, int) and isinstance(self.seq_len, int | None):
            self._extend()
        if not self.finished:
            return None
        rates = {_column(p, clock)[1] for p in self.pieces}
        return rates.pop() if len(rates) == 1 else None

    def batch_at(self, position: Fraction) -> int:
        """The declared global batch, in samples, of the update in progress at the position."""
        self.check("samples")
        n = floor(position)
        while not self.finished and n >= self._n:
            self._extend()
        return self.pieces[self._locate(n)[0]].batch

    def constant_batch(self) -> int | None:
        """The global batch, if it is the same at every update."""
        return self.batch if isinstance(self.batch, int) else None

    @property
    def updates_known(self) -> int:
        """How many updates the pieces known so far hold, where they still grow."""
        return self._n

    def extend_to(self, position: Fraction) -> None:
        """Make the pieces known up to the position."""
        while not self.finished and position >= self._n:
            self._extend()

    # -- growing

    def _per_period(self, clock: str) -> Fraction:
        if self.period is None:
            return Fraction(0)
        first, _ = self.period
        total = Fraction(0)
        for i in range(first, len(self.pieces)):
            end = self.pieces[i + 1].n if i + 1 < len(self.pieces) else self.pieces[first].n + self.period[1]
            total += _column(self.pieces[i], clock)[1] * (end - self.pieces[i].n)
        return total

    def _locate(self, n: int) -> tuple[int, int, int]:
        """Index of the piece that holds update n, full periods before it, and the update where it starts."""
        if self.period is not None:
            first, updates = self.period
            start = self.pieces[first].n
            turns = max(0, (n - start) // updates) if n >= start else 0
            index = bisect_right(self.starts, n - turns * updates) - 1
            return index, turns, self.pieces[index].n + turns * updates
        if not self.finished and n >= self._n:
            return len(self.pieces), 0, self._n
        index = bisect_right(self.starts, n) - 1
        return index, 0, self.pieces[index].n

    def _open_epoch(self, n: int) -> bool:
        return bool(self._epoch_pieces) and n >= self.pieces[self._epoch_pieces[0]].n

    def _frontier(self, clock: str) -> Fraction:
        if clock == "samples":
            return self._samples
        return self._tokens if clock == "tokens" else Fraction(self._epoch)

    def _size(self, which: int | Size | None) -> tuple[int, int | None]:
        if which is None:
            return 1, None
        if isinstance(which, int):
            return which, None
        return which(self._n, self._samples, self._tokens if self.known["tokens"] else None)

    def _append(self, updates: int | None, per_update: int, batch: int, seq_len: int) -> None:
        d_tokens = Fraction(per_update * seq_len)
        piece = Piece(
            self._n,
            self._samples,
            self._tokens,
            Fraction(self._epoch),
            Fraction(per_update),
            d_tokens,
            Fraction(0),
            batch,
            seq_len,
        )
        same = self.pieces and self.dataset is None and (self.pieces[-1].d_samples, self.pieces[-1].d_tokens,
        self.pieces[-1].batch) == (
            piece.d_samples, piece.d_tokens, piece.batch,
        )  # fmt: skip
        if not same:
            if len(self.pieces) >= MAX_PIECES:
                raise ClockError(f"the batch size changes more than {MAX_PIECES} times")
            self.pieces.append(piece)
            self.starts.append(self._n)
            if self.dataset is not None:
                self._epoch_pieces.append(len(self.pieces) - 1)
        if updates is None:
            self.finished = True
            return
        self._n += updates
        self._samples += updates * per_update
        self._tokens += updates * d_tokens

    def _extend(self) -> None:
        """Make at least one more update known."""
        batch, lasts = self._size(self.batch)
        seq_len, seq_lasts = self._size(self.seq_len)
        if batch < 1 or seq_len < 1:
            raise ClockError(
                f"the batch size at update {self._n} is {batch}"
                if batch < 1
                else f"the sequence length at update {self._n} is {seq_len}"
            )
        m = min((x for x in (lasts, seq_lasts) if x is not None), default=None)
        if self.dataset is None:
            self._append(m, batch, batch, seq_len)
            return
        if self.drop_last and self._left < batch:
            if self.dataset < batch:
                raise ClockError(
                    f"an epoch of {self.dataset} samples has no full batch of {batch}, and drop_last drops the rest"
                )
            self._end_epoch()
            return
        full, rest = divmod(self._left, batch)
        first_of_epoch = self._left == self.dataset
        needed = full + (1 if rest and not self.drop_last else 0)
        if m is not None and m < needed:
            m = min(m, full)
            if m:
                self._append(m, batch, batch, seq_len)
                self._left -= m * batch
                return
        start = len(self.pieces)
        if full:
            self._append(full, batch, batch, seq_len)
            self._left -= full * batch
        if rest and not self.drop_last:
            self._append(1, rest, batch, seq_len)
            self._left = 0
        self._end_epoch()
        if m is None and first_of_epoch:
            self.period = (start, needed)
            self.finished = True

    def _end_epoch(self) -> None:
        if not self._epoch_pieces:
            return
        updates = self._n - self.pieces[self._epoch_pieces[0]].n
        first = self.pieces[self._epoch_pieces[0]].n
        for i in self._epoch_pieces:
            piece = self.pieces[i]
            piece.epochs = self._epoch + Fraction(piece.n - first, updates)
            piece.d_epochs = Fraction(1, updates)
        self._epoch += 1
        self._epoch_pieces.clear()
        self._left = self.dataset or 0

    # -- the Plan's form

    def model(self, end: Fraction | None) -> plan.Clocks:
        """The clocks as Plan data: up to `end` and as far as they are known, the last piece lasting for ever."""
        if self.batch is None:
            rate = None if self.steps_per_epoch is None else Fraction(1, self.steps_per_epoch)
            zero = None if rate is None else Fraction(0)
            return plan.Clocks(pieces=(plan.ClockPiece(update=0, epochs=zero, epochs_per_update=rate),))
        self.extend_to(end if end is not None else Fraction(0))
        while self._epoch_pieces and not self.finished:
            self._extend()
        tokens, epochs = self.known["tokens"], self.known["epochs"]
        spe = self.steps_per_epoch
        rows = [
            plan.ClockPiece(
                update=p.n,
                samples=p.samples,
                samples_per_update=p.d_samples,
                batch=p.batch,
                tokens=p.tokens if tokens else None,
                tokens_per_update=p.d_tokens if tokens else None,
                seq_len=p.seq_len if self.seq_len is not None else None,
                epochs=(Fraction(p.n, spe) if spe else p.epochs) if epochs else None,
                epochs_per_update=(Fraction(1, spe) if spe else p.d_epochs) if epochs else None,
            )
            for p in self.pieces
        ]
        if self.period is None:
            return plan.Clocks(pieces=tuple(rows))
        return plan.Clocks(pieces=tuple(rows), period_start=self.pieces[self.period[0]].n, period=self.period[1])


def _column(piece: Piece, clock: str) -> tuple[Fraction, Fraction]:
    if clock == "samples":
        return piece.samples, piece.d_samples
    return (piece.tokens, piece.d_tokens) if clock == "tokens" else (piece.epochs, piece.d_epochs)
