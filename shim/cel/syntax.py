"""The grammar of CEL: text to a tree. Macros are expanded on the way (:mod:`shim.cel.macros`).

https://github.com/google/cel-spec/blob/master/doc/langdef.md is the language; the words of syntax errors are those
of the reference implementation where its parser generator's wording can be told without its tables.
"""

from __future__ import annotations

from typing import Any

from shim.cel import macros
from shim.cel.tokens import RESERVED, Issue, SyntaxIssue, Token, tokens
from shim.cel.tree import Call, Ident, ListNode, Literal, MapNode, Node, Select, StructNode, dotted
from shim.cel.values import UInt

MAX_DEPTH = 250  # of nesting; upstream's limit on recursion
MAX_LENGTH = 100_000  # characters
_RELATIONS = {"==": "_==_", "!=": "_!=_", "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_"}
_SUMS = {"+": "_+_", "-": "_-_"}
_PRODUCTS = {"*": "_*_", "/": "_/_", "%": "_%_"}
_IDENTIFIERS = ("IDENTIFIER", "ESC_IDENTIFIER")
_ORDER = (
    *("'['", "']'", "'{'", "'}'", "'('", "')'", "'.'", "','", "'-'", "'!'", "'?'", "'true'", "'false'", "'null'"),
    *("NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", *_IDENTIFIERS),
)
"""In which upstream's parser names what it waits for."""
_BEGINS = frozenset(_ORDER) - {"']'", "'}'", "')'", "','", "'?'", "ESC_IDENTIFIER"}


def _expected(*more: str) -> str:
    """What an expression may begin with, and what may stand in its place."""
    return f"{{{', '.join(each for each in _ORDER if each in _BEGINS or each in more)}}}"


_STARTS, _IN_CALL, _IN_INDEX = _expected(), _expected("')'"), _expected("'?'")
_IN_LIST, _IN_MAP = _expected("']'", "','", "'?'"), _expected("'}'", "','", "'?'")


