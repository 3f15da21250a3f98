"""Files -> resolved modules: items into tables, imports, parameters and context from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

from schedc.compiler import library, messages_syntax
from schedc.compiler import messages_layout as layout
from schedc.compiler import messages_names as say
from schedc.compiler import resolved as rd
from schedc.compiler.diagnostics import Diagnostic, errors
from schedc.compiler.expressions import MAX_WORK, TooMuchWork, allowance
from schedc.compiler.resolve import (
    COMPARE,
    HYPERPARAMETERS,
    INIT_VARIABLES,
    MAX_NESTED,
    RESERVED,
    VARIABLES,
    LetTable,
    Names,
    Scope,
    reads,
    type_of,
)
from schedc.compiler.source import Source, Span
from schedc.compiler.staged import Staged
from schedc.grammar import syntax
from schedc.grammar.parse import parse

TRAIN_SETTINGS = ("length", "dataset", "classes", "seq_len", "drop_last", "world_size", "steps_per_epoch", "tick")
BATCH_SETTINGS = ("global", "micro", "accumulation", "workers", "pin_memory")
CONTEXT_KEYS = (*TRAIN_SETTINGS, "global", "micro")
"""What may be given from outside as context: the settings of `train`, and `global` and `micro` of `batch`."""
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE = "lr"


@dataclass
class Session:
    """What one compilation shares: files read, modules by path, what was said, definitions being resolved."""

    files: library.Files = field(default_factory=library.Files)
    said: list[Diagnostic] = field(default_factory=list)
    pending: list[rd.Definition] = field(default_factory=list)
    modules: dict[str, rd.Module] = field(default_factory=dict)
    loading: list[str] = field(default_factory=list)
    at: Span = field(default_factory=lambda: Source("<program>", "").span(0, 0))
    """What is being resolved."""


@cache
def _prelude_tree(name: str) -> syntax.Program:
    source = library.stdlib_source(name)
    assert source is not None, name
    parsed = parse(source)
    if parsed.value is None:
        raise RuntimeError("the standard library does not parse:\n" + "\n".join(map(str, parsed.said)))
    return parsed.value


def resolve(
    tree: syntax.Program,
    parameters: Mapping[str, object] | None = None,
    context: Mapping[str, object] | None = None,
    root: Path | None = None,
) -> Staged[rd.Program]:
    """Bind every name of the program. `parameters` set its params, `context` its settings, from outside."""
    session = Session(library.Files(root))
    session.at = tree.source.span(0, 0)
    outside = {k: str(v) for k, v in (parameters or {}).items()}
    settings = {k: _written(v) for k, v in (context or {}).items() if v is not None}
    builder = Builder(tree, session, outside, settings, _stem(tree.source.name))
    module = builder.module
    try:
        with allowance(MAX_WORK):
            builder.build()
        session.said += _surrogates(tree.source)
        for name, text in {**outside, **settings}.items():
            session.said += _surrogates(Source(f"<{name}>", text))
    except TooMuchWork:
        session.said.append(layout.too_much_work(MAX_WORK, session.at))
    except RecursionError:
        session.said.append(layout.too_nested("definitions, lets or formulas", None, session.at))
    said = tuple(session.said)
    if errors(said):
        return Staged(None, said)
    return Staged(rd.Program(module, outside, settings), said)


def _surrogates(source: Source) -> list[Diagnostic]:
    """Half a character, which no file of text can hold, nor a Plan."""
    found = re.search("[\ud800-\udfff]", source.text)
    if found is None:
        return []
    shown = f"half a character (U+{ord(found[0]):04X})"
    return [messages_syntax.character(shown, source.span(found.start(), found.end()))]


def _written(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _stem(name: str) -> str:
    return Path(name).stem if name and not name.startswith("<") else "main"


class Builder(LetTable):
    """Reads one file's items into a module."""

    def __init__(
        self,
        tree: syntax.Program,
        session: Session,
        parameters: Mapping[str, str],
        context: Mapping[str, str],
        name: str,
    ) -> None:
        self.tree, self.session, self.parameters, self.context = tree, session, parameters, context
        self.module = rd.Module(tree.source, tree, name)
        self.module.is_library = tree.source.name.startswith("stdlib/")
        self.names_ = Names(self.module, session.said, session.pending, self)
        self.let_trees: dict[str, syntax.Let | syntax.Param] = {}
        self.resolving: list[str] = []
        self.included: list[tuple[rd.Module, str | None]] = []
        self.places: dict[tuple[str, str], Span] = {}

    # -- LetTable

    def get(self, name: str) -> rd.Let | None:
        if name in self.module.lets:
            return self.module.lets[name]
        tree = self.let_trees.get(name)
        if tree is None:
            return next((m.lets[name] for m, _ in self.included if name in m.lets), None)
        if name in self.resolving:
            self.say(say.recursion(name, tree.name_span, [*self.resolving[self.resolving.index(name) :], name]))
            return rd.Let(name, self.module, tree.name_span, rd.Literal(tree.name_span, Fraction(0)), False)
        if len(self.resolving) >= MAX_NESTED:
            self.say(layout.too_nested("lets", MAX_NESTED, tree.name_span))
            return rd.Let(name, self.module, tree.name_span, rd.Literal(tree.name_span, Fraction(0)), False)
        self.session.at = tree.name_span
        self.resolving.append(name)
        let = self.param(tree) if isinstance(tree, syntax.Param) else self.let(tree)
        self.resolving.pop()
        self.module.lets[name] = let
        return let

    def names(self) -> Iterable[str]:
        return self.let_trees

    def prelude(self, kind: str, name: str) -> rd.Definition | None:
        for written in {"stages": ("def", "curve"), "curves": ("curve",), "modifiers": ("modifier",)}[kind]:
            file = library.prelude_index().get((written, name))
            if file is not None and "stdlib/" + file[1:] + ".sched" != self.module.source.name:
                found = getattr(self.library(file), kind).get(name)
                return found if isinstance(found, rd.Definition) else None
        return None

    def say(self, said: Diagnostic) -> None:
        self.session.said.append(said)

    # -- items

    def build(self) -> rd.Module:
        for item in self.tree.items:
            if isinstance(item, syntax.Use):
                self.use(item)
        for item in self.tree.items:
            match item:
                case syntax.Let() | syntax.Param():
                    if self.fresh("the name", item.name, item.name_span):
                        self.let_trees[item.name] = item
                case syntax.Def():
                    self.define(item)
                case syntax.Bind(target=target):
                    self.binding_target(target)
        for name in self.parameters:
            if not isinstance(self.let_trees.get(name), syntax.Param):
                params = [n for n, t in self.let_trees.items() if isinstance(t, syntax.Param)]
                self.say(say.unknown_parameter(name, self.top(), params))
        for name in list(self.let_trees):
            self.get(name)
        if not self.module.is_library:
            for table in (self.module.stages, self.module.curves, self.module.modifiers):
                for definition in list(table.values()):
                    definition.prepare()
        for item in self.tree.items:
            self.item(item)
        self.outside()
        for module, alias in self.included:
            self.take_whole(module, alias)
        self.circles()
        if self.outer is None and not self.module.is_library and self.module.binds:
            self.unused()
        return self.module

    def top(self) -> Span:
        end = self.module.source.text.find("\n")
        return self.module.source.span(0, len(self.module.source.text) if end < 0 else end)

    def fresh(self, what: str, name: str, span: Span) -> bool:
        """Whether the name is new and may be defined; says so if not."""
        if name in RESERVED:
            self.say(say.reserved(name, span))
            return False
        before = self.places.setdefault((what, name), span)
        if before is not span:
            self.say(say.duplicate(what, name, span, before))
            return False
        return True

    def binding_target(self, target: syntax.Target) -> None:
        name = target.text
        if not target.quoted and name not in HYPERPARAMETERS:
            self.say(say.not_a_hyperparameter(name, target.span, HYPERPARAMETERS))
        elif self.fresh("the binding", name, target.span):
            span = target.span
            self.module.binds[name] = rd.Bind(name, False, rd.Literal(span, Fraction(0)), span, target.quoted)

    def item(self, item: syntax.Item) -> None:
        scope = Scope(where="at the top level")
        self.session.at = item.span
        match item:
            case syntax.Bind(target=target) if target.text in self.module.binds:
                if self.module.binds[target.text].span is target.span:
                    self.module.binds[target.text] = self.bind(item, scope)
            case syntax.Bare(span=span, value=value):
                self.bare(value, span, scope)
            case syntax.Group():
                self.group(item)
            case syntax.Settings(kind=kind, binds=binds):
                self.settings(kind, binds)
            case syntax.Init(rules=rules):
                for rule in rules:
                    node = self.names_.expression(
                        rule.value, Scope(variables=INIT_VARIABLES, where="in an initialiser")
                    )
                    self.module.init.append(rd.InitRule(rule.selectors, node, rule.span))
            case syntax.Assert(span=span, claim=claim):
                self.module.claims.append(rd.Claim(claim, span))

    def bind(self, tree: syntax.Bind, scope: Scope) -> rd.Bind:
        node = self.names_.schedule(tree.value, scope)
        if tree.relative and (span := reads(node, "base")):
            self.say(say.base_under_relative(tree.target.text, span))
        return rd.Bind(tree.target.text, tree.relative, node, tree.target.span, tree.target.quoted)

    def bare(self, value: syntax.Expr, span: Span, scope: Scope) -> None:
        """A lone expression: `lr *= S`, or `lr = S` if it reads `base`; a definition with a block body binds its names."""
        before = self.places.setdefault(("lone", ""), span)
        if before is not span:
            self.say(say.two_lone(span, before))
            return
        node = self.names_.expression(value, scope)
        if isinstance(node, rd.StageCall) and node.definition.binds:
            for inner in node.definition.binds:
                call = rd.StageCall(span, _one_name(node.definition, inner), node.args)
                if self.fresh("the binding", inner.name, span):
                    self.module.binds[inner.name] = rd.Bind(inner.name, inner.relative, call, span)
            return
        node = self.names_.schedule(value, scope) if type_of(node) not in ("schedule", "number") else node
        if self.fresh("the binding", _BARE, span):
            self.module.binds[_BARE] = rd.Bind(_BARE, reads(node, "base") is None, node, span)

    def group(self, tree: syntax.Group) -> None:
        captures = {c for s in tree.selectors.union if s.kind == "glob" for c in _CAPTURE.findall(s.text)}
        scope = Scope(captures=frozenset(captures), where="in a group")
        binds: dict[str, rd.Bind] = {}
        for b in tree.binds:
            name = b.target.text
            if not b.target.quoted and name not in HYPERPARAMETERS:
                self.say(say.not_a_hyperparameter(name, b.target.span, HYPERPARAMETERS))
            elif name in binds:
                self.say(say.duplicate("the binding", name, b.target.span, binds[name].span))
            else:
                binds[name] = self.bind(b, scope)
        self.module.groups.append(rd.Group(tree.selectors, tuple(binds.values()), tuple(sorted(captures)), tree.span))

    def settings(self, kind: str, binds: tuple[syntax.Bind, ...]) -> None:
        known = TRAIN_SETTINGS if kind == "train" else BATCH_SETTINGS
        table = self.module.train if kind == "train" else self.module.batch
        for b in binds:
            name = b.target.text
            if name not in known:
                self.say(say.unknown_setting(kind, name, b.target.span, known))
            elif b.relative:
                self.say(say.not_here("*=", f"in `{kind}`", b.span))
            elif name in table:
                self.say(say.duplicate("the setting", name, b.target.span, table[name].span))
            else:
                table[name] = rd.Bind(name, False, self.setting(name, b.value), b.target.span)

    def seq_len(self) -> syntax.Number | None:
        """The sequence length, where the file or the context gives it as one number."""
        found = [
            b.value
            for i in self.tree.items
            if isinstance(i, syntax.Settings) and i.kind == "train"
            for b in i.binds
            if b.target.text == "seq_len"
        ]
        if not found and "seq_len" in self.context:
            given = parse(Source("<seq_len>", self.context["seq_len"])).value
            found = [i.value for i in given.items if isinstance(i, syntax.Bare)] if given else []
        return found[0] if found and isinstance(found[0], syntax.Number) else None

    def in_samples(self, tree: syntax.Expr) -> syntax.Expr:
        """A global batch with every size that is written in tokens divided by the sequence length."""
        match tree:
            case syntax.Number(unit="tokens"):
                seq_len = self.seq_len()
                if seq_len is None:
                    return tree
                return syntax.Binary(tree.span, replace(tree, unit=None), "/", replace(seq_len, unit=None))
            case syntax.Chain():
                return replace(tree, stages=tuple(map(self.in_samples, tree.stages)))
            case syntax.Timed() | syntax.Paren() | syntax.Pipe():
                return replace(tree, body=self.in_samples(tree.body))
            case syntax.Call(args=args):
                levels = ("from", "to", "low", "high")
                return replace(
                    tree,
                    args=tuple(replace(a, value=self.in_samples(a.value)) if a.name in levels else a for a in args),
                )
        return tree

    def setting(self, name: str, value: syntax.Expr) -> rd.Expr:
        if name == "global":
            value = self.in_samples(value)
        if isinstance(value, syntax.Name) and (value.text == "auto" or name == "tick"):
            return rd.Word(value.span, value.text)
        return self.names_.expression(value, Scope(where="in a setting"))

    def outside(self) -> None:
        """Context from outside: settings the file leaves open. One that the file has must be the same."""
        for name, text in self.context.items():
            table = self.module.batch if name in BATCH_SETTINGS else self.module.train
            given = parse(Source(f"<{name}>", text))
            if given.value is None or len(given.value.items) != 1 or not isinstance(given.value.items[0], syntax.Bare):
                said = given.said or (
                    say.wrong_type(name, "setting", "text", Span(Source(f"<{name}>", text), 0, len(text))),
                )
                self.session.said.extend(said)
                continue
            tree = given.value.items[0].value
            if name in table:
                written = _plain(table[name].value)
                if written is not None and written != _plain(self.setting(name, tree)):
                    self.say(say.contradiction(name, text, table[name].value.span.text, table[name].value.span))
            else:
                table[name] = rd.Bind(name, False, self.setting(name, tree), tree.span)

    # -- lets, params, definitions

    def let(self, tree: syntax.Let) -> rd.Let:
        node = self.names_.expression(tree.value, Scope(where="in a `let`"))
        return rd.Let(tree.name, self.module, tree.name_span, node, False)

    def param(self, tree: syntax.Param) -> rd.Let:
        type_ = (
            self.type(tree.type, Scope(variables=frozenset({"pi", "e", "inf"}), where="in a bound"))
            if tree.type
            else None
        )
        scope = Scope(variables=frozenset({"pi", "e", "inf", "none"}), where="in a param")
        value = tree.default
        if tree.name in self.parameters:
            parsed = parse(Source(f"<{tree.name}>", self.parameters[tree.name]))
            item = parsed.value.items[0] if parsed.value and len(parsed.value.items) == 1 else None
            if isinstance(item, syntax.Bare):
                value = item.value
            elif type_ is not None and type_.kind == "text":
                value = syntax.Text(tree.name_span, self.parameters[tree.name])
            else:
                self.session.said.extend(
                    parsed.said or (say.wrong_type(tree.name, str(type_ or "number"), "text", tree.name_span),)
                )
        if value is None:
            self.say(say.param_without_value(tree.name, str(type_ or "number"), tree.name_span))
            node: rd.Expr = rd.Literal(tree.name_span, Fraction(0))
        elif type_ is None:
            node = self.names_.expression(value, scope)
        else:
            node = self.names_.value(value, type_, tree.name, scope)
        return rd.Let(tree.name, self.module, tree.name_span, node, True, type_)

    def type(self, tree: syntax.Type, scope: Scope) -> rd.Type:
        bounds = tuple((COMPARE[b.op], self.names_.expression(b.limit, scope)) for b in tree.bounds)
        return rd.Type(tree.kind, tree.is_list, tree.words, bounds)

    def define(self, tree: syntax.Def) -> None:
        what = {"def": "the stage", "curve": "the stage", "modifier": "the modifier"}[tree.kind]
        if tree.name in RESERVED:
            self.say(say.reserved(tree.name, tree.name_span))
            return
        if not self.fresh(what, tree.name, tree.name_span):
            return
        definition = rd.Definition(tree.kind, tree.name, self.module, tree)
        definition.resolve = lambda: self.fill(definition)
        if tree.kind == "modifier":
            self.module.modifiers[tree.name] = definition
        elif tree.kind == "curve":
            self.module.curves[tree.name] = definition
            stage = rd.Definition("def", tree.name, self.module, tree)
            stage.resolve = lambda: self.fill_curve_stage(definition, stage)
            self.module.stages[tree.name] = stage
        else:
            self.module.stages[tree.name] = definition

    def fill(self, definition: rd.Definition) -> None:
        """Resolve parameters, then body, of a definition."""
        tree = definition.tree
        if not self.module.is_library:
            self.session.at = tree.name_span
        self.session.pending.append(definition)
        curve, modifier = tree.kind == "curve", tree.kind == "modifier"
        variables = frozenset({"pi", "e"}) if curve else VARIABLES | INIT_VARIABLES
        where = {"curve": "in a curve", "modifier": "in a modifier", "def": "in a definition"}[tree.kind]
        formals: dict[str, rd.Formal] = {}
        for i, f in enumerate(tree.formals):
            scope = Scope(dict(formals), variables, frozenset(), where, modifier)
            name_ok = f.name not in RESERVED or (f.name == "T" and not curve) or (f.name == "p" and curve and i == 0)
            if not name_ok:
                self.say(say.reserved(f.name, f.span))
            if f.name in formals:
                self.say(say.duplicate("the parameter", f.name, f.span, formals[f.name].span))
                continue
            type_ = self.type(f.type, scope) if f.type else rd.Type("number")
            default = None if f.default is None else self.names_.value(f.default, type_, f.name, scope)
            formals[f.name] = rd.Formal(f.name, type_, default, f.span)
        definition.formals = tuple(formals.values())
        scope = Scope(formals, variables, frozenset(), where, modifier)
        body = tree.body
        if isinstance(body, syntax.Block):
            definition.binds = tuple(self.bind(b, scope) for b in body.binds)
        elif isinstance(body, syntax.Name) and body.text == "external" and self.module.is_library:
            definition.external = True
        elif curve or modifier:
            definition.body = self.names_.expression(body, scope)
        else:
            definition.body = self.names_.schedule(body, scope)
        definition.ensures = ()
        self.session.pending.pop()

    def fill_curve_stage(self, curve: rd.Definition, stage: rd.Definition) -> None:
        """The stage that a curve c defines: c(T, from=start, to=0) = from + (to - from) * c(p)."""
        curve.prepare()
        span = curve.tree.name_span
        level = rd.Type("level")
        start, to = rd.FormalRef(span, "from", level), rd.FormalRef(span, "to", level)
        extra = curve.formals[1:]
        stage.formals = (
            rd.Formal("T", rd.Type("duration", bounds=(("ge", rd.Literal(span, Fraction(0))),)), None, span),
            rd.Formal("from", level, rd.Variable(span, "start"), span),
            rd.Formal("to", level, rd.Literal(span, Fraction(0)), span),
            *extra,
        )
        shape = rd.CurveCall(
            span,
            rd.CurveRef(span, curve),
            (rd.Variable(span, "p"), *(rd.FormalRef(span, f.name, f.type) for f in extra)),
        )
        way = rd.Apply(span, "sub", (to, start))
        stage.body = rd.Apply(span, "add", (start, rd.Apply(span, "mul", (way, shape))))

    def library(self, name: str) -> rd.Module:
        """A module of the standard library; resolved as far as it is used."""
        if name not in self.session.modules:
            tree = _prelude_tree(name)
            builder = Builder(tree, self.session, {}, {}, name.rpartition(".")[2])
            self.session.modules[name] = builder.module
            builder.build()
        return self.session.modules[name]

    def use(self, tree: syntax.Use) -> None:
        alias = tree.alias or (tree.path.parts[-1] if isinstance(tree.path, syntax.Name) else _stem(tree.path.value))
        module = self.load(tree)
        if module is None:
            self.module.unreadable.add(alias)
        elif tree.include:
            self.included.append((module, tree.alias))
        elif self.fresh("the import", alias, tree.span):
            self.module.imports[alias] = module

    def load(self, tree: syntax.Use) -> rd.Module | None:
        args = {}
        for arg in tree.args:
            if arg.name is None:
                self.say(say.missing_argument("use", "name=", "its name", arg.span))
            else:
                args[arg.name] = arg
        if isinstance(tree.path, syntax.Name):
            key = tree.path.text
            if key not in library.stdlib_names():
                self.say(say.unknown_import(key, tree.path.span, library.stdlib_names()))
                return None
            program = _prelude_tree(key)
        else:
            try:
                path = self.session.files.find(self.module.source, tree.path.value)
            except PermissionError as e:
                self.say(say.outside_root(tree.path.value, str(e), tree.path.span))
                return None
            except (OSError, ValueError, RuntimeError) as e:  # A NUL in it, a name too long, links in a circle.
                self.say(say.unreadable_import(tree.path.value, str(getattr(e, "strerror", None) or e), tree.path.span))
                return None
            key = str(path)
            if key in self.session.loading:
                self.say(say.import_cycle([Path(p).name for p in [*self.session.loading, key]], tree.path.span))
                return None
            try:
                source = self.session.files.read(path)
            except (OSError, ValueError) as e:
                why = (
                    "there is no such file"
                    if isinstance(e, FileNotFoundError)
                    else str(getattr(e, "strerror", None) or e)
                )
                self.say(say.unreadable_import(tree.path.value, why, tree.path.span))
                return None
            parsed = parse(source)
            if parsed.value is None:
                self.session.said.extend(parsed.said)
                self.say(say.faulty_import(tree.path.value, len(errors(parsed.said)), tree.path.span))
                return None
            program = parsed.value
        if isinstance(tree.path, syntax.Name) and not args and not tree.path.text.startswith("recipes."):
            return self.library(key)
        self.session.loading.append(key)
        params = {name: arg.value for name, arg in args.items()}
        builder = Builder(self.with_arguments(program, params), self.session, {}, {}, _stem(key))
        builder.outer = self
        module = builder.build()
        self.session.loading.pop()
        return module

    outer: Builder | None = None

    def with_arguments(self, program: syntax.Program, given: Mapping[str, syntax.Expr]) -> syntax.Program:
        """The imported program with its params set as the import says."""
        items: list[syntax.Item] = []
        left = dict(given)
        for item in program.items:
            if isinstance(item, syntax.Param) and item.name in left:
                item = replace(item, default=self.inlined(left.pop(item.name)))
            items.append(item)
        params = [i.name for i in program.items if isinstance(i, syntax.Param)]
        for name, value in left.items():
            self.say(say.unknown_parameter(name, value.span, params))
        return replace(program, items=tuple(items))

    def inlined(self, tree: syntax.Expr) -> syntax.Expr:
        """An argument of an import with this file's params and lets written out, since the other file can't see them."""
        match tree:
            case syntax.Name(parts=(name,)) if name in self.let_trees or any(
                isinstance(i, syntax.Let | syntax.Param) and i.name == name for i in self.tree.items
            ):
                for i in self.tree.items:
                    if isinstance(i, syntax.Param) and i.name == name:
                        if name in self.parameters:
                            parsed = parse(Source(f"<{name}>", self.parameters[name]))
                            if (
                                parsed.value
                                and len(parsed.value.items) == 1
                                and isinstance(parsed.value.items[0], syntax.Bare)
                            ):
                                return parsed.value.items[0].value
                        return tree if i.default is None else self.inlined(i.default)
                    if isinstance(i, syntax.Let) and i.name == name:
                        return self.inlined(i.value)
                return tree
            case syntax.Binary():
                return replace(tree, left=self.inlined(tree.left), right=self.inlined(tree.right))
            case syntax.Negate() | syntax.Paren():
                return replace(tree, body=self.inlined(tree.body))
            case syntax.Call():
                return replace(tree, args=tuple(replace(a, value=self.inlined(a.value)) for a in tree.args))
        return tree

    def take_whole(self, module: rd.Module, alias: str | None) -> None:
        """`include`: the file's bindings and blocks as if written here; this file's own bindings and settings win."""
        mine = self.module
        for table, theirs in ((mine.binds, module.binds), (mine.train, module.train), (mine.batch, module.batch)):
            for name, bind in theirs.items():
                table.setdefault(name, bind)
        for name, let in module.lets.items():
            mine.lets.setdefault(name, let)
        mine.groups[:0] = module.groups
        mine.init[:0] = module.init
        mine.claims[:0] = module.claims
        if alias:
            mine.imports.setdefault(alias, module)

    def unused(self) -> None:
        """Say which definitions of a program nothing uses; a file of definitions alone is a library."""
        mine = self.module
        for what, table in (("the stage", mine.stages), ("the modifier", mine.modifiers)):
            for name, definition in table.items():
                twin = mine.curves.get(name)
                if not definition.used and not (twin is not None and twin.used):
                    self.say(say.unused(what, name, definition.tree.name_span))

    def circles(self) -> None:
        """Bindings that read each other in a circle have no value."""
        top = {name: _bound_names(bind.value) for name, bind in self.module.binds.items()}
        known: set[tuple[str, ...]] = set()
        for binds in (self.module.binds, *({b.name: b for b in g.binds} for g in self.module.groups)):
            # In a group `=` replaces what the top level says, and `*=` reads on top of it.
            own = {n: _bound_names(b.value) | (top.get(n, set()) if b.relative else set()) for n, b in binds.items()}
            edges = {**top, **own}
            for name in own:
                found = _path(edges, name, name, set())
                way = tuple(sorted(found))
                if found and name == min(n for n in found if n in own) and way not in known:
                    known.add(way)
                    self.say(say.recursion(name, binds[name].span, [name, *found[:-1], name]))


