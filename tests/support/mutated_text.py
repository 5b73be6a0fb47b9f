"""What becomes of a JSON, YAML, CSV or text file under a slip of the hand, a broken copy or a malicious one."""

import random
import re
from collections.abc import Callable, Iterator

INSERTED = (
    *("null", "true", "yes", "~", "[]", "{}", "-1", "0", "0x10", "1_000", "1e999", "NaN", "-Infinity"),
    *("1:30:00", "2026-11-22", "=cmd()", "${oc.env:HOME}", "!!python/object:os.system {}"),
    *('"', "'", "\\", "\\u0000", "\\ud800", "\0", "\t", "\r", "\n", "\n\n", "\ufeff", "\u2028", "é", "\U0001f600"),
    *(",", ";", ":", "- ", "#", "%", "|", "&a ", "*a", "<<: ", "---\n"),
    *("9" * 30, "[" * 30, "{" * 30, '{"a":' * 30, "x" * 200_000, "../" * 2_000),
)
# thirty such lines would fill any memory: an alias is refused, however few there are
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 4))
VALUE = re.compile(rb'"[^"\n]*"|(?<=[\s,:\[])[\w.+-]+')


def text_mutants(content: bytes, count: int, seed: str) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of a file, each with what was done; the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        mutant, done = content, []
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            change = chance.choice(CHANGES)
            mutant = change(mutant, chance)
            done.append(change.__name__)
        yield ", ".join(done), mutant


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(content)
    for _ in range(chance.randint(1, 8) if content else 0):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def cut_out(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + content[start + chance.randint(1, 20) :]


def insert(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + chance.choice(INSERTED).encode("utf-8", "surrogatepass") + content[start:]


def replace_a_value(content: bytes, chance: random.Random) -> bytes:
    """One value becomes another, of another type perhaps, or one of the file's own."""
    values = list(VALUE.finditer(content))
    if not values:
        return insert(content, chance)
    value, other = chance.choice(values), chance.choice(values).group()
    new = other if chance.random() < 0.4 else chance.choice(INSERTED).encode("utf-8", "surrogatepass")
    return content[: value.start()] + new + content[value.end() :]


def remove_a_line(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def repeat_a_line(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    return b"".join(lines)


def indent_a_line(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        row = chance.randrange(len(lines))
        lines[row] = b"    " + lines[row]
    return b"".join(lines)


def encode_otherwise(content: bytes, chance: random.Random) -> bytes:
    """A file that another program saved in its own way."""
    text = content.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-8-sig", "utf-32", "cp1252", "utf-7")), "replace")


def become_anything(content: bytes, chance: random.Random) -> bytes:
    """Raw bytes, nothing at all, or a list that doubles with every line."""
    return chance.choice((b"", chance.randbytes(chance.randrange(2_000)), ALIASES.encode(), b"\0" * 500, b"\n" * 500))


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bits,
    truncate,
    cut_out,
    insert,
    insert,
    replace_a_value,
    replace_a_value,
    replace_a_value,
    remove_a_line,
    repeat_a_line,
    indent_a_line,
    encode_otherwise,
    become_anything,
)
