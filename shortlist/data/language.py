"""Which languages a collection is in, by a sample of it: models are trained on some, not on all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from shortlist.records import Passage

SAMPLE = 200  # passages looked at
_EARLY = 50  # passages after which the first look is taken, before hours of encoding
_CHARACTERS = 400  # of a passage that are looked at
_FEWEST = 10  # passages whose language could be told, below which there is no warning
_LETTERS = 40  # below which a guess is worth nothing
_NOT_LANGUAGES = {"zxx", "und"}  # as the detector calls formulas and numbers
WORTH_A_WARNING = 0.2  # of the sample in other languages


def detect(text: str) -> str:
    """Return the ISO 639 code of a text's language, "" where it is too short to tell.

    By py3langid, 2024 (a maintained successor of Lui and Baldwin's langid.py, ACL 2012).
    """
    shown = text[:_CHARACTERS]
    if sum(map(str.isalpha, shown)) < _LETTERS:
        return ""
    import py3langid

    language: str = py3langid.classify(shown)[0]
    return "" if language in _NOT_LANGUAGES else language


class LanguageSample:
    """A uniform sample of the passages that are drawn through it, and what languages it is in."""

    def __init__(
        self,
        languages: frozenset[str],
        warn: Callable[[str], object] | None = None,
        *,
        size: int = SAMPLE,
        seed: int = 0,
    ) -> None:
        self.languages = languages  # that the model was trained on; empty: any
        self._warn = warn
        self._size = size
        self._random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self._texts: list[str] = []
        self._seen = 0
        self.warning = ""  # filled when it is worth one; `warn` is told as soon as it is

    def watch(self, passages: Iterable[Passage]) -> Iterator[Passage]:
        """Pass passages on; look at the sample after the first fifty, and at the end."""
        for passage in passages:
            self._take(passage.text)
            if self._seen == _EARLY:
                self._look()
            yield passage
        self._look()

    def _look(self) -> None:
        warned, self.warning = self.warning, self._judged()
        if self.warning and not warned and self._warn:
            self._warn(self.warning)

    def _take(self, text: str) -> None:
        self._seen += 1
        if len(self._texts) < self._size:
            self._texts.append(text[:_CHARACTERS])
        elif (place := self._random.randrange(self._seen)) < self._size:
            self._texts[place] = text[:_CHARACTERS]

    def counts(self) -> Counter[str]:
        """How many passages of the sample are in which language."""
        return Counter(language for text in self._texts if (language := detect(text)))

    def _judged(self) -> str:
        if not self.languages:
            return ""
        counts = self.counts()
        told = sum(counts.values())
        foreign = Counter({x: n for x, n in counts.items() if x not in self.languages})
        if told < _FEWEST or sum(foreign.values()) < WORTH_A_WARNING * told:
            return ""
        listed = ", ".join(f"{x} {n / told:.0%}" for x, n in foreign.most_common(3))
        known = ", ".join(sorted(self.languages))
        return (
            f"the text does not seem to be in a language that the model was trained on ({known}): "
            f"of {told} passages {listed}; answers will be poor, choose a multilingual model "
            "(--preset, --bi-encoder)"
        )
