"""Syntax tree -> resolved program: every name bound, every argument matched to a parameter, types checked.

`Modules` reads a file's items into a `resolved.Module`; `Names` resolves one expression in one scope. Whatever is wrong
is
collected, so that a file's errors come out in one run; a faulty expression stands as `POISON` and is never laid out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from schedc.compiler import library
from schedc.compiler import messages_layout as layout
from schedc.compiler import messages_names as say
from schedc.compiler import resolved as rd
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.expressions import OPS, spend
from schedc.compiler.source import Span
from schedc.grammar import syntax

MAX_NESTED = 32
"""Definitions that use each other one inside the other, or lets that read each other in a row, are refused beyond."""

#: Hyper-parameters that optimizers of PyTorch and its neighbours have in their param groups.
HYPERPARAMETERS = frozenset(
    "lr weight_decay momentum eps alpha dampening rho betas[0] betas[1] betas[2] lr_decay lambd t0 etas[0] etas[1] step_sizes[0] "
    "step_sizes[1] beta1 beta2 nesterov_momentum trust_coefficient clipnorm initial_accumulator_value".split()
)
VARIABLES = frozenset("t T p n start base total batch pi e inf none".split())
INIT_VARIABLES = frozenset("fan_in fan_out numel pi e inf none".split())
RESERVED = frozenset("t T p n start base input total batch pi e inf none for until true false".split())
#: Functions by name -> operator. Further: choose, len.
FUNCTIONS = {
    name: name
    for name in "exp log sqrt sin cos tan tanh abs floor ceil round min max mod clamp if passed pick product".split()
}
BINARY = {"+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow"}
COMPARE = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
ARITY = {**{f: OPS[f] for f in FUNCTIONS}, "passed": 2, "pick": 2, "product": 2}


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean around an expression. `where` says in words where it stands."""

    formals: dict[str, rd.Formal] = field(default_factory=dict)
    variables: frozenset[str] = VARIABLES
    captures: frozenset[str] = frozenset()
    where: str = "here"
    modifier: bool = False


def type_of(node: rd.Expr) -> str:
    """The kind of a resolved expression: number, share (a `%`), duration, schedule, flag, text, word, list, curve or none."""
    match node:
        case rd.Literal(unit=unit):
            return "number" if unit is None else "share" if unit == "%" else "duration"
        case rd.Variable(name="total" | "T"):
            return "duration"
        case rd.Variable(name="none"):
            return "none"
        case rd.FormalRef(type=t):
            return "list" if t.is_list else {"count": "number", "level": "number"}.get(t.kind, t.kind)
        case rd.LetRef(let=let):
            spend()
            return type_of(let.value)
        case rd.TextValue():
            return "text"
        case rd.FlagValue():
            return "flag"
        case rd.Word():
            return "word"
        case rd.CurveRef():
            return "curve"
        case rd.ListValue():
            return "list"
        case rd.Chain() | rd.Timed() | rd.Pipe() | rd.StageCall() | rd.ImportedRef():
            return "schedule"
        case rd.Apply(name="div", args=(a, b)):
            return (
                "duration" if type_of(a) == "duration" and type_of(b) != "duration" else _widest((a, b), but="duration")
            )
        case rd.Apply(name="if", args=args):
            return _widest(args[1:])
        case rd.Apply(name="lt" | "le" | "gt" | "ge" | "eq" | "ne" | "passed" | "len"):
            return "number"
        case rd.Apply(name="pick" | "product", args=args):
            return "number"
        case rd.Apply(name="exp" | "log" | "sqrt" | "sin" | "cos" | "tan" | "tanh" | "pow", args=args):
            return _widest(args, but="duration")
        case rd.Apply(args=args):
            return _widest(args)
        case rd.Choose(branches=branches):
            return _widest(branches.values())
    return "number"


def _widest(args: Iterable[rd.Expr], but: str = "") -> str:
    kinds = {type_of(a) for a in args}
    return next((k for k in ("schedule", "duration", "share") if k in kinds and k != but), "number")