def _path(edges: Mapping[str, set[str]], here: str, goal: str, seen: set[str]) -> list[str]:
    for there in sorted(edges.get(here, ())):
        if there == goal:
            return [goal]
        if there not in seen:
            seen.add(there)
            if rest := _path(edges, there, goal, seen):
                return [there, *rest]
    return []


def _bound_names(node: rd.Expr, seen: set[int] | None = None) -> set[str]:
    """The bindings that a value reads; definitions and lets in `seen` have been looked into."""
    seen = set() if seen is None else seen

    def all_of(nodes: Iterable[rd.Expr]) -> set[str]:
        return set().union(*(_bound_names(n, seen) for n in nodes))

    match node:
        case rd.BoundRef(name=name):
            return {name}
        case rd.LetRef(let=let) if id(let) not in seen:
            seen.add(id(let))
            return _bound_names(let.value, seen)
        case rd.Chain(stages=parts) | rd.Apply(args=parts) | rd.CurveCall(args=parts) | rd.ListValue(items=parts):
            return all_of(parts)
        case rd.Timed(body=a, amount=b) | rd.Pipe(body=a, modifier=b):
            return all_of((a, b))
        case rd.StageCall(definition=definition, args=args):
            inside = [f.default for f in definition.formals if f.default is not None and f.name not in args]
            if definition.body and id(definition) not in seen:
                inside.append(definition.body)
            seen.add(id(definition))
            return all_of([*args.values(), *inside])
        case rd.Choose(branches=branches):
            return all_of(branches.values())
        case rd.InputAt(at=at):
            return _bound_names(at, seen)
    return set()


def _one_name(definition: rd.Definition, bind: rd.Bind) -> rd.Definition:
    """A block body's one binding as a stage of its own, with the definition's parameters."""
    one = rd.Definition("def", definition.name, definition.module, definition.tree)
    one.formals, one.body, one.ready = definition.formals, bind.value, True
    return one


def _plain(node: rd.Expr) -> object:
    match node:
        case rd.Literal(value=value, unit=unit):
            return value, unit or "steps"
        case rd.FlagValue(value=flag):
            return flag
        case rd.Word(value=word):
            return word
    return None
