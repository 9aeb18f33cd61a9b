"""What expressions are worth, what they cost, and how mistakes in them are told."""

from __future__ import annotations

import pytest

from shim import cel

ENV = cel.Environment({"self": cel.DYN, "items": cel.list_of(cel.INT), "names": cel.map_of(cel.STRING, cel.INT)})
DATA = {"self": {"size": 3, "spec": {"tags": ["a", "b"]}, "odd-key": 1}, "items": [3, 1, 2], "names": {"x": 1}}


def worth(text: str, **variables: object) -> object:
    return ENV.compile(text).evaluate({**DATA, **variables}).value


@pytest.mark.parametrize(
    "text",
    [
        "self.size != 7 && self.size * 2 == 6",
        "1 + 2 * 3 == 7 && 7 % 4 == 3 && -7 / 2 == -3 && -7 % 4 == -3",
        "!(1 > 2) || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "1.5 < 2 && 2u > 1 && dyn(1) == 1.0 && 0x10 == 16",
        "self.size > 2 ? 'big' == 'big' : false",
        "has(self.spec) && !has(self.other) && has(self.spec.tags)",
        "items.all(i, i > 0) && items.exists(i, i == 3) && items.exists_one(i, i == 2)",
        "items.map(i, i * 2) == [6, 2, 4] && items.filter(i, i > 1) == [3, 2] && items.map(i, i > 1, i) == [3, 2]",
        "[1, 2].exists(x, x / (x - 1) == 2)",
        "names.all(k, names[k] == 1) && 'x' in names && !('y' in names) && 2 in items",
        "items.all(i, v, v > 0 && i < 3) && names.transformMap(k, v, v + 1) == {'x': 2}",
        "names.transformList(k, v, k) == ['x'] && names.transformMapEntry(k, v, {v: k}) == {1: 'x'}",
        "self['odd-key'] == 1 && self.spec.tags[1] == 'b' && size(self.spec.tags) == 2 && 'héllo'.size() == 5",
        "self.?nothing.orValue(5) == 5 && self.?size == optional.of(3) && !self.?a.?b.hasValue()",
        "self.?size.optMap(s, s + 1).orValue(0) == 4 && [?self.?nothing, dyn(1)] == [1] && {?'a': self.?x} == {}",
        "'abc'.matches('^a.c$') && 'abc'.contains('b') && r'\\d' == '\\\\d' && b'a' == bytes('a')",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'aB'.lowerAscii() == 'ab'",
        "'hello'.substring(1, 3) == 'el' && 'hello'.indexOf('l') == 2 && 'hello'.replace('l', 'L', 1) == 'heLlo'",
        "'%s is %d, %.2f'.format([dyn('x'), 3, 1.5]) == 'x is 3, 1.50'",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "items.max() == 3 && items.sum() == 6 && !items.isSorted() && items.sort() == [1, 2, 3]",
        "[{'a': 2}, {'a': 1}].sortBy(x, x.a) == [{'a': 1}, {'a': 2}] && items.sortBy(i, -i) == [3, 2, 1]",
        "sets.contains([1, 2], [2]) && sets.intersects([1], [1, 5]) && sets.equivalent([1, 1], [1])",
        "[1, 1, 2].distinct() == [1, 2] && [[1], [2]].flatten() == [1, 2] && [1, 2, 3].slice(1, 3) == [2, 3]",
        "quantity('1Ki').isGreaterThan(quantity('1k')) && quantity('1').add(quantity('500m')) == quantity('1500m')",
        "quantity('2').asInteger() == 2 && quantity('1').sub(1) == quantity('0') && sign(quantity('-1')) == -1",
        "isQuantity('1Gi') && !isQuantity('x')",
        "url('https://a.b:80/p%20q?x=1&x=2').getHost() == 'a.b:80' && url('https://a:8/').getPort() == '8'",
        "url('https://a/b?x=1&x=2').getQuery() == {'x': ['1', '2']} && !isURL('nothing') && isURL('/path')",
        "ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('1.2') && ip('127.0.0.1').isLoopback()",
        "cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "cidr('10.1.2.3/8').masked().ip() == ip('10.0.0.0') && cidr('10.0.0.0/8').prefixLength() == 8",
        "semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('v1.2', true).minor() == 2 && !isSemver('1.2')",
        "format.dns1123Label().validate('A').hasValue() && format.named('uuid').value().validate('x').hasValue()",
        "duration('1h30m') == duration('90m') && duration('90s').getSeconds() == 90",
        "timestamp('2024-02-29T12:00:00Z').getDayOfYear() == 59 && timestamp('2024-01-01T00:00:00Z') - duration('1s')"
        " < timestamp('2024-01-01T00:00:00Z')",
        "string(duration('1.5s')) == '1.5s' && int('42') == 42 && double('1.5') == 1.5 && string(true) == 'true'",
        "type(1) == int && type('a') == string && type(self) == map && type([]) == list",
        "self.spec.tags.map(t, t + '!').join() == 'a!b!'",
        "{true: 5}[true] == 5 && true in {true: 1} && !(dyn(1) in {true: 1}) && {'a': 1, 'a': 2} == {'a': 2}",
        "dyn(9223372036854775807) >= 9223372036854775808.0 && !(dyn(9223372036854775807) < 9223372036854775808.0)",
        "!self.?size.?a.hasValue() && !self.?spec.?tags[?9].hasValue()",
        "string(timestamp('2020-01-01T00:00:00+05:00')) == '2020-01-01T00:00:00+05:00'",
        "timestamp('2020-01-01T05:00:00+05:00') == timestamp('2020-01-01T00:00:00Z')",
        "string(1000000.0) == '1e+06' && string(123456789.0) == '1.23456789e+08' && string(-0.00001) == '-1e-05'",
        "string(100000.0) == '100000' && string(0.0001) == '0.0001' && string(1.5) == '1.5'",
        "'abc'.indexOf('a', 30) == -1 && 'abc'.indexOf('', 5) == 5 && 'abc'.lastIndexOf('c', 9) == -1",
        "'%.2f %e %s'.format([1234567.891, -0.00012, 'x']) == '1,234,567.89 -1.200000×10⁻⁰⁴ x'",
        "'%s'.format([['a', b'b', 1.5, true, null, duration('1h'), type(1)]])"
        ' == \'["a", b"b", 1.500000, true, null, duration("3600s"), int]\'',
        "'%s'.format([{10: 'c', 2: 'b', 1: 'a'}]) == '{1:\"a\", 10:\"c\", 2:\"b\"}'",
        "'%f %e %b %x %X %o'.format([double('Infinity'), 'NaN', true, -255, b'\\xff', 8]) == '∞ NaN 1 -ff FF 10'",
        "google.protobuf.Int64Value{value: 1} + 1 == 2 && google.protobuf.StringValue{} == '' &&"
        " google.protobuf.Duration{seconds: 1} == duration('1s') && google.protobuf.Value{number_value: 1.0} == 1.0",
        "google.protobuf.Struct{fields: {'a': google.protobuf.Value{string_value: 'b'}}}.a == 'b'",
    ],
)
def test_true(text: str) -> None:
    assert worth(text) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.nothing == 1", "no such key: nothing"),
        ("items[7] == 1", "index out of bounds: 7"),
        ("1 / (self.size - 3) == 1", "division by zero"),
        ("9223372036854775807 + self.size == 0", "integer overflow"),
        ("self.size.startsWith('a')", "no such overload"),
        ("self.?nothing.value() == 1", "optional.none() dereference"),
        ("self.size && true", "no such overload"),
        (
            r"url('a\b').getHost() == ''",
            r'URL parse error during conversion from string: parse "a\b": net/url: invalid control character in URL',
        ),
        ("'a'.matches(self.spec.tags[0] + '(')", "error parsing regexp: missing closing ): `a(`"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(cel.CelError) as caught:
        worth(text)
    assert str(caught.value) == message


WIDGET = cel.struct(
    "Widget",
    lambda: {
        "size": cel.Field(cel.INT, "size"),
        "__namespace__": cel.Field(cel.STRING, "namespace"),
        "parts": cel.Field(cel.list_of(WIDGET), "parts"),
    },
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.color", "ERROR: <input>:1:5: undefined field 'color'\n | self.color\n | ....^"),
        (
            "self.size == 'a'",
            "ERROR: <input>:1:11: found no matching overload for '_==_' applied to '(int, string)'\n"
            " | self.size == 'a'\n | ..........^",
        ),
        ("foo(1)", "ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^"),
        ("other", "ERROR: <input>:1:1: undeclared reference to 'other' (in container '')\n | other\n | ^"),
        (
            "self.parts.all(p, p.size)",
            "ERROR: <input>:1:20: expected type 'bool' but found 'int'\n"
            " | self.parts.all(p, p.size)\n | ...................^",
        ),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("self.`a-b` == 1", "ERROR: <input>:1:6: unsupported syntax: '`'\n | self.`a-b` == 1\n | .....^"),
        ("[1, dyn(2)]", "ERROR: <input>:1:8: expected type 'int' but found 'dyn'\n | [1, dyn(2)]\n | .......^"),
        (
            "{1: null, 'b': 2}",
            "ERROR: <input>:1:11: expected type 'int' but found 'string'\n | {1: null, 'b': 2}\n | ..........^\n"
            "ERROR: <input>:1:16: expected type 'null' but found 'int'\n | {1: null, 'b': 2}\n | ...............^",
        ),
        ("'é'.x(1)", "ERROR: <input>:1:6: undeclared reference to 'x' (in container '')\n | 'é'.x(1)\n | .．...^"),
        (
            "'%d'.format(['a'])",
            "ERROR: <input>:1:14: error during formatting: decimal clause can only be used on integers, was given "
            "string\n | '%d'.format(['a'])\n | .............^",
        ),
        (
            "'%s'.format([1, 2])",
            "ERROR: <input>:1:12: too many arguments supplied to string.format (expected 1, got 2)\n"
            " | '%s'.format([1, 2])\n | ...........^",
        ),
        ("'%s'.format([])", "ERROR: <input>:1:12: index 0 out of range\n | '%s'.format([])\n | ...........^"),
        ("f(1 2)", "ERROR: <input>:1:5: Syntax error: extraneous input '2' expecting ')'\n | f(1 2)\n | ....^"),
        ("b'\\u1234' == b''", "ERROR: <input>:1:1: unable to unescape string\n | b'\\u1234' == b''\n | ^"),
        ("int('x') == 1", "type conversion error from 'string' to 'int'"),
        ("self.__namespace__.find('[') == ''", "error parsing regexp: missing closing ]: `[`"),
        ("1e400 == 1.0", "ERROR: <input>:1:1: invalid double literal\n | 1e400 == 1.0\n | ^"),
        ("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^"),
        (
            "self.size +",
            "ERROR: <input>:1:12: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', "
            "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n"
            " | self.size +\n | ...........^",
        ),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        cel.Environment({"self": WIDGET}).compile(text)
    assert str(caught.value) == message


LITERALS = "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
BEGINS = f"{{'[', '{{', '(', '.', '-', '!', {LITERALS}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("f(1", ["1:4: missing ')' at '<EOF>'"]),
        ("f(", ["1:3: mismatched input '<EOF>' expecting " + BEGINS.replace("'(',", "'(', ')',")]),
        ("self[1", ["1:7: missing ']' at '<EOF>'"]),
        ("[", ["1:2: mismatched input '<EOF>' expecting {'[', ']', '{', '(', '.', ',', '-', '!', '?', " + LITERALS]),
        ("[1,,2]", ["1:4: mismatched input ',' expecting ']'"]),
        ("[1 2]", ["1:4: extraneous input '2' expecting {']', ','}"]),
        ("{1:2,,}", ["1:6: extraneous input ',' expecting '}'"]),
        ("{1 2}", ["1:4: missing ':' at '2'"]),
        ("self.", ["1:6: no viable alternative at input '.'"]),
        ("self..a", ["1:6: no viable alternative at input '..'"]),
        ("1 + + 2", ["1:5: extraneous input '+' expecting " + BEGINS]),
        ("1 2", ["1:3: extraneous input '2' expecting <EOF>"]),
        ("1 2 3", ["1:3: mismatched input '2' expecting <EOF>"]),
        ("a = b", ["1:3: token recognition error at: '= '", "1:5: extraneous input 'b' expecting <EOF>"]),
        ("'a", ["1:1: token recognition error at: ''a'", "1:3: mismatched input '<EOF>' expecting " + BEGINS]),
        ("? 1 : 2", ["1:1: extraneous input '?' expecting " + BEGINS, "1:5: mismatched input ':' expecting <EOF>"]),
        ("W{a:1", ["1:6: mismatched input '<EOF>' expecting {'}', ','}"]),
    ],
)
def test_what_is_no_expression_is_told_as_by_upstream(text: str, told: list[str]) -> None:
    with pytest.raises(cel.CompileError) as caught:
        cel.Environment({"self": cel.DYN, "a": cel.DYN, "b": cel.DYN}).compile(text)
    lines = [line.removeprefix("ERROR: <input>:") for line in str(caught.value).splitlines() if "ERROR" in line]
    assert [line.replace("Syntax error: ", "") for line in lines] == told


def test_fields_have_types_and_escaped_names() -> None:
    program = cel.Environment({"self": WIDGET}).compile(
        "self.__namespace__ == 'x' && self.parts.all(p, p.size > 1)", cel.BOOL
    )
    assert program.evaluate({"self": {"namespace": "x", "parts": [{"size": 2}]}}).value is True


def test_wrong_result() -> None:
    with pytest.raises(cel.CompileError, match="must evaluate to bool"):
        ENV.compile("'text'", cel.BOOL)


def test_costs() -> None:
    assert ENV.compile("self.size == 3").evaluate(DATA).cost == 3  # a variable, a field, a comparison
    with pytest.raises(cel.OverBudget):
        ENV.compile("items.all(i, items.all(j, items.all(k, i + j + k >= 0)))").evaluate({"items": list(range(1000))})


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("l.all(a, l.all(b, true))", 576),
        ("l.all(a, l.all(b, a != 'z'))", 446),
        ("l.all(a, l.all(b, a+b != 'zzz'))", 353),
        ("l.exists(a, l.exists(b, a == 'z'))", 407),
        ("l.map(a, l.map(b, a)).size() > 0", 276),
    ],
)
def test_loops_cost_what_they_cost_a_real_server(text: str, most: int) -> None:
    """``most`` texts of seven letters is what it lets them go over. Costs grow as a polynomial: three tell it."""
    program = cel.Environment({"l": cel.list_of(cel.STRING)}).compile(text)
    one, two, three = (program.evaluate({"l": ["aaaaaaa"] * n}).cost for n in (1, 2, 3))
    square = (three - 2 * two + one) / 2
    line = two - one - 3 * square

    def cost(n: int) -> float:
        return one + line * (n - 1) + square * (n * n - 1)

    assert cost(most) <= cel.CALL_LIMIT < cost(most + 1)


def test_authorizer() -> None:
    asked = []

    def judge(question: cel.Attributes) -> cel.Decision:
        asked.append(question)
        return cel.Decision(question.verb == "get", "because")

    environment = cel.Environment({"authorizer": cel.AUTHORIZER})
    text = "authorizer.group('apps').resource('deployments').namespace('x').name('n').check('get').allowed()"
    assert environment.compile(text, cel.BOOL).evaluate({"authorizer": cel.Authorizer(judge)}).value is True
    assert asked == [cel.Attributes(verb="get", group="apps", resource="deployments", namespace="x", name="n")]


def test_deep_and_hostile_texts_are_refused_quickly() -> None:
    for text in ("(" * 10_000, "[" * 10_000, "a" + ".b" * 60_000, "!" * 5 + "a" * 200_000):
        with pytest.raises(cel.CompileError):
            ENV.compile(text)
    assert worth("!'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')") is True
