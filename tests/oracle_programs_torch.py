"""Programs for the records of torch: torch_basic, torch_plateau, torch_compose."""

from __future__ import annotations

from oracle_programs import Exclusion, Outcome, Program, Record, Refusal, call

TITLE = "PyTorch 2.15, `torch.optim.lr_scheduler`"
FRAMEWORKS = ("torch",)

LAMBDAS = {
    "0.95 ** epoch": "(0.95^t)",
    "0.5 ** (epoch // 30)": "(0.5^floor(t / 30))",
    "1.0 / (epoch + 1) ** 0.5": "(1 / (t + 1)^0.5)",
    "0.5 * (1 + math.cos(math.pi * min(epoch, 80) / 80))": "(0.5 * (1 + cos(pi * min(t, 80) / 80)))",
}
"""The recorded functions, as schedules."""
PRODUCTS = {
    "0.95": "torch.MultiplicativeLR(lr_lambda=0.95)",
    "0.99": "torch.MultiplicativeLR(lr_lambda=0.99)",
    "0.5 if epoch % 10 == 0 else 1.0": "torch.LambdaLR(lr_lambda=(0.5^floor(t / 10)))",
}
"""The recorded functions of MultiplicativeLR; one that is no constant as the product written out."""
CURVES = {
    "1/(5**(x*0.0001))": "curve scaled(x) = 1 / 5^(x * 0.0001)",
    "0.5*(1+math.sin(x*math.pi/2.))": "curve scaled(x) = 0.5 * (1 + sin(x * pi / 2))",
}
"""The recorded functions of CyclicLR, as curves."""
ABSOLUTE = ("LambdaLR",)
"""Classes that overwrite what those before them in a ChainedScheduler made."""
RESUMED = "a scheduler built with last_epoch=k on a fresh optimizer, which PyTorch does not resume; its parameters are not recorded"
ERASED = "PyTorch undoes the cut, as {}; in the language a cut stays"
MIXED = "each scheduler steps on the other's value, and with an eta_min above 0 that is neither product nor sum: there is no closed form"
INSIDE = "PyTorch refuses a plateau inside; the language has a meaning for it, that of the records warmup_then_plateau"
BUG = "a bug of PyTorch: {}"


def entry(p: Record) -> str:
    """One scheduler, from its class and parameters."""
    name = p["class"]
    if name == "LambdaLR":
        return f"torch.LambdaLR(lr_lambda={LAMBDAS[p['lr_lambda']]})"
    if name == "MultiplicativeLR":
        return PRODUCTS[p["lr_lambda"]]
    return call(f"torch.{name}", p)


def basic(record: Record) -> str | Outcome:
    p, name = dict(record["params"]), record["class"].partition(".")[0]
    if record["id"].endswith("/fractional_epoch"):
        return f"use torch\ntrain {{ steps_per_epoch = 10 }}\nlr = {call('torch.' + name, {**p, 'T_0': '3 epochs'})}"
    if name == "LambdaLR" and isinstance(p["lr_lambda"], list):
        first, second = (entry({"class": name, "lr_lambda": f}) for f in p["lr_lambda"])
        return Program(f'use torch\nlr = {first}\ngroup "second.*" {{ lr = {second} }}', bases=(0.01,))
    if name == "OneCycleLR":
        return one_cycle(record, p)
    if name == "CyclicLR":
        return cyclic(record, p)
    text = f"use torch\nlr = {entry({'class': name, **p})}"
    if p.get("gamma", 0) > 1:
        # One that grows for ever is finite only in a run that ends.
        text += f"\ntrain {{ length = {len(record['lr'])} steps }}"
    return Program(text) if record["lr"] else Refusal(text)


def one_cycle(record: Record, p: dict[str, object]) -> Program:
    peaks = p.pop("max_lr")
    first, *others = peaks if isinstance(peaks, list) else [peaks]
    text = f"use torch\nlr = {call('torch.OneCycleLR', {'max_lr': first, **p})}\n"
    text += f"momentum = {call('torch.OneCycleLR_momentum', p, ('div_factor', 'final_div_factor'))}\n"
    text += "".join(f'group "second.*" {{ lr = {call("torch.OneCycleLR", {"max_lr": m, **p})} }}\n' for m in others)
    if p.get("anneal_strategy") == "linear":
        # Beyond the end PyTorch's rate is negative; a declared run, as long as PyTorch's, does not get there.
        text += f"train {{ length = {p['total_steps']} steps }}\n"
    return Program(text, {"lr": "lr", "momentum": "momentum"}, (record["base_lr"],) * len(others))


