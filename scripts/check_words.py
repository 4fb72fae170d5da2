"""Finds words that the naming rule of CONTRIBUTING.md forbids.

    python scripts/check_words.py [PATH ...]
    python scripts/check_words.py --self-test

Checks the tracked files, or the given ones, and their names. Identifiers are checked strictly: each part
of `snake_case` and `CamelCase`, also in strings and comments where they contain an underscore. Prose
(comments, strings, documents) is checked for British spellings and a few other words. Prints one line
for each hit, FILE:LINE: WORD: SUGGESTION, and exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Parts of identifiers, and what to write for them.
IDENTIFIER_PARTS = {
    "mind minds": "inference or channel_group",
    "hear hears heard hearing": "push, receive, read or input",
    "say says said": "pop, write, print or output",
    "tell tells told": "report, set or return",
    "know knows": "has, contains or is_known",
    "ask asks asked": "request",
    "wish wishes wished": "config or request",
    "obey obeys obeyed": "handle",
    "remember remembers remembered": "store or keep",
    "forget forgets forgot forgotten": "reset or clear",
    "asleep awake": "idle, bypassed or is_running",
    "talk talks talked": "speech or a plain verb (`talker` is a person)",
    "desk desks": "WorkerHandle",
    "seat seats": "row",
    "strange": "probation or unexpected",
    "foreign": "unexpected or third_party",
    "whole": "complete, full or int8 (`whole_signal` is the term for an export)",
}
# Identifiers that start so, in any case.
IDENTIFIER_PREFIXES = {"most_": "max_", "least_": "min_"}
# Parts of identifiers that are names of methods and terms, with the reason.
ALLOWED_IDENTIFIERS = {
    "whole_signal": "the term for an export that takes all hops at once",
    "whole_signals": "the same",
    "least_squares": "the term of mathematics",
    "AnalyserNode": "the name in the Web Audio API",
}

# Stems whose verbs end in -ize in American English.
IZE_STEMS = (
    "(?:de)?serial|(?:re)?initial|synthes|quant|normal|optim|recogn|synchron|organ|minim|maxim|summar|visual|"
    "emphas|general|special|standard|real|util|character|token|parallel|vector|random|custom|categor|final|"
    "local|memor|modern|penal|regular|stabil|author|equal|linear|binar|discret|factor|symbol|priorit|"
    "harmon|local|sanit|anonym|central|critic|neutral|polar"
)
OUR_STEMS = "col|behavi|neighb|fav|hon|flav|harb|lab|rum|hum|vap"
# British spellings, as parts of words; the replacement follows re.sub.
BRITISH = [
    (rf"\b({IZE_STEMS})is(e|ed|es|er|ers|ing|able|ation|ations)\b", r"\1iz\2"),
    (r"\banalys(e|ed|er|ers|ing)\b", r"analyz\1"),
    (r"\bparalys(e|ed|es|ing)\b", r"paralyz\1"),
    (rf"\b({OUR_STEMS})our(s|ed|ing|ful|able|ably|al|ite|ites|hood|less|ly|)\b", r"\1or\2"),
    (r"\blicenc(e|ed|es|ing)\b", r"licens\1"),
    (r"\b(de|of)fence(s|less|)\b", r"\1fense\2"),
    (r"\bcentr(e|es|ed)\b", r"center (centers, centered)"),
    (r"\bcentring\b", "centering"),
    (r"\b(milli|centi|kilo|)met(?:re)(s|)\b", r"\1meter\2"),
    (r"\b(fib|lit)re(s|)\b", r"\1er\2"),
    (r"\bgrey(s|ed|ish|)\b", r"gray\1"),
    (r"\b(mode|labe|leve|signa|trave|channe)ll(ed|ing|er|ers)\b", r"\1l\2"),
    (r"\bartefact(s|)\b", r"artifact\1"),
    (r"\bprogramme(s|)\b", r"program\1"),
    (r"\blearnt\b", "learned"),
    (r"\bwhilst\b", "while"),
]
BRITISH = [(re.compile(pattern, re.IGNORECASE), to) for pattern, to in BRITISH]
# Further words of prose: what to write, by pattern.
PROSE = [
    (re.compile(r"\b(asleep|awake)\b", re.IGNORECASE), "idle, bypassed or running"),
    (re.compile(r"\bobey(s|ed|)\b", re.IGNORECASE), "follow or handle"),
    (re.compile(r"\bso that nobody\b", re.IGNORECASE), "name who does what"),
]

# Hits that are right where they are: file pattern, word, reason.
ALLOWED = [
    ("scripts/check_words.py", "*", "the list itself"),
    ("UPGRADING.md", "*", "lists old names"),
    ("CHANGELOG.md", "*", "lists old names"),
    ("CONTRIBUTING.md", "*", "shows what not to write"),
    ("src/manifest.rs", "licence", "reads the manifest key of version 0.1"),
    ("src/manifest/*.rs", "*", "reads the manifest keys of version 0.1"),
    ("tests/manifest*", "*", "tests that the old keys are read"),
    ("docs/own-model.md", "*", "names the old keys that are still read"),
    ("train/EXPERIMENTS.md", "*", "history stays as it was written"),
    ("train/quietwire_train/checkpoint.py", "*", "reads the names of old checkpoints"),
    ("train/quietwire_train/export.py", "licence", "reads the manifest key of version 0.1"),
    ("train/quietwire_train/import_set.py", "licence", "the name of a file in public data sets"),
    ("train/quietwire_train/index.py", "licence", "reads the column of old indexes"),
    ("train/quietwire_train/store.py", "licence", "reads the column of old stores"),
    ("train/tests/test_manifest.py", "*", "tests that the old names are read"),
    ("train/tests/test_store.py", "licence", "tests that the old column is read"),
]

CODE = {".rs": "rust", ".py": "python", ".toml": "toml", ".js": "script", ".mjs": "script"}
PROSE_SUFFIXES = {".md", ".sh", ".html", ".yml", ".yaml", ".css"}
PROSE_FILES = {".ci/run"}
SKIPPED = ("*/Cargo.lock", "Cargo.lock", "*/package-lock.json", "fuzz/seeds/*", "LICENSE-*")

RUST_TOKENS = re.compile(
    r"""(?P<prose>//[^\n]*|/\*.*?\*/|b?r(?P<hash>\#*)".*?"(?P=hash)|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|[^\\'\n])')""",
    re.DOTALL,
)
SCRIPT_TOKENS = re.compile(
    r"""(?P<prose>//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)""", re.DOTALL
)
TOML_TOKENS = re.compile(
    r"""(?P<prose>\#[^\n]*|\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')""", re.DOTALL
)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
PARTS = {part: to for parts, to in IDENTIFIER_PARTS.items() for part in parts.split()}

