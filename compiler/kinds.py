"""What kind of length a schedule has, told from its form: closed, open, endless or constant.

*closed* has an end; *open* reads `T` or `p` and was given none; *endless* varies and needs no `T`; *constant* is one
number.
"""

from __future__ import annotations

from schedc.compiler import resolved as rd
from schedc.compiler.amounts import Env, Ground, formal_argument, is_none, word
from schedc.compiler.expressions import spend
from schedc.compiler.resolve import type_of, varies_with

CLOSED, OPEN, ENDLESS, CONSTANT = "closed", "open", "endless", "constant"


def is_operand(node: rd.Expr, env: Env) -> bool:
    """Whether the node is laid out as a schedule of its own inside a formula."""
    match node:
        case rd.Chain() | rd.Timed() | rd.Pipe() | rd.StageCall() | rd.ImportedRef():
            return True
        case rd.LetRef(let=let):
            return varies_with(let.value) is not None
        case rd.FormalRef(name=name, type=rd.Type(kind="schedule")):
            found = formal_argument(name, env)
            return isinstance(found, tuple) and (is_operand(*found) or varies_with(found[0]) is not None)
    return False


def branches_of(node: rd.Apply, env: Env) -> tuple[rd.Expr, ...]:
    """The arguments of an application; of an `if` on a word, a flag or `none`, only the one that it takes."""
    if node.name != "if":
        return node.args
    condition, yes, no = node.args
    match condition:
        case rd.FlagValue() | rd.FormalRef(type=rd.Type(kind="flag")):
            return (yes,) if word(condition, env) == "true" else (no,)
        case rd.Apply(name="eq" | "ne" as name, args=(rd.FormalRef(name=formal), b)) if type_of(b) == "none":
            return (yes,) if is_none(formal, env) == (name == "eq") else (no,)
        case rd.Apply(name="eq" | "ne" as name, args=(a, b)) if type_of(a) in ("word", "text", "flag"):
            return (yes,) if (word(a, env) == word(b, env)) == (name == "eq") else (no,)
    return node.args


def operands_of(node: rd.Expr, env: Env) -> list[tuple[rd.Expr, Env]]:
    """The schedules inside a formula, those that a decided choice leaves out excepted."""
    spend()
    if is_operand(node, env):
        return [(node, env)]
    match node:
        case rd.FormalRef(name=name):
            found = formal_argument(name, env)
            return operands_of(*found) if isinstance(found, tuple) else []
        case rd.Apply():
            return [o for a in branches_of(node, env) for o in operands_of(a, env)]
        case rd.CurveCall(args=args):
            return [o for a in args for o in operands_of(a, env)]
        case rd.Choose(branches=branches):
            chosen = word(node.word, env)
            return operands_of(branches[chosen], env) if chosen in branches else []
    return []


def own_reads(node: rd.Expr, env: Env) -> set[str]:
    """Which of t, T, p, n, batch a formula reads itself, outside its operands; "bound" for another binding."""
    spend()
    match node:
        case rd.Variable(name=name) if name in ("t", "T", "p", "n"):
            return {name}
        case rd.Variable(name="batch"):
            return {"batch"}
        case rd.BoundRef():
            return {"bound"}
        case rd.Apply():
            return set().union(*(own_reads(a, env) for a in branches_of(node, env)))
        case rd.CurveCall(args=args):
            return set().union(*(own_reads(a, env) for a in args))
        case rd.InputAt(at=at):
            return own_reads(at, env)
        case rd.Choose(branches=branches):
            chosen = word(node.word, env)
            return own_reads(branches[chosen], env) if chosen in branches else set()
        case rd.FormalRef(name=name) if not is_operand(node, env):
            found = formal_argument(name, env)
            if isinstance(found, tuple) and node.type.kind == "schedule":
                return own_reads(*found)
        case rd.LetRef(let=let) if not is_operand(node, env):
            return own_reads(let.value, Env(outer=env))
    return set()


