"""A pickle stream walked by its opcodes: which classes and functions it names, what it holds. Nothing is made.

pickletools stops at the raw arrays that joblib writes between opcodes, and does not follow the memo through which
protocol 4 names its classes. This walk does both, as the unpickler would, with names in place of objects.

Rules of this file
1. No recursion: depth is the stream's choice. Every opcode costs a byte; of containers the first KEPT are kept.
2. What is not understood ends the walk with complete = False; who judges safety takes that for unsafe.

Source  CPython Lib/pickle.py (_Unpickler), Lib/pickletools.py; joblib 1.6 numpy_pickle.py (read_array)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from buildpacks.model.stream import Source, Stop

MAX_OPCODES = 1_000_000
MAX_GLOBALS = 500
KEPT = 300  # items of one list or dictionary
_KEPT_BYTES = 4096  # of one string
_ALIGNED = "numpy_array_alignment_bytes"


class Global(NamedTuple):
    """A class or function that the stream names."""

    module: str
    name: str


class Thing:
    """An object that the stream would make: what makes it, with what, and the state that it gets."""

    __slots__ = ("args", "maker", "state")

    def __init__(self, maker: object, args: object) -> None:
        self.maker, self.args = maker, args
        self.state: object = None


class Walk(NamedTuple):
    """What a stream holds. root: the outermost value; complete False: its end was not reached, why says so."""

    globals: frozenset[Global]
    root: object
    complete: bool
    why: str = ""


_MARK = object()
_WRAPPERS = frozenset({
    Global("joblib.numpy_pickle", "NumpyArrayWrapper"),
    Global("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"),
})  # fmt: skip
_CONSTANTS: dict[int, object] = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): (), ord("("): _MARK, 0x97: None}
_EMPTY: dict[int, Callable[[], object]] = {ord("]"): list, ord("}"): dict, 0x8F: list}
_SMALL: dict[int, Callable[[Source], object]] = {
    ord("K"): lambda s: s.read(1)[0],
    ord("M"): lambda s: int.from_bytes(s.read(2), "little"),
    ord("J"): lambda s: int.from_bytes(s.read(4), "little", signed=True),
    ord("I"): lambda s: _number(s.line()),
    ord("L"): lambda s: _number(s.line().rstrip(b"L")),
    ord("F"): lambda s: _skipped(s.line()),
    ord("G"): lambda s: _skipped(s.read(8)),
    0x8A: lambda s: _long(s, s.read(1)[0]),
    0x8B: lambda s: _long(s, int.from_bytes(s.read(4), "little")),
    ord("S"): lambda s: s.line()[:_KEPT_BYTES].strip(b"'\"").decode("utf-8", "replace"),
    ord("V"): lambda s: s.line()[:_KEPT_BYTES].decode("utf-8", "replace"),
    ord("U"): lambda s: _text(s, s.read(1)[0]),
    ord("T"): lambda s: _text(s, int.from_bytes(s.read(4), "little")),
    ord("X"): lambda s: _text(s, int.from_bytes(s.read(4), "little")),
    0x8C: lambda s: _text(s, s.read(1)[0]),
    0x8D: lambda s: _text(s, int.from_bytes(s.read(8), "little")),
    ord("C"): lambda s: _bytes(s, s.read(1)[0]),
    ord("B"): lambda s: _bytes(s, int.from_bytes(s.read(4), "little")),
    0x8E: lambda s: _bytes(s, int.from_bytes(s.read(8), "little")),
    0x96: lambda s: _bytes(s, int.from_bytes(s.read(8), "little")),
    ord("P"): lambda s: _skipped(s.line()),
}


def _number(text: bytes) -> int | None:
    try:
        return int(text[:40])
    except ValueError:
        return None


def _long(source: Source, size: int) -> int | None:
    if size > 64:
        source.skip(size)
        return None
    return int.from_bytes(source.read(size), "little", signed=True)


def _text(source: Source, size: int) -> str:
    kept = source.read(min(size, _KEPT_BYTES)).decode("utf-8", "replace")
    source.skip(size - min(size, _KEPT_BYTES))
    return kept


def _bytes(source: Source, size: int) -> None:
    source.skip(size)


def _skipped(_: object) -> None:
    return None


class _Machine:
    """The unpickler's stack and memo, over names."""

    def __init__(self, source: Source, found: set[Global], budget: list[int], *, arrays: bool = True) -> None:
        self.source, self.found, self.budget, self.arrays = source, found, budget, arrays
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        """The value that STOP finds. Raises Stop."""
        source, stack = self.source, self.stack
        try:
            while True:
                code = source.read(1)[0]
                self.budget[0] -= 1
                if self.budget[0] < 0:
                    raise Stop("too long to be looked through")
                small = _SMALL.get(code)
                if small is not None:
                    stack.append(small(source))
                elif code in _CONSTANTS:
                    stack.append(_CONSTANTS[code])
                elif code in _EMPTY:
                    stack.append(_EMPTY[code]())
                elif code == 0x2E:
                    return stack.pop()
                else:
                    _STEPS[code](self)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise Stop(f"no pickle: {type(error).__name__}") from error

    def since_mark(self) -> list[object]:
        stack = self.stack
        place = len(stack) - 1
        while place >= 0 and stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise Stop("no pickle: no mark")
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def name(self, module: object, name: object) -> Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Stop("a class without a name")
        found = Global(module[:200], name[:200])
        self.found.add(found)
        if len(self.found) > MAX_GLOBALS:
            raise Stop("too many classes")
        return found


