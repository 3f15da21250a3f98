"""Coverage-guided fuzzing of the compiler's text, by Atheris (libFuzzer): `python tests/fuzz_text.py [SECONDS]`.

Atheris is optional: `pip install atheris`. What it may not find: an exception, or a text that takes longer than the
time limit. The corpus starts from the texts that the other tests use; a finding is written to `crash-…` in the folder
given by `-artifact_prefix=`, and what is behind SECONDS goes to libFuzzer.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["schedc.grammar", "schedc.compiler"]):
    import schedc.compiler.symbolic  # noqa: F401 - loaded here, so that it is instrumented
    from schedc.compiler.diagnostics import draw, errors
    from schedc.compiler.pipeline import compile_source
    from schedc.compiler.source import Source

ROOT = Path(__file__).resolve().parent.parent
WORDS = (
    "train batch group init assert let param def curve modifier use include for until length steps epochs samples tokens "
    "seq_len dataset global lr weight_decay warmup cosine linear hold piecewise repeat plateau staircase clamp to= from= T= "
    "-> | *= [ ] ( ) { } % inf none start total base input t p n if( 1e400 ^ implies of ensures except ndim"
).split()


def one(data: bytes) -> None:
    """Compile a text, as the command line would."""
    staged = compile_source(Source("<fuzz>", data.decode("utf-8", "surrogateescape")))
    for said in staged.said:
        draw(said)
    assert (staged.value is None) == bool(errors(staged.said))


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        texts = [
            p.read_bytes() for f in ("examples", "stdlib/recipes", "tests/suite") for p in (ROOT / f).rglob("*.sched")
        ]
        for i, text in enumerate(text for whole in texts for text in whole.split(b"\n--- ")):
            (corpus / f"{i:05}").write_bytes(text.partition(b" ---\n")[2] or text)
        words = Path(folder) / "words"
        words.write_text("".join(f'"{w}"\n' for w in WORDS))
        bounds = [f"-max_total_time={seconds}", "-timeout=12", "-max_len=2000", "-rss_limit_mb=1500"]
        atheris.Setup([sys.argv[0], *bounds, f"-dict={words}", *sys.argv[2:], str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
