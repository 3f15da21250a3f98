"""What is the same in every file that `torch_source` writes, as text.

A line that ends in `#: mark` stands only where the mark holds: `rules` and `norules`, whether the schedule has group
rules; `feedback` and `nofeedback`, whether it has a plateau (`onemetric`, `manymetrics`); `run`, whether it has both a
declared length and an `error` stage.
"""

TAKEN = """
HYPER_PARAMETERS METRICS PLAN Kind LRScheduler Schedule ScheduleEnded Tensor Plateau agreed captures hyper_parameters
is_a kind kinds param_groups re read rules_of shared torch used value values warnings weakref wrong write zip
isinstance getattr hasattr tuple list dict set id any len super type int repr sum range now least x rows
""".split()
"""Names in the file that no curve may have."""

FUNCTIONS = '''
class Kind:
    """Param groups that always get the same values, as they were built with the same values and have the same rules."""

    def __init__(self, initial, rules):
        self.initial = initial  # hyper-parameter -> what the groups were built with
        self.rules = rules  # number of a group rule -> what its {captures} matched
        self.groups = []
        self.slots = []  # for each hyper-parameter: key, index, groups that hold a number, tensors to fill


def read(group, key, index):
    """One hyper-parameter of a param group, number or tensor."""
    return group[key] if index is None else group[key][index]


def write(group, key, index, value):
    """Put another number or tensor there. Betas are a tuple, so the whole of it is made anew."""
    if index is None:
        group[key] = value
    else:
        old = group[key]
        group[key] = (*old[:index], value, *old[index + 1 :])
'''

AGREED = '''
def agreed(metric):
    """The metric as a float: its mean over the ranks, so that all of them decide alike."""
    value = float(metric)
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        places = distributed.get_backend_config()  # such as cpu:gloo,cuda:nccl
        device = "cpu" if "cpu:" in places else places.partition(":")[0]
        total = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        value = total.item() / distributed.get_world_size()
    return value
'''

GROUPS = '''
def is_a(module, name):
    """Whether a module is of a class with this name, or of one derived from torch's class with this name."""
    classes = type(module).__mro__
    return classes[0].__name__ == name or any(
        c.__name__ == name and c.__module__.startswith("torch.nn") for c in classes
    )


def captures(match):
    """What the {captures} of a pattern matched."""
    return {} if match is True else {name: int(number) for name, number in match.groupdict().items()}


def param_groups(model):
    """The model's parameters as param groups for an optimizer: one for each set of rules that apply."""
    groups = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module = model.get_submodule(name.rpartition(".")[0])
        rules = rules_of(name, module, parameter)
        mark = {"groups": "@GROUPS@", "rules": list(rules), "captures": list(rules.values())}
        group = groups.setdefault(repr(rules), {"params": [], "schedc": mark})
        group["params"].append(parameter)
    return list(groups.values())
'''

