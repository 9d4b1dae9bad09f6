"""How parsers that a server may use read a body, in one form that can be compared.

Objects are dicts and numbers are `Number`s, which keep their digits.
"""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from typing import NamedTuple

from harness import NODE

FIELDS = {
    "message": ("jsonrpc", "id", "method", "params", "result", "error"),
    "params": ("name", "arguments", "_meta", "uri", "taskId"),
}


class Number(NamedTuple):
    """A number as it is written."""

    literal: str


def read(body: bytes, last: bool):
    """As Python reads it, taking the last of two equal keys or the first."""

    def pick(pairs: list[tuple]) -> dict:
        return dict(pairs if last else reversed(pairs))

    return json.loads(body, object_pairs_hook=pick, parse_int=Number, parse_float=Number)


def same_name(key: str, name: str) -> bool:
    """Whether a parser that ignores case takes one for the other, whichever way it folds letters."""
    # Left alone by Unicode's folding, but not by a Turkish reader's.
    return key.replace("İ", "i").replace("ı", "i").casefold() == name.casefold()


def misspelt(message: dict) -> list[str]:
    """Keys a parser that ignores case would take for a field of the message."""
    found = []
    for kind, value in (("message", message), ("params", message.get("params", {}))):
        for field in FIELDS[kind]:
            found += [key for key in value if key != field and same_name(key, field)]
    return found


SCRIPT = """
const bits = Buffer.alloc(8);
const tagged = (value) => {
  if (typeof value === 'number') return ['n', (bits.writeDoubleBE(value), bits.toString('hex'))];
  if (Array.isArray(value)) return ['a', ...value.map(tagged)];
  if (value && typeof value === 'object') return ['o', ...Object.entries(value).map(([k, v]) => [k, tagged(v)])];
  return value;
};
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  let told;
  try {
    told = tagged(JSON.parse(Buffer.from(line, 'base64').toString('utf8')));
  } catch (error) {
    told = ['e', String(error)];
  }
  console.log(JSON.stringify(told));
});
"""


class Node:
    """One Node process that reads body after body."""

    def __enter__(self) -> Node:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._child = subprocess.Popen([str(NODE), "-e", SCRIPT], text=True, **pipes)
        return self

    def __exit__(self, *_) -> None:
        self._child.stdin.close()
        self._child.wait(10)

    def read(self, body: bytes, like):
        """As Node reads it. Its numbers are doubles: where one is that of the number at the same place in
        `like`, it is taken for that number."""
        self._child.stdin.write(base64.b64encode(body).decode() + "\n")
        self._child.stdin.flush()
        return _untagged(json.loads(self._child.stdout.readline()), like)


def _untagged(value, like):
    match value:
        case ["n", bits]:
            same = isinstance(like, Number) and struct.pack(">d", float(like.literal)).hex() == bits
            return like if same else ("number", bits)
        case ["a", *items]:
            pairs = like if isinstance(like, list) else []
            return [_untagged(item, pairs[at] if at < len(pairs) else None) for at, item in enumerate(items)]
        case ["o", *pairs]:
            known = like if isinstance(like, dict) else {}
            return {key: _untagged(item, known.get(key)) for key, item in pairs}
        case ["e", error]:
            return ("unreadable", error)
        case _:
            return value