Hit = tuple[int, str, str]


def split(text: str, kind: str) -> Iterator[tuple[int, str, bool]]:
    """Pieces of a file: line, text, and whether it is code, as against a comment or a string."""
    if kind == "prose":
        yield 1, text, False
        return
    if kind == "python":
        yield from split_python(text)
        return
    tokens = {"rust": RUST_TOKENS, "script": SCRIPT_TOKENS, "toml": TOML_TOKENS}[kind]
    end = 0
    for match in tokens.finditer(text):
        yield text.count("\n", 0, end) + 1, text[end : match.start()], True
        yield text.count("\n", 0, match.start()) + 1, match.group(), False
        end = match.end()
    yield text.count("\n", 0, end) + 1, text[end:], True


def split_python(text: str) -> Iterator[tuple[int, str, bool]]:
    prose = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in prose:
            yield token.start[0], token.string, False
        elif token.type == tokenize.NAME:
            yield token.start[0], token.string, True


def check_identifier(name: str) -> Iterator[tuple[str, str]]:
    """Forbidden words of an identifier, with a suggestion for each."""
    bare = name.strip("_")
    for allowed in ALLOWED_IDENTIFIERS:
        bare = re.sub(rf"(?:^|(?<=_)){allowed}(?=_|$)", "", bare, flags=re.IGNORECASE)
    for prefix, to in IDENTIFIER_PREFIXES.items():
        if bare.lower().startswith(prefix):
            yield bare[: len(prefix)], to.upper() if bare[0].isupper() else to
    for part in PART.findall(bare):
        if to := PARTS.get(part.lower()):
            yield part, to
        yield from check_spelling(part)


def check_spelling(text: str) -> Iterator[tuple[str, str]]:
    for pattern, to in BRITISH:
        for match in pattern.finditer(text):
            yield match.group(), match.expand(to).lower()


