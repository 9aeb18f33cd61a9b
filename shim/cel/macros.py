"""CEL's macros: calls that bind variables of their own become comprehensions before anything else looks at them.

Each is a loop over a list or the keys of a map with an accumulator, as the language's specification defines it;
costs are counted on what they become.
"""

from __future__ import annotations

from collections.abc import Callable

from shim.cel.tokens import SyntaxIssue
from shim.cel.tree import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select

ACCU = "@result"
SORT_BY_KEYS = "@sortByAssociatedKeys"


def expand(function: str, target: Node | None, args: list[Node], at: int) -> Node | None:
    """The tree a macro stands for; None where a call is none. Raises SyntaxIssue."""
    if function == "has" and target is None and len(args) == 1:
        operand = args[0]
        if not isinstance(operand, Select) or operand.test or operand.optional:
            raise SyntaxIssue(operand.at, "invalid argument to has() macro")
        return Select(at, operand.operand, operand.field, test=True)
    if target is None:
        return None
    macro = _MACROS.get((function, len(args)))
    return macro(target, args, at) if macro else None


def _variable(node: Node, function: str) -> str:
    if not isinstance(node, Ident) or node.name.startswith("."):
        raise SyntaxIssue(node.at, "argument must be a simple name")
    if node.name == ACCU:
        raise SyntaxIssue(node.at, f"iteration variable overwrites accumulator variable: {function}")
    return node.name


def _accu(at: int) -> Ident:
    return Ident(at, ACCU)


def _true(at: int) -> Literal:
    return Literal(at, True)


def _all(target: Node, names: list[str], test: Node, at: int) -> Node:
    going = Call(at, "@not_strictly_false", None, [_accu(at)])
    step = Call(at, "_&&_", None, [_accu(at), test])
    return _fold(at, target, names, _true(at), going, step, _accu(at))


def _exists(target: Node, names: list[str], test: Node, at: int) -> Node:
    going = Call(at, "@not_strictly_false", None, [Call(at, "!_", None, [_accu(at)])])
    step = Call(at, "_||_", None, [_accu(at), test])
    return _fold(at, target, names, Literal(at, False), going, step, _accu(at))


def _exists_one(target: Node, names: list[str], test: Node, at: int) -> Node:
    more = Call(at, "_+_", None, [_accu(at), Literal(at, 1)])
    step = Call(at, "_?_:_", None, [test, more, _accu(at)])
    result = Call(at, "_==_", None, [_accu(at), Literal(at, 1)])
    return _fold(at, target, names, Literal(at, 0), _true(at), step, result)


def _collect(target: Node, names: list[str], test: Node | None, made: Node, at: int) -> Node:
    """A new list of what ``made`` is for the items that pass ``test``."""
    step: Node = Call(at, "_+_", None, [_accu(at), ListNode(at, [made], frozenset())])
    if test is not None:
        step = Call(at, "_?_:_", None, [test, step, _accu(at)])
    return _fold(at, target, names, ListNode(at, [], frozenset()), _true(at), step, _accu(at))


def _collect_map(target: Node, names: list[str], test: Node | None, added: list[Node], at: int) -> Node:
    step: Node = Call(at, "cel.@mapInsert", None, [_accu(at), *added])
    if test is not None:
        step = Call(at, "_?_:_", None, [test, step, _accu(at)])
    return _fold(at, target, names, MapNode(at, []), _true(at), step, _accu(at))


def _fold(at: int, target: Node, names: list[str], init: Node, condition: Node, step: Node, result: Node) -> Node:
    return Fold(at, target, names[0], names[1] if len(names) > 1 else "", ACCU, init, condition, step, result)


def _filter(target: Node, args: list[Node], at: int) -> Node:
    name = _variable(args[0], "filter")
    return _collect(target, [name], args[1], Ident(at, name), at)


def _optional(target: Node, args: list[Node], at: int, *, wrap: bool) -> Node:
    """``optMap`` and ``optFlatMap``: a value is bound only where there is one."""
    name = _variable(args[0], "optMap")
    value = Call(at, "value", target, [])
    bound = _bound(name, value, args[1], at)
    made: Node = Call(at, "optional.of", None, [bound]) if wrap else bound
    none = Call(at, "optional.none", None, [])
    return Call(at, "_?_:_", None, [Call(at, "hasValue", target, []), made, none])


def _bound(name: str, value: Node, within: Node, at: int) -> Node:
    """What an expression is worth with a value under a name: a loop over nothing, whose accumulator it is."""
    nothing = ListNode(at, [], frozenset())
    return Fold(at, nothing, "#unused", "", name, value, Literal(at, False), Ident(at, name), within)


def _sort_by(target: Node, args: list[Node], at: int) -> Node:
    """The list is made once, and sorted beside the list of its keys."""
    name = "@__sortBy_input__"
    keys = _collect(Ident(at, name), [_variable(args[0], "sortBy")], None, args[1], at)
    return _bound(name, target, Call(at, SORT_BY_KEYS, Ident(at, name), [keys]), at)


def _test(build: Callable[[Node, list[str], Node, int], Node], count: int) -> Callable[[Node, list[Node], int], Node]:
    def macro(target: Node, args: list[Node], at: int) -> Node:
        return build(target, [_variable(arg, "") for arg in args[:count]], args[count], at)

    return macro


_MACROS: dict[tuple[str, int], Callable[[Node, list[Node], int], Node]] = {
    ("all", 2): _test(_all, 1),
    ("all", 3): _test(_all, 2),
    ("exists", 2): _test(_exists, 1),
    ("exists", 3): _test(_exists, 2),
    ("exists_one", 2): _test(_exists_one, 1),
    ("existsOne", 3): _test(_exists_one, 2),
    ("map", 2): lambda target, args, at: _collect(target, [_variable(args[0], "map")], None, args[1], at),
    ("map", 3): lambda target, args, at: _collect(target, [_variable(args[0], "map")], args[1], args[2], at),
    ("filter", 2): _filter,
    ("sortBy", 2): _sort_by,
    ("optMap", 2): lambda target, args, at: _optional(target, args, at, wrap=True),
    ("optFlatMap", 2): lambda target, args, at: _optional(target, args, at, wrap=False),
    ("transformList", 3): lambda target, args, at: _collect(target, _two(args), None, args[2], at),
    ("transformList", 4): lambda target, args, at: _collect(target, _two(args), args[2], args[3], at),
    ("transformMap", 3): lambda target, args, at: _collect_map(target, _two(args), None, [args[0], args[2]], at),
    ("transformMap", 4): lambda target, args, at: _collect_map(target, _two(args), args[2], [args[0], args[3]], at),
    ("transformMapEntry", 3): lambda target, args, at: _collect_map(target, _two(args), None, [args[2]], at),
    ("transformMapEntry", 4): lambda target, args, at: _collect_map(target, _two(args), args[2], [args[3]], at),
}


def _two(args: list[Node]) -> list[str]:
    return [_variable(args[0], ""), _variable(args[1], "")]