def cyclic(record: Record, p: dict[str, object]) -> Program:
    text = "use torch\n"
    if "scale_fn" in p:
        text += CURVES[str(p["scale_fn"])] + "\n"
        p["scale_fn"] = "scaled"
    text += f"lr = {call('torch.CyclicLR', p)}\n"
    if record.get("momentum"):
        text += f"momentum = {call('torch.CyclicLR_momentum', p, ('base_lr', 'max_lr'))}\n"
    return Program(text, {"lr": "lr", "momentum": "momentum"})


def composed(record: Record) -> str | Outcome:
    p, name = record["params"], record["class"]
    if "/resume_last_epoch" in record["id"]:
        return Exclusion(RESUMED)
    if "/resume_state_dict" in record["id"]:
        return f"use torch\nlr = {call('torch.' + name, p, ('resumed_after_step',))}"
    if record.get("raises_at") == -1:
        return Exclusion(INSIDE)
    match name:
        case "SequentialLR":
            return sequential(p, (0.02,) if "lr_groups" in record else ())
        case "ChainedScheduler":
            return chained(p)
        case "LinearLR;ReduceLROnPlateau":
            return f"use torch\nlr = {entry(p['warmup'])} -> {call('torch.ReduceLROnPlateau', p['plateau'])}"
        case "CosineAnnealingLR+ReduceLROnPlateau":
            return f"use torch\nlr = {call('torch.CosineAnnealingLR', p['cosine'])} | {call('torch.ReduceLROnPlateau', p['plateau'])}"
        case "SequentialLR+ReduceLROnPlateau" if record["id"].endswith("_k5/noisy"):
            # Nothing is cut before the milestone.
            warmup = call("torch.LinearLR", {"start_factor": p["start_factor"], "total_iters": p["warmup"]})
            main = call("torch.CosineAnnealingLR", {"T_max": p["T_max"]})
            return f"use torch\nlr = {warmup} until {p['warmup']} -> {main} | {call('torch.ReduceLROnPlateau', p['plateau'])}"
        case "SequentialLR+ReduceLROnPlateau":
            return Exclusion(ERASED.format("SequentialLR starts from the initial lr again at its milestone"))
        case "LambdaLR+ReduceLROnPlateau":
            return Exclusion(ERASED.format("LambdaLR writes a value of its own at the next step"))
    raise ValueError(f"no program for {name}")


def sequential(p: Record, bases: tuple[float, ...]) -> Program:
    schedulers, milestones = p["schedulers"], p["milestones"]
    *stages, last = map(entry, schedulers)
    if schedulers[-1]["class"] == "MultiplicativeLR":
        # It goes on from the value before the switch: the first of its own updates is the one before.
        milestones = [milestones[0] - 1]
        last = f"exponential({schedulers[-1]['lr_lambda']})"
    chain = " -> ".join([f"{s} until {m}" for s, m in zip(stages, milestones, strict=True)] + [last])
    return Program(f"use torch\nlr = {chain}", bases=bases)


def chained(p: Record) -> str | Outcome:
    schedulers = p["schedulers"]
    classes = [s["class"] for s in schedulers]
    if any(s.get("eta_min") for s in schedulers):
        return Exclusion(MIXED)
    if classes[-1] in ABSOLUTE:
        return f"use torch\nlr = {entry(schedulers[-1])}"
    if classes[0] in ABSOLUTE:
        # What the second one does to the value lasts one update, so that only its change since the last one counts.
        after = entry(schedulers[1])
        return f"use torch\nlr = {entry(schedulers[0])} * {after} / (base for 1 step -> {after})"
    return "use torch\nlr = " + " * ".join(map(entry, schedulers)) + " / base" * (len(schedulers) - 1)


def plateau(record: Record) -> str | Outcome:
    p = dict(record["params"])
    floors = p.pop("min_lr", 0)
    first, *others = floors if isinstance(floors, list) else [floors]
    text = f"use torch\nlr = {call('torch.ReduceLROnPlateau', {**p, 'min_lr': first})}"
    text += "".join(
        f'\ngroup "second.*" {{ lr = {call("torch.ReduceLROnPlateau", {**p, "min_lr": m})} }}' for m in others
    )
    return Program(text, bases=(0.01,))


def program(record: Record) -> str | Outcome:
    if "known_bug" in record:
        return Exclusion(BUG.format(record["known_bug"]))
    if record["id"].startswith("torch/compose/"):
        return composed(record)
    return plateau(record) if record["class"] == "ReduceLROnPlateau" else basic(record)