SCHEDULE = '''
class Schedule(LRScheduler):
    """Sets @NAMES@ before every update: call `step()` after `optimizer.step()`."""

    def __init__(self, optimizer, last_epoch=-1):
        self.plateaus = [@PLATEAUS@]  #: feedback
        self._kinds = []
        self._seen = None, 0
        self._early = 0  # calls of step() before the optimizer's first step
        self._still = 0  # calls of step() in a row without an optimizer step
        self._found_inf = None
        self._first = last_epoch + 1
        super().__init__(optimizer)
        if getattr(optimizer, "_opt_called", False) is True:
            optimizer._opt_called = {id(self)}
        me = weakref.ref(self)
        optimizer.register_load_state_dict_post_hook(lambda _: me() and me()._reattach())
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            optimizer.register_step_post_hook(lambda *_: me() and me()._note_found_inf())

    def _initial_step(self):
        self._step_count = 1
        self._go_to(self._first)

    def step(self, epoch=None, *, metrics=None):
        """Go on to the next update, if the optimizer has stepped; with metrics, only observe them."""
        if epoch is not None:
            raise TypeError("step() takes no metric by position: write observe(@METRIC@=…) or step(metrics=…)")
        if metrics is not None:
            named = hasattr(metrics, "items")  #: feedback
            self.observe(**(metrics if named else {"@METRIC@": metrics}))  #: onemetric
            if not named:  #: manymetrics
                raise TypeError(f"step(metrics=…) takes a dict here, of {', '.join(METRICS)}")  #: manymetrics
            self.observe(**metrics)  #: manymetrics
            self.observe(metrics=metrics)  #: nofeedback
            return
        if self._step_count == 1:
            self._warn_of_order()
        if self._optimizer_stepped():
            self._go_to(self.last_epoch + 1)
            self._step_count += 1

    def _update_lr(self, epoch=None):
        self._go_to(self.last_epoch + 1 if epoch is None else epoch)

    def _go_to(self, n):
        try:  #: run
            values = self._values(n)  # First of all: this may raise, and then nothing has changed.  #: run
        except ScheduleEnded:  #: run
            if n != @RUN@:  #: run
                raise  #: run
            values = None  # The run is over, and no update will use what comes after it.  #: run
        values = self._values(n)  # First of all: this may raise, and then nothing has changed.  #: norun
        self.last_epoch = n
        if values is not None:  #: run
            self._write(values)  #: run
        self._write(values)  #: norun

    def _optimizer_stepped(self):
        """Whether there was an update since the last call; mixed precision skips some."""
        if self._found_inf is not None:
            found_inf, self._found_inf = self._found_inf, None
            if found_inf.item():
                return False
        optimizer = self.optimizer
        called = getattr(optimizer, "_opt_called", False)  # LRScheduler has it set to True by each optimizer.step().
        if called is True:
            optimizer._opt_called = {id(self)}  # Who has seen this step; true for other schedulers' checks.
            self.last_epoch -= self._early  # Those calls were for updates that mixed precision skipped.
            self._early = 0
        elif not called:
            self._early += 1
        elif id(self) not in called:
            called.add(id(self))
        elif hasattr(optimizer.step, "_wrapped_by_lr_sched") and not self._replayable:
            self._still += 1
            if self._still == 100:
                warnings.warn(
                    f"the schedule stands at update {self.last_epoch}: step() was called 100 times "
                    "since the last optimizer.step()",
                    stacklevel=3,
                )
            return False
        self._still = 0
        return True

    def _warn_of_order(self):
        if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. "
                "Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`.",
                stacklevel=3,
            )
        elif not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. "
                "Call them in the opposite order, or the first value of the schedule is skipped.",
                stacklevel=3,
            )

    def _note_found_inf(self):
        self._found_inf = getattr(self.optimizer, "found_inf", None)

    def observe(self, **metrics):  #: nofeedback
        """Nothing here depends on metrics."""  #: nofeedback
        raise TypeError("this schedule observes no metric: call step() without arguments")  #: nofeedback
  #: nofeedback
    def get_lr(self):
        """What the learning rate of each param group is at this update."""
        new = {}
        if "lr" in HYPER_PARAMETERS:
            at = list(HYPER_PARAMETERS).index("lr")
            for kind, values in zip(self._kinds, self._values(self.last_epoch)):
                new.update((id(group), values[at]) for group in kind.groups)
        return [new.get(id(group), group["lr"]) for group in self.optimizer.param_groups]

    def get_last_lr(self):
        """The learning rate of each param group, as the optimizer has it."""
        every = [group["lr"] for group in self.optimizer.param_groups]
        return [lr.clone() if isinstance(lr, Tensor) else lr for lr in every]

    _last_lr = property(get_last_lr)

    def state_dict(self):
        """Numbers and strings only."""
        state = {"last_epoch": self.last_epoch, "_step_count": self._step_count, "plan_hash": PLAN}
        state["plateaus"] = [dict(vars(plateau)) for plateau in self.plateaus]  #: feedback
        return state

    def load_state_dict(self, state_dict):
        """Go on where the saved scheduler was; the optimizer gets that update's values."""
        if state_dict.get("plan_hash") != PLAN:
            raise ValueError("this state was saved by another schedule")
        self._restore(state_dict)

    def _restore(self, state_dict):
        self._step_count = state_dict["_step_count"]
        self._early = 0
        for plateau, saved in zip(self.plateaus, state_dict["plateaus"]):  #: feedback
            vars(plateau).update(saved)  #: feedback
        self._go_to(state_dict["last_epoch"])
'''

OBSERVE = '''
    def observe(self, **metrics):
        """Report metrics to the plateaus, on every rank. It does not advance; without a metric nothing changes."""
        for metric in metrics:
            if metric not in METRICS:
                raise TypeError(f"this schedule observes {', '.join(METRICS)}, not {metric}")
        n, changed = self.last_epoch, False
        @OBSERVE@
        if changed:
            self._write(self._values(n))

    def _warn_of_nan(self, metric):
        if metric not in self._nan_in:
            self._nan_in.add(metric)
            warnings.warn(f"{metric} is NaN at update {self.last_epoch}: it counts as not better", stacklevel=3)
'''