class Parser:
    """Reads one expression. ``expand`` makes macros of calls, or says None.

    What is one word too many or too few is noted, and reading goes on, as upstream's parser recovers from it.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise SyntaxIssue(0, f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_LENGTH}")
        self._expand = macros.expand
        self._tokens, self._issues = tokens(text)
        self._next = 0
        self._depth = 0
        self._open = 0  # brackets

    def parse(self) -> Node:
        """Raises SyntaxIssue, with all issues in the order of the text."""
        try:
            node = self._expression()
            token = self._peek()
            if token.kind != "end":
                last = self._tokens[self._next + 1].kind == "end"
                self._note(token, f"{'extraneous' if last else 'mismatched'} input '{token.text}' expecting <EOF>")
        except SyntaxIssue as error:
            error.issues = sorted({*self._issues, *error.issues})
            raise
        if self._issues:
            found = SyntaxIssue(*self._issues[0])
            found.issues = sorted(self._issues)
            raise found
        return node

    def _note(self, token: Token, message: str) -> None:
        self._issues.append(Issue(token.at, f"Syntax error: {message}"))

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> Token | None:
        token = self._tokens[self._next]
        if token.text in texts and (token.kind == "op" or (token.kind == "ident" and token.text == "in")):
            self._next += 1
            return token
        return None

    def _need(self, text: str, expected: str = "", *closing: str) -> Token:
        """A word that must come; one in front of it is passed over, and one that is only missing is taken as read."""
        if token := self._take(text):
            return token
        found, expected = self._peek(), expected or f"'{text}'"
        if self._follows(text, *closing):
            self._note(found, f"extraneous input '{found.text}' expecting {expected}")
            self._next += 1
            self._take(text)
        elif self._starts(found) if text == ":" else found.kind == "end" and self._open == 1 and text in ")]}":
            self._note(found, f"missing '{text}' at '{found.text}'")
        else:
            raise self._mismatch(found, expected)
        return found

    def _begin(self, expected: str = _STARTS) -> None:
        """An expression must begin here; a word in front of it is passed over."""
        found = self._peek()
        if self._starts(found):
            return
        if found.kind == "end" or not self._starts(self._tokens[self._next + 1]):
            raise self._mismatch(found, expected)
        self._note(found, f"extraneous input '{found.text}' expecting {expected}")
        self._next += 1

    def _starts(self, token: Token) -> bool:
        if token.kind == "op":
            return token.text in ("[", "{", "(", ".", "-", "!")
        return token.kind != "end" and token.text != "in"

    def _follows(self, *texts: str) -> bool:
        following = self._tokens[self._next + 1 : self._next + 2]
        return any(after.kind == "op" and after.text in texts for after in following)

    def _mismatch(self, token: Token, expected: str) -> SyntaxIssue:
        return SyntaxIssue(token.at, f"Syntax error: mismatched input '{token.text}' expecting {expected}")

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
            if self._peek().kind == "end":
                raise SyntaxIssue(self._peek().at, f"Syntax error: extraneous input '<EOF>' expecting {_STARTS}")
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
                    raise self._nameless(name, optional)
                self._next += 1
                if not optional and (paren := self._take("(")):
                    args = self._arguments()
                    node = self._expand(name.text, node, args, paren.at) or Call(paren.at, name.text, node, args)
                else:
                    node = Select(dot.at, node, name.text, optional=optional)
            elif bracket := self._take("["):
                self._open += 1
                function = "_[_]"
                if self._take("?"):
                    function = "_[?_]"
                else:
                    self._begin(_IN_INDEX)
                index = self._expression()
                self._need("]")
                self._open -= 1
                node = Call(bracket.at, function, None, [node, index])
            elif isinstance(node, Ident | Select) and self._peek().text == "{" and (name_of := dotted(node)):
                brace = self._need("{")
                node = StructNode(brace.at, name_of, self._fields())
            else:
                return node

    def _nameless(self, token: Token, optional: bool) -> SyntaxIssue:
        if optional:
            error = self._mismatch(token, f"{{{', '.join(_IDENTIFIERS)}}}")
            error.issues.append(Issue(token.at, "unsupported ident kind"))
            return error
        text = "" if token.kind == "end" else token.text
        return SyntaxIssue(token.at, f"Syntax error: no viable alternative at input '.{text}'")

    def _primary(self) -> Node:
        self._begin()
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
        if token.text == ".":
            name = self._peek()
            if name.kind != "ident":
                raise self._nameless(name, optional=False)
            self._next += 1
            return self._identifier(name._replace(text=f".{name.text}"))
        self._open += 1
        if token.text == "(":
            node = self._expression()
            self._need(")")
            self._open -= 1
            return node
        if token.text == "[":
            return self._list(token)
        if token.text == "{":
            return self._map(token)
        raise self._mismatch(token, _STARTS)

    def _identifier(self, token: Token) -> Node:
        if token.text in ("true", "false"):
            return Literal(token.at, token.text == "true")
        if token.text == "null":
            return Literal(token.at, None)
        if token.text in RESERVED:
            self._issues.append(Issue(token.at, f"reserved identifier: {token.text}"))
        if paren := self._take("("):
            args = self._arguments()
            expanded = self._expand(token.text, None, args, paren.at)
            return expanded or Call(paren.at, token.text, None, args)
        return Ident(token.at, token.text)

    def _arguments(self) -> list[Node]:
        found: list[Node] = []
        self._open += 1
        if not self._take(")"):
            self._begin(_IN_CALL)
            found.append(self._expression())
            while self._take(","):
                found.append(self._expression())
            self._need(")")
        self._open -= 1
        return found

    def _list(self, bracket: Token) -> Node:
        items: list[Node] = []
        optional = set()
        if self._take(","):  # the last one, of none
            self._need("]")
            self._open -= 1
            return ListNode(bracket.at, items, frozenset())
        while not self._take("]"):
            if items:
                self._need(",", "{']', ','}", "]")
                if self._ends("]"):
                    break
            if self._take("?"):
                optional.add(len(items))
            elif not items:
                self._begin(_IN_LIST)
            items.append(self._expression())
        self._open -= 1
        return ListNode(bracket.at, items, frozenset(optional))

    def _map(self, brace: Token) -> Node:
        entries: list[tuple[Node, Node, bool]] = []
        if self._take(","):
            self._need("}")
            self._open -= 1
            return MapNode(brace.at, entries)
        while not self._take("}"):
            if entries:
                self._need(",", "{'}', ','}", "}")
                if self._ends("}"):
                    break
            optional = bool(self._take("?"))
            if not entries and not optional:
                self._begin(_IN_MAP)
            key = self._expression()
            self._need(":")
            entries.append((key, self._expression(), optional))
        self._open -= 1
        return MapNode(brace.at, entries)

    def _ends(self, text: str, *, fields: bool = False) -> bool:
        """Whether a comma was the last: nothing that could be another entry follows it."""
        found = self._peek()
        more = found.kind == "ident" if fields else self._starts(found)
        if more or (found.kind, found.text) == ("op", "?"):
            return False
        self._need(text)
        return True

    def _fields(self) -> list[tuple[str, Node, bool, int]]:
        fields: list[tuple[str, Node, bool, int]] = []
        self._open += 1
        while not self._take("}"):
            if fields:
                self._need(",", "{'}', ','}", "}")
                if self._ends("}", fields=True):
                    break
            optional = bool(self._take("?"))
            name = self._peek()
            if name.kind != "ident":
                before = () if fields else ("'}'", "','", "'?'")
                raise self._mismatch(name, f"{{{', '.join((*before, *_IDENTIFIERS))}}}")
            self._next += 1
            colon = self._need(":")
            fields.append((name.text, self._expression(), optional, colon.at))
        self._open -= 1
        return fields


def parse(text: str) -> Node:
    """The tree of an expression. Raises SyntaxIssue."""
    return Parser(text).parse()