def varies_with(node: rd.Expr) -> str | None:
    """The first thing inside that changes with the update, in words; None if the value is one number."""
    match node:
        case rd.Variable(name=name) if name in ("t", "p", "n", "input"):
            return f"`{name}`"
        case rd.BoundRef(name=name):
            return f"`{name}`"
        case rd.FormalRef(name=name, type=rd.Type(kind="schedule")):
            return f"`{name}`"
        case rd.LetRef(let=let):
            spend()
            return varies_with(let.value)
        case rd.Chain() | rd.Timed() | rd.Pipe() | rd.StageCall() | rd.ImportedRef() | rd.InputAt():
            return "the schedule in it"
        case rd.Apply(args=args) | rd.CurveCall(args=args):
            return next((v for a in args if (v := varies_with(a))), None)
        case rd.Choose(branches=branches):
            return next((v for a in branches.values() if (v := varies_with(a))), None)
        case rd.ListValue(items=items):
            return next((v for a in items if (v := varies_with(a))), None)
    return None


def reads(node: rd.Expr, name: str, seen: set[int] | None = None) -> Span | None:
    """Where the variable `name` is read in the expression or in a definition that it calls; None if nowhere."""
    seen = set() if seen is None else seen
    match node:
        case rd.Variable(span=span, name=found):
            return span if found == name else None
        case rd.LetRef(let=let):
            if id(let) in seen:
                return None
            seen.add(id(let))
            return reads(let.value, name, seen)
        case rd.Chain(stages=parts) | rd.Apply(args=parts) | rd.CurveCall(args=parts) | rd.ListValue(items=parts):
            return next((s for x in parts if (s := reads(x, name, seen))), None)
        case rd.Timed(body=a, amount=b):
            return reads(a, name, seen) or reads(b, name, seen)
        case rd.Pipe(body=a, modifier=b):
            return reads(a, name, seen) or reads(b, name, seen)
        case rd.InputAt(at=a):
            return reads(a, name, seen)
        case rd.Choose(branches=branches):
            return next((s for x in branches.values() if (s := reads(x, name, seen))), None)
        case rd.StageCall(span=span, definition=definition, args=args):
            found_arg = next((s for x in args.values() if (s := reads(x, name, seen))), None)
            if found_arg:
                return found_arg
            if id(definition) not in seen:
                seen.add(id(definition))
                definition.prepare()
                inside = [definition.body] if definition.body else []
                inside += [f.default for f in definition.formals if f.default and f.name not in args]
                if any(reads(x, name, seen) for x in inside):
                    return span
            return None
    return None