ATTACH = '''
    def _values(self, n):
        groups = self.optimizer.param_groups
        if self._seen[0] is not groups or self._seen[1] != len(groups):
            self._attach()
        return hyper_parameters(@ARGUMENTS@)

    def _write(self, values):
        for kind, new in zip(self._kinds, values):
            for (key, index, groups, tensors), value in zip(kind.slots, new):
                if index is None:
                    for group in groups:
                        group[key] = value
                else:
                    for group in groups:
                        write(group, key, index, value)
                for tensor in tensors:
                    tensor.fill_(value)

    def _attach(self):
        """Sort the param groups into kinds, and note in each what it was built with."""
        groups = self.optimizer.param_groups
        self._kinds, kinds, built = [], {}, {}
        for group in groups:
            rules = self._rules_of(group)  #: rules
            rules = {}  #: norules
            initial = {}
            for name in HYPER_PARAMETERS:
                key, index = self._place(group, name, rules)
                if key is not None:
                    initial[name] = self._built_with(group, key, index, built)
            same = repr((initial, rules))
            if same not in kinds:
                kinds[same] = Kind(initial, rules)
                self._kinds.append(kinds[same])
            kinds[same].groups.append(group)
        self._used = {rule for kind in self._kinds for rule in kind.rules}  #: rules
        self._replayable = False
        owners = {}
        for kind in self._kinds:
            for name in HYPER_PARAMETERS:
                key, index = self._place(kind.groups[0], name, kind.rules)
                numbers, tensors = [], {}
                for group in kind.groups if key is not None else ():
                    old = read(group, key, index)
                    if not isinstance(old, Tensor):
                        numbers.append(group)
                        continue
                    if owners.setdefault(id(old), (kind, name, old))[:2] != (kind, name):
                        # The optimizer's default is one tensor in all groups: it can't hold the values of two kinds.
                        old = old.clone()
                        write(group, key, index, old)
                    tensors[id(old)] = old
                    self._replayable |= old.device.type != "cpu"  # A CUDA graph may step without our seeing it.
                kind.slots.append((key, index, numbers, list(tensors.values())))
        self._seen = groups, len(groups)
        self._marks = [group["schedc"] for group in groups]  #: rules

    def _reattach(self):
        """The optimizer has loaded a state, and with it new dicts for its groups."""
        for group, mark in zip(self.optimizer.param_groups, self._marks):  #: rules
            group["schedc"] = mark  #: rules
        self._seen = None, 0
        self._write(self._values(self.last_epoch))

    def _rules_of(self, group):  #: rules
        """The rules for a param group, which `param_groups` wrote into it."""  #: rules
        mark = group.get("schedc")  #: rules
        if mark is None or mark["groups"] != "@GROUPS@":  #: rules
            was = "was not made by param_groups()" if mark is None else "was made for other group rules"  #: rules
            raise ValueError(  #: rules
                f"this schedule has group rules, and a param group of the optimizer {was}: "  #: rules
                "build the optimizer from plan.param_groups(model)"  #: rules
            )  #: rules
        return dict(zip(mark["rules"], mark["captures"]))  #: rules
  #: rules
    def _place(self, group, name, rules):
        """The key and index of a hyper-parameter in a param group; no key where nothing sets it there."""
        key, index = HYPER_PARAMETERS[name]  #: norules
        key, index, setters = HYPER_PARAMETERS[name]  #: rules
        if None not in setters and not any(rule in rules for rule in setters):  #: rules
            return (key, index) if key in group else (None, None)  #: rules
        if key == "momentum" and "momentum" not in group and "betas" in group:
            key, index = "betas", 0
        if key not in group or (index is not None and not 0 <= index < len(group[key])):
            keys = ", ".join(k for k in group if k not in ("params", "schedc") and not k.startswith("initial_"))
            raise ValueError(f"the schedule sets {name}, which {type(self.optimizer).__name__} does not have: {keys}")
        return key, index

    def _built_with(self, group, key, index, built):
        """What the param group was built with: `initial_lr` and its like, recorded the first time."""
        if f"initial_{key}" not in group:
            old = group[key]
            if index is not None:
                group[f"initial_{key}"] = tuple(float(value) for value in old)
            else:
                # A tensor that other groups share has been written to already; they know what it was.
                group[f"initial_{key}"] = built.get(id(old), float(old))
        initial = float(read(group, f"initial_{key}", index))
        if isinstance(group[key], Tensor):
            built[id(group[key])] = initial
        return initial
'''