def _append(target: object, items: list[object]) -> None:
    if isinstance(target, list):
        target.extend(items[: max(0, KEPT - len(target))])


def _set_items(target: object, items: list[object]) -> None:
    if not isinstance(target, dict):
        return
    for key, value in zip(items[::2], items[1::2], strict=False):
        if len(target) >= KEPT:
            return
        if isinstance(key, (str, int)):
            target[key] = value


def _reduce(machine: _Machine) -> None:
    args, maker = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(Thing(maker, args))


def _new_keywords(machine: _Machine) -> None:
    keywords, args, maker = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    machine.stack.append(Thing(maker, (args, keywords)))


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    top = machine.stack[-1]
    if not isinstance(top, Thing):
        return
    top.state = state
    if machine.arrays and isinstance(top.maker, Global) and top.maker in _WRAPPERS:
        machine.stack[-1] = _raw_array(machine, state)


def _raw_array(machine: _Machine, state: object) -> object:
    """joblib's reader takes an array from the file itself here: its bytes, or for objects another pickle."""
    if not isinstance(state, dict):
        raise Stop("an array of joblib without a description")
    width, holds_objects = _item_size(state.get("dtype"))
    if holds_objects:
        # joblib calls plain pickle.load here, for which raw arrays do not exist: no array lies inside an array.
        return _Machine(machine.source, machine.found, machine.budget, arrays=False).run()
    count = 1
    shape = state.get("shape")
    for size in shape if isinstance(shape, tuple) else (None,):
        if not isinstance(size, int) or size < 0:
            raise Stop("an array of joblib without a shape")
        count *= size
    if state.get(_ALIGNED) is not None:
        machine.source.skip(machine.source.read(1)[0])
    machine.source.skip(count * width)
    return Thing(Global("numpy", "ndarray"), shape)


def _item_size(dtype: object) -> tuple[int, bool]:
    """Bytes of one item and whether items are objects, from numpy.dtype's arguments and state."""
    args = dtype.args if isinstance(dtype, Thing) else None
    state = dtype.state if isinstance(dtype, Thing) else None
    text = args[0] if isinstance(args, tuple) and args else None
    if not isinstance(text, str) or len(text) < 2 or not text[1:].isdigit() or len(text) > 12:
        raise Stop("an array of joblib of unknown type")
    flags = state[7] if isinstance(state, tuple) and len(state) > 7 else 0
    if text[0] == "O" or (isinstance(flags, int) and flags & 1):
        return 0, True
    if text[0] == "U":
        return 4 * int(text[1:]), False
    return int(text[1:]), False