def varying(node: rd.Expr, env: Env) -> bool:
    """Whether the value changes over time, as far as the form tells."""
    spend()
    if is_operand(node, env):
        return True
    match node:
        case rd.Variable(name=name):
            return name in ("t", "p", "n", "input", "batch")
        case rd.BoundRef() | rd.InputAt():
            return True
        case rd.FormalRef(name=name):
            found = formal_argument(name, env)
            return isinstance(found, tuple) and varying(*found)
        case rd.Apply():
            return any(varying(a, env) for a in branches_of(node, env))
        case rd.CurveCall(args=args):
            return any(varying(a, env) for a in args)
        case rd.Choose(branches=branches):
            chosen = word(node.word, env)
            return chosen in branches and varying(branches[chosen], env)
    return False


def kind(node: rd.Expr, env: Env, ground: Ground) -> str:
    """The kind of the schedule."""
    spend()
    match node:
        case rd.Timed():
            return CLOSED
        case rd.Chain(stages=stages):
            *firsts, last = [kind(s, env, ground) for s in stages]
            if any(k != CLOSED for k in firsts):
                return OPEN
            return ENDLESS if last == CONSTANT else last
        case rd.Pipe(body=body, modifier=modifier):
            if modifier.definition.external and modifier.definition.name == "repeat":
                times = modifier.args.get("times")
                endless = times is None or (isinstance(times, rd.Variable) and times.name == "inf")
                return ENDLESS if endless else CLOSED
            forwarded = modifier.definition.body
            if isinstance(forwarded, rd.Pipe):
                piped = Env(
                    {name: (n, env) for name, n in modifier.args.items()},
                    modifier.definition,
                    None,
                    node.span,
                    env,
                    (body, env),
                )
                return kind(forwarded, piped, ground)
            return kind(body, env, ground)
        case rd.Variable(name="input") if env.piped is not None:
            return kind(*env.piped, ground)
        case rd.StageCall(definition=definition, args=args):
            if definition.external:
                return CONSTANT
            inner = Env({name: (n, env) for name, n in args.items()}, definition, None, node.span, env)
            inside = definition.body
            assert inside is not None
            formal = definition.formal("T")
            if formal is not None and not is_operand(inside, inner):
                given = formal_argument("T", inner)
                if given is not None:
                    return CLOSED
            if formal is not None and "T" not in args and formal.default is None and is_operand(inside, inner):
                return OPEN if _reads_horizon(inside) else kind(inside, inner, ground)
            return kind(inside, inner, ground)
        case rd.LetRef(let=let) if is_operand(node, env):
            return kind(let.value, Env(outer=env), ground)
        case rd.FormalRef(name=name) if is_operand(node, env):
            found = formal_argument(name, env)
            assert isinstance(found, tuple)
            return kind(*found, ground)
        case rd.ImportedRef(module=module, name=name):
            value = module.binds[name].value if name in module.binds else module.lets[name].value
            found_kind = kind(value, Env(), ground)
            return CLOSED if found_kind == OPEN and "length" in module.train else found_kind
    own_kinds = {kind(o, e, ground) for o, e in operands_of(node, env)}
    own = own_reads(node, env)
    if own & {"T", "p"} or OPEN in own_kinds:
        return OPEN
    moving = own & {"t", "n", "bound"} or ("batch" in own and ground.clocks.constant_batch() is None)
    if moving or ENDLESS in own_kinds:
        return ENDLESS
    return CLOSED if CLOSED in own_kinds else CONSTANT


def _reads_horizon(node: rd.Expr) -> bool:
    match node:
        case rd.Variable(name=name):
            return name == "T"
        case rd.Chain(stages=parts) | rd.Apply(args=parts) | rd.CurveCall(args=parts) | rd.ListValue(items=parts):
            return any(map(_reads_horizon, parts))
        case rd.Timed(body=a, amount=b) | rd.Pipe(body=a, modifier=b):
            return _reads_horizon(a) or _reads_horizon(b)
        case rd.StageCall(args=args) | rd.Choose(branches=args):
            return any(map(_reads_horizon, args.values()))
        case rd.InputAt(at=a):
            return _reads_horizon(a)
    return False