def check_text(text: str, kind: str) -> list[Hit]:
    """Hits of a file's text: line, word, suggestion."""
    hits: set[Hit] = set()
    for first_line, piece, is_code in split(text, kind):
        for offset, line in enumerate(piece.split("\n")):
            found: list[tuple[str, str]] = []
            names = IDENTIFIER.findall(line)
            for name in names if is_code else (name for name in names if "_" in name.strip("_")):
                found += check_identifier(name)
            if not is_code:
                found += check_spelling(line)
                found += [(match.group(), to) for pattern, to in PROSE for match in pattern.finditer(line)]
            hits |= {(first_line + offset, word, to) for word, to in found}
    return sorted(hits)


def kind_of(path: str) -> str | None:
    """How a file is read; None when it is not checked."""
    if any(fnmatch.fnmatch(path, pattern) for pattern in SKIPPED):
        return None
    if path in PROSE_FILES or Path(path).suffix in PROSE_SUFFIXES:
        return "prose"
    return CODE.get(Path(path).suffix)


def is_allowed(path: str, word: str) -> bool:
    return any(
        fnmatch.fnmatch(path, pattern) and allowed in ("*", word.lower()) for pattern, allowed, _ in ALLOWED
    )


def check_file(root: Path, path: str) -> Iterator[str]:
    kind = kind_of(path)
    if kind is None:
        return
    stem = Path(path).name.split(".")[0].replace("-", "_")
    hits: list[Hit] = [(1, f"file name {word}", to) for word, to in check_identifier(stem)]
    hits += check_text((root / path).read_text(encoding="utf-8"), kind)
    for line, word, to in hits:
        if not is_allowed(path, word):
            yield f"{path}:{line}: {word}: write {to}"


def self_test() -> None:
    """Cases that must be found, and cases that must not."""

    def words(text: str, kind: str) -> list[str]:
        return [word for _, word, _ in check_text(text, kind)]

    found = {
        ("fn hear(&mut self) {}", "rust"): ["hear"],
        ("struct BatchMind { last_said: u8 }", "rust"): ["Mind", "said"],
        ("const MOST_CHANNELS: usize = 2;", "rust"): ["MOST_"],
        ("let least_db = whole;", "rust"): ["least_", "whole"],
        ("/// Normalises colour.\nfn analyse() {}", "rust"): ["Normalises", "colour", "analyse"],
        ('let key = "hears_speech and behaviour";', "rust"): ["behaviour", "hears"],
        ('let raw = r#"a "grey" centre"#; fn ask() {}', "rust"): ["ask", "centre", "grey"],
        ("def remember(self):\n    return f'{self.x} optimised'", "python"): ["remember", "optimised"],
        ("# it stays awake\nforget = 1\n", "python"): ["awake", "forget"],
        ('licence = "MIT"\n', "toml"): ["licence"],
        ("The licence says so that nobody is asleep.", "prose"): ["asleep", "licence", "so that nobody"],
        ("A field `told_once` of prose.", "prose"): ["told"],
    }
    for (text, kind), expected in found.items():
        assert words(text, kind) == expected, f"{text!r}: expected {expected}, found {words(text, kind)}"
    clean = [
        ("fn whole_signal_difference(least_squares: f32, talker: u8, unknown: u8) {}", "rust"),
        ("/// What you hear, say and know is prose. Noise, otherwise, precise, analysis.\nfn f() {}", "rust"),
        ("let c = '\"'; let d = '\\''; fn license(center: f32) {}", "rust"),
        ("license = 'MIT'  # normalized", "toml"),
        ("promise = rehearse(almost_max)  # thereafter\n", "python"),
        ("The programmed behavior, centered and analyzed; a modeled license.", "prose"),
    ]
    for text, kind in clean:
        assert not words(text, kind), f"{text!r}: expected nothing, found {words(text, kind)}"
    assert check_text("a\nb\n// grey\n", "rust") == [(3, "grey", "gray")], "the line of the hit"
    assert is_allowed("UPGRADING.md", "licence") and not is_allowed("README.md", "licence")
    assert list(check_identifier("mind")) and kind_of("Cargo.lock") is None and kind_of(".ci/run") == "prose"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths", nargs="*", help="files to check, relative to the repository [default: all tracked]"
    )
    parser.add_argument("--self-test", action="store_true", help="check this script instead")
    args = parser.parse_args()
    if args.self_test:
        self_test()
        print("check_words: self-test passed")
        return 0
    paths = args.paths
    if not paths:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        paths = [path for path in listing.stdout.split("\0") if path and (ROOT / path).is_file()]
    hits = [hit for path in paths for hit in check_file(ROOT, path)]
    for hit in hits:
        print(hit)
    if hits:
        print(f"{len(hits)} forbidden words; CONTRIBUTING.md has the naming rule", file=sys.stderr)
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
