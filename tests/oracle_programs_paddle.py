"""Programs for the records of Paddle: paddle_basic, paddle_plateau, paddle_static."""

from __future__ import annotations

from oracle_programs import Exclusion, Outcome, Program, Record, Refusal, call

TITLE = "PaddlePaddle 3.3, `paddle.optimizer.lr`"
FRAMEWORKS = ("paddlepaddle",)

LAMBDAS = {"0.95 ** epoch": "(0.95^t)", "0.5 ** (epoch // 30)": "(0.5^floor(t / 30))"}
"""The recorded functions, as schedules."""
PRODUCTS = {"0.95": ("MultiplicativeDecay", "0.95"), "epoch / (epoch + 1.0)": ("LambdaDecay", "(1 / (t + 1))")}
"""The recorded functions of MultiplicativeDecay; one that is no constant as the product written out."""
CURVES = {"1/(5**(x*0.0001))": "curve scaled(x) = 1 / 5^(x * 0.0001)"}
"""The recorded functions of CyclicLR, as curves."""
UNORDERED = "Paddle reads boundaries out of order up to the first one ahead; the language counts those that have passed"
ANY_ORDER = "Paddle refuses milestones out of order; the language counts those that have passed, in any order"
FAILS = "Paddle 3.3 itself can't run this function of its static graphs any more, so that no values are recorded"
RESUMED = "a scheduler built with last_epoch=k; its parameters are not recorded"
POISONED = "Paddle takes the first metric for the best, whatever it is, and none is better than nan, or than inf less a share of inf"
ONE_ULP = "a metric falls on the bar itself: Paddle computes best - best·threshold, the language, as PyTorch, best·(1 - threshold)"
BUG = "a bug of Paddle: {}"


def entry(p: Record) -> str:
    """One scheduler, from its class and parameters; one inside another is written the same way."""
    name, p = p["class"], dict(p)
    if "lr_lambda" in p:
        if name == "MultiplicativeDecay":
            name, p["lr_lambda"] = PRODUCTS[p["lr_lambda"]]
        else:
            p["lr_lambda"] = LAMBDAS[p["lr_lambda"]]
    if isinstance(p.get("learning_rate"), dict):
        p["learning_rate"] = entry(p["learning_rate"])
    return call(f"paddle.{name}", p)


def program(record: Record) -> str | Outcome:
    p, id_ = {"class": record["class"], **record["params"]}, record["id"]
    if "known_bug" in record:
        return Exclusion(BUG.format(record["known_bug"]))
    if "/resume_last_epoch" in id_:
        return Exclusion(RESUMED)
    if id_.startswith("paddle/static/") and not record["lr"]:
        return Exclusion(FAILS)
    if id_ == "paddle/PiecewiseDecay/unsorted":
        return Exclusion(UNORDERED)
    if id_ in ("paddle/MultiStepDecay/unsorted", "paddle/MultiStepDecay/dup"):
        return Exclusion(ANY_ORDER)
    if id_.endswith("/nan_first") or (id_.endswith("/inf_first") and {"mode", "threshold_mode"}.isdisjoint(p)):
        return Exclusion(POISONED)
    if id_ == "paddle/ReduceOnPlateau/thr_big/down":
        return Exclusion(ONE_ULP)
    head = "use paddle\n"
    if "scale_fn" in p:
        head += CURVES[p["scale_fn"]] + "\n"
        p["scale_fn"] = "scaled"
    if p.get("anneal_strategy") == "linear":
        # Beyond the end Paddle's rate is negative; a declared run, as long as Paddle's, does not get there.
        head += f"train {{ length = {p['total_steps']} steps }}\n"
    text = f"{head}lr = {entry(p)}"
    return Program(text) if record["lr"] else Refusal(text)