class Names:
    """Resolves expressions of one module. `said` collects what is wrong; `call` stack guards against recursion."""

    def __init__(self, module: rd.Module, said: list[Diagnostic], pending: list[rd.Definition], lets: LetTable) -> None:
        self.module, self.said, self.pending, self.lets = module, said, pending, lets

    def bad(self, said: Diagnostic) -> rd.Expr:
        self.said.append(said)
        return rd.Literal(said.span, Fraction(0))

    # -- lookups

    def definition(self, kind: str, name: syntax.Name) -> rd.Definition | None:
        """The stage, curve or modifier of that name: the module's own, an import's, or the standard library's."""
        module: rd.Module | None = self.module
        for part in name.parts[:-1]:
            module = module.imports.get(part) if module else None
        if module is None:
            return None
        found: rd.Definition | None = getattr(module, kind).get(name.parts[-1])
        if found is None and len(name.parts) == 1:
            found = self.lets.prelude(kind, name.text)
        if found is not None:
            found.used = True
        return found

    def not_imported(self, name: str, span: Span) -> rd.Expr:
        """What stands for something of a file that was never imported, or whose import has failed already."""
        if name in self.module.unreadable:
            return rd.Literal(span, Fraction(0))
        return self.bad(say.unknown_module(name, span, set(self.module.imports) | set(library.stdlib_names())))

    def known(self, kind: str) -> set[str]:
        own = set(getattr(self.module, kind))
        kinds = {"stages": ("def", "curve"), "curves": ("curve",), "modifiers": ("modifier",)}[kind]
        own |= {n for k, n in library.prelude_index() if k in kinds and _public(k, n)}
        return own | {f"{a}.{n}" for a, m in self.module.imports.items() for n in getattr(m, kind)}

    # -- expressions

    def expression(self, tree: syntax.Expr, scope: Scope) -> rd.Expr:
        """The tree with its names bound."""
        match tree:
            case syntax.Paren(body=body):
                return self.expression(body, scope)
            case syntax.Number(span=span, value=value, unit=unit):
                return rd.Literal(span, value, unit)
            case syntax.Text(span=span, value=text):
                return rd.TextValue(span, text)
            case syntax.Flag(span=span, value=flag):
                return rd.FlagValue(span, flag)
            case syntax.Name():
                return self.name(tree, scope)
            case syntax.Indexed(span=span, name=name, index=index):
                return self.bound_name(f"{name}[{index}]", span)
            case syntax.Items():
                return self.items(tree, scope, None)
            case syntax.Negate(span=span, body=body):
                inner = self.expression(body, scope)
                if isinstance(inner, rd.Literal):
                    return rd.Literal(span, -inner.value, inner.unit)
                return self.apply("neg", (inner,), span)
            case syntax.Binary(span=span, left=a, op=op, right=b):
                return self.apply(BINARY[op], (self.expression(a, scope), self.expression(b, scope)), span)
            case syntax.Compare(span=span, left=a, op=op, right=b):
                return self.apply(COMPARE[op], (self.expression(a, scope), self.expression(b, scope)), span)
            case syntax.Chain(span=span, stages=stages):
                return rd.Chain(span, tuple(self.schedule(s, scope) for s in stages))
            case syntax.Timed(span=span, body=body, word=word, amount=amount):
                return rd.Timed(span, self.schedule(body, scope), word, self.duration(amount, f"`{word}`", scope))
            case syntax.Pipe(span=span, body=body, modifier=modifier):
                piped = self.schedule(body, scope)
                found = self.modifier(modifier, scope)
                return piped if found is None else rd.Pipe(span, piped, found)
            case syntax.Call():
                return self.call(tree, scope)
            case syntax.Implies(span=span) | syntax.GroupOf(span=span):
                word = "implies" if isinstance(tree, syntax.Implies) else "of"
                return self.bad(say.not_here(word, "outside `assert`", span))

    def schedule(self, tree: syntax.Expr, scope: Scope) -> rd.Expr:
        """An expression that has values over time: anything but texts, flags, words, lists, durations."""
        node = self.expression(tree, scope)
        kind = type_of(node)
        if kind in ("text", "flag", "word", "list", "curve", "none"):
            help_ = "remove the quotes" if isinstance(node, rd.TextValue) else None
            return self.bad(say.not_a_number("a stage", kind, node.span, help_))
        # `T - t` is a formula, in the unit of `t`.
        if kind in ("duration", "share") and not varies_with(node):
            return self.bad(
                say.wrong_type(
                    "a stage",
                    "value",
                    "duration" if kind == "duration" else "share of the run",
                    node.span,
                    "write `hold for …` for a pause",
                )
            )
        return node

    def duration(self, tree: syntax.Expr, name: str, scope: Scope) -> rd.Expr:
        node = self.expression(tree, scope)
        return self.fits(node, rd.Type("duration"), name.strip("`"))

    def apply(self, name: str, args: tuple[rd.Expr, ...], span: Span) -> rd.Expr:
        if name in ("eq", "ne") and type_of(args[1]) == "none" and isinstance(args[0], rd.FormalRef):
            return rd.Apply(span, name, args)
        for a in args:
            kind = type_of(a)
            comparing = name in ("eq", "ne") and kind in ("word", "text", "flag")
            if (
                kind in ("text", "flag", "word", "list", "curve", "none")
                and not comparing
                and not (name == "if" and kind == "flag" and a is args[0])
            ):
                return self.bad(
                    say.not_a_number(
                        "arithmetic" if name in BINARY.values() or name == "neg" else f"`{name}`", kind, a.span
                    )
                )
        return rd.Apply(span, name, args)

    def items(self, tree: syntax.Items, scope: Scope, type_: rd.Type | None) -> rd.Expr:
        out: list[rd.Expr] = []
        for item in tree.items:
            node = (
                self.value(item, rd.Type(type_.kind, False, type_.words, ()), "a list item", scope)
                if type_
                else self.expression(item, scope)
            )
            if tree.unit:
                if isinstance(node, rd.Literal) and node.unit is None:
                    node = rd.Literal(node.span, node.value, tree.unit)
                else:
                    node = rd.Apply(
                        node.span, "mul", (node, rd.Literal(tree.unit_span or tree.span, Fraction(1), tree.unit))
                    )
            out.append(node)
        return rd.ListValue(tree.span, tuple(out))

    def name(self, tree: syntax.Name, scope: Scope) -> rd.Expr:
        """A bare name: a parameter, a variable, a let, a bound name, or a stage without arguments, in that order."""
        text, span = tree.text, tree.span
        if len(tree.parts) == 1:
            if text in scope.formals and not (text in ("T", "p") and text in scope.variables):
                formal = scope.formals[text]
                return rd.FormalRef(span, text, formal.type)
            if text in scope.variables or (text == "input" and scope.modifier):
                return rd.Variable(span, text)
            if text in RESERVED or text in INIT_VARIABLES:
                return self.bad(say.not_here(text, scope.where, span))
            if text in scope.captures:
                return rd.CaptureRef(span, text)
            if (let := self.lets.get(text)) is not None:
                let.used = True
                return rd.LetRef(span, let)
            if text in HYPERPARAMETERS or text in self.module.binds:
                return rd.BoundRef(span, text)
        elif (imported := self.imported(tree)) is not None:
            return imported
        if (definition := self.definition("stages", tree)) is not None:
            return self.stage_call(definition, (), span, scope)
        if len(tree.parts) > 1 and tree.parts[0] not in self.module.imports:
            return self.not_imported(tree.parts[0], span)
        if self.definition("modifiers", tree) is not None:
            return self.bad(say.modifier_as_stage(text, span))
        known = (
            self.known("stages")
            | set(scope.formals)
            | set(self.lets.names())
            | scope.variables
            | set(self.module.binds)
        )
        return self.bad(say.unknown_name(text, "stage or value", span, known))

    def imported(self, tree: syntax.Name) -> rd.Expr | None:
        module: rd.Module | None = self.module
        for part in tree.parts[:-1]:
            module = module.imports.get(part) if module else None
        if module is None:
            return None
        last = tree.parts[-1]
        if last in module.binds:
            return rd.ImportedRef(tree.span, module, last)
        if last in module.lets:
            if varies_with(module.lets[last].value):
                return rd.ImportedRef(tree.span, module, last)
            return rd.LetRef(tree.span, module.lets[last])
        return None

    def bound_name(self, text: str, span: Span) -> rd.Expr:
        if text not in HYPERPARAMETERS and text not in self.module.binds:
            return self.bad(say.not_a_hyperparameter(text, span, HYPERPARAMETERS))
        return rd.BoundRef(span, text)

    # -- calls

    def call(self, tree: syntax.Call, scope: Scope) -> rd.Expr:
        name, span = tree.name, tree.span
        single = len(name.parts) == 1
        if single and name.text in scope.formals and scope.formals[name.text].type.kind == "curve":
            formal = scope.formals[name.text]
            args = tuple(self.expression(a.value, scope) for a in tree.args)
            return rd.CurveCall(span, rd.FormalRef(name.span, name.text, formal.type), args)
        if single and name.text == "input" and scope.modifier:
            if len(tree.args) != 1 or tree.args[0].name:
                return self.bad(say.too_many_arguments("input", 1, span))
            return rd.InputAt(span, self.expression(tree.args[0].value, scope))
        if single and not tree.short and name.text in ("choose", "len", *FUNCTIONS):
            return self.function(tree, scope)
        if (definition := self.definition("stages", name)) is not None:
            return self.stage_call(definition, tree.args, span, scope)
        if len(name.parts) > 1 and name.parts[0] not in self.module.imports:
            return self.not_imported(name.parts[0], name.span)
        if self.definition("modifiers", name) is not None:
            return self.bad(say.modifier_as_stage(name.text, name.span))
        known = self.known("stages") | (set() if tree.short else {"choose", "len", *FUNCTIONS})
        return self.bad(say.unknown_name(name.text, "stage" if tree.short else "stage or function", name.span, known))

    def function(self, tree: syntax.Call, scope: Scope, words: rd.Type | None = None) -> rd.Expr:
        """A function applied; the values of a `choose` are words where a word is expected."""
        name, span, args = tree.name.text, tree.span, tree.args
        if name == "choose":
            if not args or args[0].name or not all(a.name for a in args[1:]):
                return self.bad(
                    say.missing_argument("choose", "word", "a word, then one value for each of its words", span)
                )
            word = self.expression(args[0].value, scope)
            branches = {
                a.name or "": self.value(a.value, words, "choose", scope) if words else self.expression(a.value, scope)
                for a in args[1:]
            }
            if isinstance(word, rd.FormalRef) and word.type.kind == "word":
                for a in args[1:]:
                    if a.name not in word.type.words:
                        return self.bad(say.unknown_word(word.name, a.name or "", word.type.words, a.span))
                for w in word.type.words:
                    if w not in branches:
                        return self.bad(say.missing_argument("choose", w, "a value", span))
            elif type_of(word) != "word":
                return self.bad(say.wrong_type("choose", "word", type_of(word), word.span))
            return rd.Choose(span, word, branches)
        for a in args:
            if a.name:
                return self.bad(say.unknown_argument(name, a.name, a.name_span or a.span, ()))
        wanted = 1 if name == "len" else ARITY[name]
        if wanted is None and not args:
            return self.bad(say.missing_argument(name, "x", "number", span))
        if wanted is not None and len(args) != wanted:
            if len(args) > wanted:
                return self.bad(say.too_many_arguments(name, wanted, args[wanted].span))
            return self.bad(say.missing_argument(name, ("x", "y", "z")[len(args)], "number", span))
        if name in ("passed", "pick", "product", "len"):
            nodes = [self.expression(a.value, scope) for a in args]
            if type_of(nodes[0]) != "list":
                return self.bad(say.wrong_type(name, "list", type_of(nodes[0]), nodes[0].span))
            return rd.Apply(span, name, tuple(nodes))
        if name == "if" or name in FUNCTIONS:
            return self.apply(name, tuple(self.expression(a.value, scope) for a in args), span)
        raise AssertionError(name)

    def modifier(self, tree: syntax.Call | syntax.Name, scope: Scope) -> rd.StageCall | None:
        name, args = (tree.name, tree.args) if isinstance(tree, syntax.Call) else (tree, ())
        definition = self.definition("modifiers", name)
        if definition is None:
            if self.definition("stages", name) is not None:
                self.bad(say.stage_as_modifier(name.text, name.span))
            elif len(name.parts) > 1 and name.parts[0] not in self.module.imports:
                self.not_imported(name.parts[0], name.span)
            else:
                self.bad(say.unknown_name(name.text, "modifier", name.span, self.known("modifiers")))
            return None
        found = self.stage_call(definition, args, tree.span, scope)
        return found if isinstance(found, rd.StageCall) else None

    def stage_call(self, definition: rd.Definition, args: tuple[syntax.Arg, ...], span: Span, scope: Scope) -> rd.Expr:
        if definition in self.pending:
            way = [d.name for d in self.pending[self.pending.index(definition) :]] + [definition.name]
            return self.bad(say.recursion(definition.name, span, way))
        if len(self.pending) >= MAX_NESTED and not definition.ready:
            return self.bad(layout.too_nested("definitions", MAX_NESTED, span))
        definition.prepare()
        return rd.StageCall(span, definition, self.arguments(definition, args, span, scope))

    def arguments(
        self, definition: rd.Definition, args: tuple[syntax.Arg, ...], span: Span, scope: Scope
    ) -> dict[str, rd.Expr]:
        """The arguments by parameter name, each resolved as its parameter's type asks."""
        given: dict[str, rd.Expr] = {}
        places: dict[str, Span] = {}
        names = [f.name for f in definition.formals]
        for i, arg in enumerate(args):
            if arg.name is None:
                if i >= len(names):
                    self.bad(say.too_many_arguments(definition.name, len(names), arg.span))
                    continue
                formal = definition.formals[i]
            else:
                found = definition.formal(arg.name)
                if found is None:
                    self.bad(say.unknown_argument(definition.name, arg.name, arg.name_span or arg.span, names))
                    continue
                formal = found
            if formal.name in given:
                self.bad(say.given_twice(definition.name, formal.name, arg.span, places[formal.name]))
                continue
            places[formal.name] = arg.span
            if _is_none(arg.value) and not _takes_none(formal):
                self.bad(say.wrong_type(formal.name, str(formal.type), "none", arg.span))
                continue
            given[formal.name] = self.value(arg.value, formal.type, formal.name, scope)
        for formal in definition.formals:
            if formal.default is None and formal.name not in given and formal.name != "T":
                self.bad(say.missing_argument(definition.name, formal.name, str(formal.type), span))
        return given

    def value(self, tree: syntax.Expr, type_: rd.Type, name: str, scope: Scope) -> rd.Expr:
        """A value for a parameter of that type; words, curves and texts are looked up as the type says."""
        while isinstance(tree, syntax.Paren):
            tree = tree.body
        if isinstance(tree, syntax.Name) and tree.text == "none":
            return rd.Variable(tree.span, "none")
        if type_.is_list:
            if isinstance(tree, syntax.Items):
                return self.items(tree, scope, type_)
            node = self.expression(tree, scope)
            return (
                node
                if type_of(node) == "list"
                else self.bad(say.wrong_type(name, str(type_), type_of(node), node.span, f"write `{name}=[…]`"))
            )
        if type_.kind == "curve" and isinstance(tree, syntax.Name) and tree.text not in scope.formals:
            let = self.lets.get(tree.text)
            if let is not None and isinstance(let.value, rd.CurveRef):
                let.used = True
                return rd.CurveRef(tree.span, let.value.curve)
            curve = self.definition("curves", tree)
            if curve is None:
                return self.bad(say.unknown_name(tree.text, "curve", tree.span, self.known("curves")))
            return rd.CurveRef(tree.span, curve.prepare())
        if (
            type_.kind == "word"
            and (word := _word(tree)) is not None
            and not (isinstance(tree, syntax.Name) and tree.text in scope.formals)
        ):
            return (
                rd.Word(tree.span, word)
                if word in type_.words
                else self.bad(say.unknown_word(name, word, type_.words, tree.span))
            )
        if type_.kind == "word" and isinstance(tree, syntax.Call) and tree.name.text == "choose" and not tree.short:
            return self.function(tree, scope, type_)
        if (
            type_.kind == "text"
            and isinstance(tree, syntax.Name)
            and tree.text not in scope.formals
            and self.lets.get(tree.text) is None
        ):
            return self.bad(say.wrong_type(name, "text", "word", tree.span, f'write `{name}="{tree.text}"`'))
        return self.fits(self.expression(tree, scope), type_, name)

    def fits(self, node: rd.Expr, type_: rd.Type, name: str) -> rd.Expr:
        """The node, if its kind is one the type takes."""
        got = type_of(node)
        if got == "none" or (got == type_.kind and (got == "schedule" or varies_with(node) is None)):
            return node
        accepted = {
            "number": ("number",), "count": ("number",), "level": ("number", "share"), "duration": ("number", "share", "duration"),
            "schedule": ("number", "share", "duration", "schedule"),
        }.get(type_.kind, ())  # fmt: skip
        if type_.kind == "level" and got == "duration" and isinstance(node, rd.Variable):
            accepted = (*accepted, "duration")
        if got == "schedule" and type_.kind in ("number", "count", "level", "duration"):
            if isinstance(node, rd.Apply):
                return self.bad(say.varying_argument(name, varies_with(node) or "the update", node.span))
            return self.bad(say.wrong_type(name, str(type_), "stage", node.span))
        if got not in accepted:
            help_ = (
                f"write `{name}={node.value.numerator}`"
                if type_.kind in ("number", "count") and isinstance(node, rd.Literal) and node.value.denominator == 1
                else None
            )
            shown = {"share": "share (%)"}.get(got, got)
            return self.bad(say.wrong_type(name, str(type_), shown, node.span, help_))
        if type_.kind != "schedule" and (reason := varies_with(node)):
            return self.bad(say.varying_argument(name, reason, node.span))
        return node


def _is_none(tree: syntax.Expr) -> bool:
    while isinstance(tree, syntax.Paren):
        tree = tree.body
    return isinstance(tree, syntax.Name) and tree.text == "none"


def _takes_none(formal: rd.Formal) -> bool:
    """Whether a parameter can be `none`: where numbers stand, what reads it says so itself."""
    if isinstance(formal.default, rd.Variable) and formal.default.name == "none":
        return True
    return formal.type.kind not in ("word", "curve", "flag", "text") and not formal.type.is_list


def _word(tree: syntax.Expr) -> str | None:
    match tree:
        case syntax.Name(parts=(word,)):
            return word
        case syntax.Text(value=word):
            return word
        case syntax.Flag(value=flag):
            return "true" if flag else "false"
    return None


def _public(kind: str, name: str) -> bool:
    return not name.startswith("_")


class LetTable:
    """Lets of a module, resolved when first asked for, and the prelude's definitions.

    `modules.Modules` implements it.
    """

    def get(self, name: str) -> rd.Let | None:
        raise KeyError(name)

    def names(self) -> Iterable[str]:
        return ()

    def prelude(self, kind: str, name: str) -> rd.Definition | None:
        return None
