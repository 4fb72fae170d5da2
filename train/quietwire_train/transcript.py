"""Transcripts in one form, so that spelled words and numbers can be compared.

A recognizer writes "nineteen sixty eight" as "1968", and the spelled "c i n d y" as "Cindy". Both are
reduced to the same tokens: numbers to their digits, spelled words to their letters.
"""

from __future__ import annotations

import re

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
ONES += " sixteen seventeen eighteen nineteen"
ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
ORDINALS += " thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {
    **{word: value for value, word in enumerate(ONES.split())},
    **{word: value for value, word in enumerate(ORDINALS.split())},
    **{word: 10 * value for value, word in enumerate(TENS.split(), 2)},
    "oh": 0,
}
# Digits with an ordinal suffix, digits, or letters.
TOKEN = re.compile(r"(\d+)(?:st|nd|rd|th)?|([^\W\d_]+(?:'[^\W\d_]+)*)")


def is_spelled(text: str) -> bool:
    """Whether a transcript has two single letters in a row."""
    return re.search(r"\b[a-z] [a-z]\b", text.lower()) is not None


def canonical(text: str, words: frozenset[str] = frozenset(), spelled: bool = False) -> list[str]:
    """Tokens of a transcript in lower case: words, and single digits instead of numbers.

    Tens and ones become one number ("twenty seven" is 2 7). The letter o is the digit 0, which readers
    of numbers also use for it. `words` are words that may be divided ("rub out" is "rubout" if that is one
    of them). With `spelled`, words that are not in `words` become letters.
    """
    found = [(digits, word) for digits, word in TOKEN.findall(text.lower())]
    tokens: list[str] = []
    at = 0
    while at < len(found):
        digits, word = found[at]
        following = found[at + 1][1] if at + 1 < len(found) else ""
        at += 1
        if digits:
            tokens += digits
        elif word in NUMBERS:
            value = NUMBERS[word]
            if value >= 20 and 1 <= NUMBERS.get(following, 0) <= 9:
                value += NUMBERS[following]
                at += 1
            tokens += str(value)
        elif word not in words and word + following in words:
            tokens.append(word + following)
            at += 1
        elif spelled and word not in words:
            tokens += word.replace("'", "")
        else:
            tokens.append(word)
    return ["0" if token == "o" else token for token in tokens]


def canonical_pair(reference: str, recognized: str, words: frozenset[str]) -> tuple[str, str]:
    """A reference and what was recognized in the same form; `words` are the words of all references."""
    longer = frozenset(word for word in words if len(word) > 1)
    spelled = is_spelled(reference)
    one, other = (canonical(text, longer, spelled) for text in (reference, recognized))
    return " ".join(one), " ".join(other)
