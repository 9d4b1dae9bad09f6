"""Makes up hostile bodies: a valid call of a tool, changed at random places.

A body is a tree until the end, in which an object is a list of pairs, so that a key can stand in it
twice, and keys and scalars are literals, so that each can be written in any way.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

SEED = 20_260_728
SLOT = "api_token_is"  # has the letters that Unicode folds others to: i, k, s
LIMITED = "site_token"
LIMITED_TOOL = "create_issue"
TOOLS = ("search", "delete_issue", "name")
ATTACKER = "the attacker's own"
MODERN = "2026-07-28"

NUMBERS = (
    "0 -0 1 -1 1.0 1e0 1E+2 1e-7 0.1 0.30000000000000004 9007199254740993 -9223372036854775809 18446744073709551616 "
    "123456789012345678901234567890.123456789 1e308 1e309 -1e400 1e-400 2.50 100000000000000000000000"
).split() + ["9" * 400, "0." + "0" * 300 + "1"]
NO_NUMBERS = "NaN Infinity -Infinity nan 01 -01 1. .5 +1 0x10 1_000 1e 1e+ - -- 1.2.3 1,0 ١ 1n 0b1 Inf -NaN".split()
STRINGS = [
    '""',
    '"a"',
    '"\\u0061"',
    '"\\/"',
    '"é"',
    '"\\ud83d\\ude00"',
    '"😀"',
    '"\\u0000"',
    '"\\u2028"',
    '"</script>"',
    '"\\ufeff"',
]
NO_STRINGS = [
    '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d😀"', '"\\x41"', '"\\u{41}"', "\"\\'\"", '"\\u004"', '"\\U0041"', '"\t"',
    '"\n"', '"\x00"', '"\x1f"', "'a'", '"\\', '"a', "`a`", '"\\ud83d\\u0061"', '"\\0"', '"\\a"',
]  # fmt: skip
WORDS = ["true", "false", "null"]
NO_WORDS = [
    "True",
    "None",
    "undefined",
    "TRUE",
    "nul",
    "truefalse",
    "",
    "a",
    "/**/1",
    "1//",
    "#1",
    "[1,]",
    "[,1]",
    '{"a":1,}',
    "{a:1}",
    "[1 2]",
]
SPACE = ["", "", "", " ", "\n", "\t", "\r\n", "  "]
NO_SPACE = ["\v", "\f", "\xa0", "\u2028", "\ufeff", "\x00", "/* */", "// \n", "\u200b", "\x85", "#\n"]
LOOKALIKES = {"i": "ıİ", "s": "ſ", "k": "K"}


@dataclass
class Case:
    """One request."""

    number: int
    body: bytes
    headers: dict[str, str]
    modern: bool
    kinds: list[str]
    # Every change was one that makes no difference to a parser.
    harmless: bool


@dataclass
class Object:
    members: list[list] = field(default_factory=list)  # of [key literal, value]

    def value(self, key: str):
        return next((value for name, value in self.members if name == json.dumps(key)), None)


class Maker:
    """Makes one body. Values are `Object`s, lists, and literals."""

    def __init__(self, number: int) -> None:
        self.rng = random.Random(SEED + number)
        self.tool = self.rng.choice((LIMITED_TOOL, LIMITED_TOOL, *TOOLS))
        self.modern = self.rng.random() < 0.4
        self.tree = self.message()

    # --- values ---

    def literal(self) -> str:
        return self.rng.choice(self.rng.choice((NUMBERS, STRINGS, WORDS)))

    def value(self, depth: int = 0):
        kind = self.rng.random()
        if depth > 3 or kind < 0.6:
            return self.literal()
        if kind < 0.8:
            return [self.value(depth + 1) for _ in range(self.rng.randrange(4))]
        names = self.rng.sample(
            ["a", "b", "c", "name", "arguments", "id", SLOT, "__proto__", "é", "", "0", "toString"], 3
        )
        return Object([[json.dumps(name), self.value(depth + 1)] for name in names[: self.rng.randrange(4)]])

    def attack(self):
        """A value for a slot, from the attacker."""
        own = json.dumps(ATTACKER)
        return self.rng.choice((own, own, own, "null", [own], Object([['"value"', own]]), "7", '""'))

    def message(self) -> Object:
        names = self.rng.sample(["title", "n", "list", "deep", "Title", "constructor", "é", "arguments"], 5)
        arguments = Object([[json.dumps(name), self.value()] for name in names[: self.rng.randrange(6)]])
        if self.rng.random() < 0.4:
            arguments.members.append([json.dumps(SLOT), self.attack()])
        if self.rng.random() < 0.2:
            arguments.members.append([json.dumps(LIMITED), self.attack()])
        params = Object([['"name"', json.dumps(self.tool)], ['"arguments"', arguments]])
        if self.modern:
            about = {"protocolVersion": json.dumps(MODERN), "clientCapabilities": Object()}
            meta = [[json.dumps(f"io.modelcontextprotocol/{name}"), value] for name, value in about.items()]
            params.members.append(['"_meta"', Object(meta)])
        ids = (*NUMBERS[:8], '"a"', '"\\u0061"', '""')
        message = {"jsonrpc": '"2.0"', "id": self.rng.choice(ids), "method": '"tools/call"', "params": params}
        found = Object([[json.dumps(key), value] for key, value in message.items()])
        for one in (found, params, arguments):
            self.rng.shuffle(one.members)
        return found

    # --- places ---

    def envelope(self) -> list[Object]:
        """The message and the objects in it whose keys mean something, as far as there are any."""
        params = self.tree.value("params")
        if not isinstance(params, Object):
            return [self.tree]
        inner = [params.value(key) for key in ("arguments", "_meta")]
        return [self.tree, params, *(one for one in inner if isinstance(one, Object))]

    def objects(self) -> list[Object]:
        """Every object."""
        found, left = [], [self.tree]
        while left:
            one = left.pop()
            if isinstance(one, Object):
                found.append(one)
                left += [value for _, value in one.members]
            elif isinstance(one, list):
                left += one
        return found

    def arguments(self) -> Object | None:
        params = self.tree.value("params")
        found = params.value("arguments") if isinstance(params, Object) else None
        return found if isinstance(found, Object) else None

    def put(self, where: Object, key: str, value) -> None:
        where.members.insert(self.rng.randrange(len(where.members) + 1), [key, value])

    def some_member(self, objects: list[Object]) -> tuple[Object, list] | None:
        objects = [one for one in objects if one.members]
        if not objects:
            return None
        where = self.rng.choice(objects)
        return where, self.rng.choice(where.members)

    # --- ways to write ---

    def escaped(self, literal: str) -> str:
        """The same text with some of its letters as escapes."""
        try:
            text = json.loads(literal)
        except ValueError:
            return literal
        if not isinstance(text, str):
            return literal
        out = ""
        for letter in text:
            if self.rng.random() < 0.3:
                units = letter.encode("utf-16-be", "surrogatepass")
                form = self.rng.choice(("\\u{:04x}", "\\u{:04X}"))
                out += "".join(form.format(int.from_bytes(units[at : at + 2])) for at in range(0, len(units), 2))
            else:
                out += json.dumps(letter, ensure_ascii=False)[1:-1]
        return f'"{out}"'

    def recased(self, literal: str) -> str:
        """The text in other cases of its letters, not as it is."""
        text = literal[1:-1]
        letters = [at for at, letter in enumerate(text) if letter.isalpha()]
        if not letters:
            return literal
        out = list(text)
        for at in self.rng.sample(letters, self.rng.randint(1, len(letters))):
            others = LOOKALIKES.get(text[at].lower(), "") if self.rng.random() < 0.4 else ""
            out[at] = self.rng.choice(others) if others else text[at].swapcase()
        return json.dumps("".join(out), ensure_ascii=self.rng.random() < 0.5)

    def render(self, value) -> str:
        space = lambda: self.rng.choice(SPACE)  # noqa: E731
        if isinstance(value, Object):
            inner = ",".join(f"{space()}{key}{space()}:{self.render(one)}" for key, one in value.members)
            text = f"{{{inner}{space()}}}"
        elif isinstance(value, list):
            text = f"[{','.join(self.render(one) for one in value)}{space()}]" if value else f"[{space()}]"
        else:
            text = value
        return f"{space()}{text}{space()}"

    # --- changes of the tree ---

    def escapes_keys(self) -> None:
        for one in self.objects():
            for member in one.members:
                member[0] = self.escaped(member[0])

    def escapes_texts(self) -> None:
        for one in self.objects():
            for member in one.members:
                if isinstance(member[1], str):
                    member[1] = self.escaped(member[1])

    def adds_unknown(self) -> None:
        where = self.rng.choice(self.envelope()[:2])
        self.put(where, json.dumps(self.rng.choice(("extra", "__proto__", "", "é", "constructor"))), self.value())

    def adds_slot(self) -> None:
        """The slot's argument by another spelling; harmless, for it is replaced."""
        if (where := self.arguments()) is not None:
            known = {json.loads(name) for name, _ in where.members}
            for _ in range(self.rng.randint(1, 3)):
                literal = self.recased(json.dumps(self.rng.choice((SLOT, SLOT, LIMITED))))
                if json.loads(literal) not in known:
                    known.add(json.loads(literal))
                    self.put(where, literal, self.attack())

    def repeats_key(self, objects: list[Object] | None = None) -> None:
        if found := self.some_member(objects or self.objects()):
            where, (key, _) = found
            value = self.attack() if self.rng.random() < 0.5 else self.value()
            self.put(where, self.escaped(key) if self.rng.random() < 0.5 else key, value)

    def repeats_field(self) -> None:
        self.repeats_key(self.envelope())

    def repeats_slot(self) -> None:
        if (where := self.arguments()) is not None:
            for _ in range(2):
                self.put(where, self.escaped(json.dumps(SLOT)), self.attack())

    def repeats_arguments(self) -> None:
        params = self.tree.value("params")
        if isinstance(params, Object):
            another = Object([[json.dumps(SLOT), json.dumps(ATTACKER)]])
            self.put(params, self.escaped('"arguments"'), another)

    def recases_field(self) -> None:
        if found := self.some_member(self.envelope()[:2]):
            where, member = found
            if self.rng.random() < 0.5:
                member[0] = self.recased(member[0])
            else:
                self.put(where, self.recased(member[0]), self.value())

    def adds_miscased_arguments(self) -> None:
        params = self.tree.value("params")
        if isinstance(params, Object):
            another = Object([[json.dumps(SLOT), json.dumps(ATTACKER)]])
            self.put(params, self.recased('"arguments"'), another)

    def retypes_field(self) -> None:
        if found := self.some_member(self.envelope()[:2]):
            found[1][1] = self.value()

    def drops_field(self) -> None:
        if found := self.some_member(self.envelope()[:2]):
            found[0].members.remove(found[1])

    def renames_method(self) -> None:
        for member in self.tree.members:
            if member[0] == '"method"':
                other = ("tools/list", "ping", "tools/Call", "TOOLS/CALL", "tools/call ", "tools/call\u0000", "")
                member[1] = json.dumps(self.rng.choice(other))

    def odd_value(self, choices: list[str]) -> None:
        if found := self.some_member(self.objects()):
            found[1][1] = self.rng.choice(choices)

    def odd_number(self) -> None:
        self.odd_value(NUMBERS)

    def no_number(self) -> None:
        self.odd_value(NO_NUMBERS)

    def no_string(self) -> None:
        self.odd_value(NO_STRINGS)

    def no_word(self) -> None:
        self.odd_value(NO_WORDS)

    def no_string_as_key(self) -> None:
        if found := self.some_member(self.objects()):
            found[1][0] = self.rng.choice((*NO_STRINGS, "a", "1", "null", "[]"))

    def nests_deep(self) -> None:
        if found := self.some_member(self.objects()):
            for _ in range(self.rng.choice((50, 58, 60, 61, 62, 63, 64, 65, 150))):
                inner = found[1][1]
                found[1][1] = [inner] if self.rng.random() < 0.5 else Object([['"a"', inner]])

    def batches(self) -> None:
        other = Maker(self.rng.randrange(10**9)).tree
        one = self.tree
        self.tree = self.rng.choice(([one], [one, other], [other, one], [], [one, "1"], [[one]], [one, []], [one, one]))

    # --- changes of the text ---

    def harmless_edges(self, text: str) -> str:
        return self.rng.choice(SPACE) + text + self.rng.choice(("\n", " ", "\r\n\t", " " * 100))

    def odd_edges(self, text: str) -> str:
        odd = self.rng.choice(NO_SPACE)
        return odd + text if self.rng.random() < 0.5 else text + odd

    def trails(self, text: str) -> str:
        again = text.replace(self.tool, "delete_issue")
        return text + self.rng.choice(
            ("{}", "null", ",", "}", "]", "\x00", "0", '""', again, "\n" + again, "," + again)
        )

    def odd_space(self, text: str) -> str:
        places = [at for at, letter in enumerate(text) if letter in "{}[]:,"]
        at = self.rng.choice(places) if places else 0
        return text[: at + 1] + self.rng.choice((*NO_SPACE, ",", ":", "{", "]", "'")) + text[at + 1 :]

    def cuts(self, text: str) -> str:
        return text[: self.rng.randrange(len(text))] if text else text

    # --- changes of the bytes ---

    def encodes(self, body: bytes) -> bytes:
        text = body.decode("utf-8", "replace")
        encodings = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig", "utf-7")
        return text.encode(self.rng.choice(encodings))

    def overlong(self, body: bytes) -> bytes:
        """One letter in more bytes than it needs, or half an astral letter in three."""
        at = self.rng.randrange(len(body)) if body else 0
        letter = body[at] & 0x7F if body else 0
        two = bytes((0xC0 | letter >> 6, 0x80 | letter & 0x3F))
        three = bytes((0xE0, 0x80 | letter >> 6, 0x80 | letter & 0x3F))
        return (
            body[:at]
            + self.rng.choice((two, three, b"\xf0\x80" + three[1:], b"\xed\xa0\xbd\xed\xb8\x80"))
            + body[at + 1 :]
        )

    def not_utf8(self, body: bytes) -> bytes:
        at = self.rng.randrange(len(body) + 1)
        return (
            body[:at]
            + self.rng.choice((b"\x80", b"\xff", b"\xe9", b"\xc3", b"\xf5\x80\x80\x80", b"\xfe\xff"))
            + body[at:]
        )

    def edits_bytes(self, body: bytes) -> bytes:
        out = bytearray(body)
        for _ in range(self.rng.randint(1, 3)):
            at = self.rng.randrange(len(out) + 1)
            end = at + self.rng.randint(0, 1)
            out[at:end] = self.rng.choice((b"", bytes([self.rng.choice(b'{}[]",:\\u0aed19-+.E tnf\n\x00\x1f\x80/')])))
        return bytes(out)