def _wrap(count: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        items = tuple(machine.stack[-count:])
        if len(items) < count:
            raise Stop("no pickle: too few values")
        del machine.stack[-count:]
        machine.stack.append(items)

    return step


def _instance(machine: _Machine) -> None:
    module, name = (machine.source.line(400).decode("utf-8", "replace") for _ in range(2))
    args = tuple(machine.since_mark())
    machine.stack.append(Thing(machine.name(module, name), args))


def _obj(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.stack.append(Thing(items[0], tuple(items[1:])))


def _global(machine: _Machine) -> None:
    module, name = (machine.source.line(400).decode("utf-8", "replace") for _ in range(2))
    machine.stack.append(machine.name(module, name))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.name(module, name))


def _nothing(_: _Machine) -> None:
    return


def _extension(_: _Machine) -> None:
    raise Stop("a class by a number of copyreg's registry")


def _put(size: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        key = int(machine.source.line(40)) if size == 0 else int.from_bytes(machine.source.read(size), "little")
        machine.memo[key] = machine.stack[-1]

    return step


def _get(size: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        key = int(machine.source.line(40)) if size == 0 else int.from_bytes(machine.source.read(size), "little")
        machine.stack.append(machine.memo[key])

    return step


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _persistent(machine: _Machine) -> None:
    machine.stack.append(Thing("persistent", machine.stack.pop()))


def _dict(machine: _Machine) -> None:
    made: dict[object, object] = {}
    _set_items(made, machine.since_mark())
    machine.stack.append(made)


def _append_one(machine: _Machine) -> None:
    item = machine.stack.pop()
    _append(machine.stack[-1], [item])


def _appends(machine: _Machine) -> None:
    items = machine.since_mark()
    _append(machine.stack[-1], items)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set_items(machine.stack[-1], [key, value])


def _sets(machine: _Machine) -> None:
    items = machine.since_mark()
    _set_items(machine.stack[-1], items)


_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: _skipped(m.source.read(1)),
    0x95: lambda m: _skipped(m.source.read(8)),
    ord("0"): lambda m: _skipped(m.stack.pop()),
    ord("1"): lambda m: _skipped(m.since_mark()),
    ord("2"): lambda m: m.stack.append(m.stack[-1]),
    0x98: _nothing,
    ord("c"): _global,
    0x93: _stack_global,
    ord("i"): _instance,
    ord("o"): _obj,
    ord("R"): _reduce,
    0x81: _reduce,
    0x92: _new_keywords,
    ord("b"): _build,
    0x82: _extension,
    0x83: _extension,
    0x84: _extension,
    ord("p"): _put(0),
    ord("q"): _put(1),
    ord("r"): _put(4),
    0x94: _memoize,
    ord("g"): _get(0),
    ord("h"): _get(1),
    ord("j"): _get(4),
    ord("Q"): _persistent,
    ord("t"): lambda m: m.stack.append(tuple(m.since_mark())),
    0x85: _wrap(1),
    0x86: _wrap(2),
    0x87: _wrap(3),
    ord("l"): lambda m: m.stack.append(m.since_mark()[:KEPT]),
    ord("d"): _dict,
    ord("a"): _append_one,
    ord("e"): _appends,
    0x90: _appends,
    0x91: lambda m: m.stack.append(m.since_mark()[:KEPT]),
    ord("s"): _set_item,
    ord("u"): _sets,
}


def walk_pickle(source: Source) -> Walk:
    """Follow one stream to its STOP; a stream that cannot be followed tells what it had named until there."""
    found: set[Global] = set()
    machine = _Machine(source, found, [MAX_OPCODES])
    try:
        root = machine.run()
    except Stop as stop:
        return Walk(frozenset(found), machine.stack[0] if machine.stack else None, complete=False, why=str(stop))
    return Walk(frozenset(found), root, complete=True)
