"""The grammar of CEL: text to a tree. Macros are expanded on the way (:mod:`shim.cel.macros`).

https://github.com/google/cel-spec/blob/master/doc/langdef.md is the language; the words of syntax errors are those
of the reference implementation where its parser generator's wording can be told without its tables.
"""

from __future__ import annotations

from typing import Any

from shim.cel import macros
from shim.cel.tokens import RESERVED, SyntaxIssue, Token, tokens
from shim.cel.tree import Call, Ident, ListNode, Literal, MapNode, Node, Select, StructNode, dotted
from shim.cel.values import UInt

MAX_DEPTH = 250  # of nesting; upstream's limit on recursion
MAX_LENGTH = 100_000  # characters
_RELATIONS = {"==": "_==_", "!=": "_!=_", "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_"}
_SUMS = {"+": "_+_", "-": "_-_"}
_PRODUCTS = {"*": "_*_", "/": "_/_", "%": "_%_"}
_STARTS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)


class Parser:
    """Reads one expression. ``expand`` makes macros of calls, or says None."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise SyntaxIssue(0, f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_LENGTH}")
        self._expand = macros.expand
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._expression()
        token = self._tokens[self._next]
        if token.kind != "end":
            self._unexpected(token, "<EOF>")
        return node

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> Token | None:
        token = self._tokens[self._next]
        if token.text in texts and (token.kind == "op" or (token.kind == "ident" and token.text == "in")):
            self._next += 1
            return token
        return None

    def _need(self, text: str, expected: str = "") -> Token:
        token = self._take(text)
        if token is None:
            self._unexpected(self._peek(), expected or f"'{text}'")
        assert token is not None
        return token

    def _unexpected(self, token: Token, expected: str) -> None:
        if expected == "<EOF>":
            message = f"Syntax error: extraneous input '{token.text}' expecting <EOF>"
            if token.kind in ("string", "ident", "int", "uint", "double", "bytes"):
                message = f"Syntax error: mismatched input '{token.text}' expecting <EOF>"
        elif expected == "')'" and any(after.text == ")" for after in self._tokens[self._next + 1 : self._next + 2]):
            message = f"Syntax error: extraneous input '{token.text}' expecting ')'"
        else:
            message = f"Syntax error: mismatched input '{token.text}' expecting {expected}"
        raise SyntaxIssue(token.at, message)

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SyntaxIssue(-1, f"expression recursion limit exceeded: {MAX_DEPTH}")
        node = self._or()
        if question := self._take("?"):
            then = self._or()
            self._need(":")
            node = Call(question.at, "_?_:_", None, [node, then, self._expression()])
        self._depth -= 1
        return node

    def _or(self) -> Node:
        return self._balanced("||", "_||_", self._and)

    def _and(self) -> Node:
        return self._balanced("&&", "_&&_", self._relation)

    def _balanced(self, text: str, function: str, operand: Any) -> Node:
        """A chain of the same logical operator: a balanced tree of it, so that long chains are not deep."""
        terms, places = [operand()], []
        while token := self._take(text):
            places.append(token.at)
            terms.append(operand())

        def tree(low: int, high: int) -> Node:
            middle = (low + high + 1) // 2
            left = terms[middle] if middle == low else tree(low, middle - 1)
            right = terms[middle + 1] if middle == high else tree(middle + 1, high)
            return Call(places[middle], function, None, [left, right])

        return terms[0] if len(terms) == 1 else tree(0, len(places) - 1)

    def _relation(self) -> Node:
        node = self._sum()
        while token := self._take(*_RELATIONS, "in"):
            function = "@in" if token.text == "in" else _RELATIONS[token.text]
            node = Call(token.at, function, None, [node, self._sum()])
        return node

    def _sum(self) -> Node:
        node = self._product()
        while token := self._take(*_SUMS):
            node = Call(token.at, _SUMS[token.text], None, [node, self._product()])
        return node

    def _product(self) -> Node:
        node = self._unary()
        while token := self._take(*_PRODUCTS):
            node = Call(token.at, _PRODUCTS[token.text], None, [node, self._unary()])
        return node

    def _unary(self) -> Node:
        first = self._peek()
        count = 0
        while self._take("!"):
            count += 1
        if count:
            node = self._member()
            return Call(first.at, "!_", None, [node]) if count % 2 else node
        while self._take("-"):
            count += 1
        if count:
            following = self._peek()
            if count % 2 and following.kind in ("int", "double"):
                self._tokens[self._next] = following._replace(value=-following.value, at=first.at)
                return self._member()
            node = self._member()
            return Call(first.at, "-_", None, [node]) if count % 2 else node
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        while True:
            if dot := self._take("."):
                optional = bool(self._take("?"))
                name = self._peek()
                if name.kind != "ident" or name.text == "in":
                    self._unexpected(name, "IDENTIFIER")
                self._next += 1
                if not optional and (paren := self._take("(")):
                    args = self._arguments()
                    node = self._expand(name.text, node, args, paren.at) or Call(paren.at, name.text, node, args)
                else:
                    node = Select(dot.at, node, name.text, optional=optional)
            elif bracket := self._take("["):
                function = "_[?_]" if self._take("?") else "_[_]"
                index = self._expression()
                self._need("]")
                node = Call(bracket.at, function, None, [node, index])
            elif isinstance(node, Ident | Select) and self._peek().text == "{" and (name_of := dotted(node)):
                brace = self._need("{")
                node = StructNode(brace.at, name_of, self._fields())
            else:
                return node

    def _primary(self) -> Node:
        token = self._peek()
        self._next += 1
        if token.kind == "int":
            if not -(2**63) <= token.value < 2**63:
                raise SyntaxIssue(token.at, "invalid int literal")
            return Literal(token.at, token.value)
        if token.kind == "uint":
            if token.value >= 2**64:
                raise SyntaxIssue(token.at, "invalid uint literal")
            return Literal(token.at, UInt(token.value))
        if token.kind in ("double", "string", "bytes"):
            return Literal(token.at, token.value)
        if token.kind == "ident" and token.text != "in":
            return self._identifier(token)
        if token.text == "." and self._peek().kind == "ident":
            name = self._peek()
            self._next += 1
            return self._identifier(name._replace(text=f".{name.text}"))
        if token.text == "(":
            node = self._expression()
            self._need(")")
            return node
        if token.text == "[":
            return self._list(token)
        if token.text == "{":
            return self._map(token)
        self._unexpected(token, _STARTS)
        raise AssertionError

    def _identifier(self, token: Token) -> Node:
        if token.text in ("true", "false"):
            return Literal(token.at, token.text == "true")
        if token.text == "null":
            return Literal(token.at, None)
        if token.text in RESERVED:
            raise SyntaxIssue(token.at, f"reserved identifier: {token.text}")
        if paren := self._take("("):
            args = self._arguments()
            expanded = self._expand(token.text, None, args, paren.at)
            return expanded or Call(paren.at, token.text, None, args)
        return Ident(token.at, token.text)

    def _arguments(self) -> list[Node]:
        found: list[Node] = []
        while not self._take(")"):
            if found:
                self._need(",", "')'")
            found.append(self._expression())
        return found

    def _list(self, bracket: Token) -> Node:
        items: list[Node] = []
        optional = set()
        while not self._take("]"):
            if items:
                self._need(",", "{']', ','}")
                if self._take("]"):
                    break
            if self._take("?"):
                optional.add(len(items))
            items.append(self._expression())
        return ListNode(bracket.at, items, frozenset(optional))

    def _map(self, brace: Token) -> Node:
        entries: list[tuple[Node, Node, bool]] = []
        while not self._take("}"):
            if entries:
                self._need(",", "{'}', ','}")
                if self._take("}"):
                    break
            optional = bool(self._take("?"))
            key = self._expression()
            self._need(":")
            entries.append((key, self._expression(), optional))
        return MapNode(brace.at, entries)

    def _fields(self) -> list[tuple[str, Node, bool, int]]:
        fields: list[tuple[str, Node, bool, int]] = []
        while not self._take("}"):
            if fields:
                self._need(",")
                if self._take("}"):
                    break
            optional = bool(self._take("?"))
            name = self._peek()
            if name.kind != "ident":
                self._unexpected(name, "IDENTIFIER")
            self._next += 1
            colon = self._need(":")
            fields.append((name.text, self._expression(), optional, colon.at))
        return fields


def parse(text: str) -> Node:
    """The tree of an expression. Raises SyntaxIssue."""
    return Parser(text).parse()