HARMLESS = (Maker.escapes_keys, Maker.escapes_texts, Maker.adds_slot, Maker.harmless_edges)
TREE = (
    Maker.escapes_keys, Maker.escapes_texts, Maker.adds_unknown, Maker.adds_slot, Maker.adds_slot, Maker.repeats_key,
    Maker.repeats_field, Maker.repeats_slot, Maker.repeats_arguments, Maker.recases_field,
    Maker.adds_miscased_arguments, Maker.retypes_field, Maker.drops_field, Maker.renames_method, Maker.odd_number,
    Maker.no_number, Maker.no_string, Maker.no_word, Maker.no_string_as_key, Maker.nests_deep, Maker.batches,
)  # fmt: skip
TEXT = (Maker.harmless_edges, Maker.odd_edges, Maker.trails, Maker.odd_space, Maker.cuts)
BYTES = (Maker.encodes, Maker.overlong, Maker.not_utf8, Maker.edits_bytes)


def make(number: int) -> Case:
    maker = Maker(number)
    rng = maker.rng
    pool = HARMLESS if rng.random() < 0.15 else TREE * 2 + TEXT + BYTES
    # No change of a tree comes after a batch is made of it: they look for one message. Nor is a key
    # escaped before those that look for it are done.
    late = (Maker.escapes_keys, Maker.no_string_as_key, Maker.batches)
    changes = sorted(
        rng.sample(pool, rng.choice((0, 1, 1, 1, 1, 1, 2, 2, 3))), key=lambda one: (one in late, one is late[-1])
    )
    for change in (one for one in changes if one in TREE):
        change(maker)
    text = maker.render(maker.tree)
    for change in (one for one in changes if one in TEXT):
        text = change(maker, text)
    # Half a surrogate pair, unescaped, is no UTF-8: so be it.
    body = text.encode("utf-8", "surrogatepass")
    for change in (one for one in changes if one in BYTES):
        body = change(maker, body)
    headers = {}
    if maker.modern:
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": maker.tool}
        if rng.random() < 0.3:
            headers["Mcp-Param-Token"] = ATTACKER
    kinds = [change.__name__ for change in changes] or ["plain"]
    return Case(number, body, headers, maker.modern, kinds, all(change in HARMLESS for change in changes))


def cases(count: int) -> Iterator[Case]:
    return (make(number) for number in range(count))
