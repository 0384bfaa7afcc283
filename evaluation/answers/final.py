"""Reads the closing answer of a free-form response as text: boxed, after a closing phrase, or a short last line."""

import re

from evaluation.answers.text import marked_answers, own_answer, plain, sentences

_TAIL = 6_000
_SHORT = 60
_PHRASE = re.compile(
    r"(?:answer|solution|result|value|总共|答案)(?:[^.\n。]{0,60}?)"
    r"(?:\s(?:is|are|equals|would be|should be|will be)|[:：=]|是|为)"
    r"\s{0,3}(?P<answer>[^\n]{1,120})",
    re.I,
)
_RELATION = re.compile(r"(?:=|≈|\\approx)\s?(?P<answer>[^=≈\n]{1,80})$")
_COPULA = re.compile(r"\b(?:is|are|equals|was|were|be)\s(?P<answer>[^\n]{1,80})$", re.I)
_END = re.compile(r"(?<![\d])\.(?:\s|$)|[.。]\s*$|\.\s")


def final_answer(text: str) -> tuple[str, str] | None:
    """(answer text, rule) of a response; None where no closing answer can be told from the prose."""
    if marked := marked_answers(text):
        return marked[0]
    answer = own_answer(plain(text)[-_TAIL:])
    if not answer:
        return None
    if found := list(_PHRASE.finditer(answer)):
        return _clause(found[-1].group("answer")), "phrase"
    if len(answer) <= _SHORT and "\n" not in answer and not _prose(answer):
        return answer.rstrip(". "), "whole"
    return _from_sentence(sentences(answer)[-1])


def _from_sentence(sentence: str) -> tuple[str, str] | None:
    sentence = sentence.rstrip(". ")
    for pattern, rule in ((_RELATION, "relation"), (_COPULA, "copula")):
        if found := pattern.search(sentence[-400:]):
            clause = found.group("answer")
            # The last "is" of the sentence opens the shortest clause.
            while rule == "copula" and (inner := _COPULA.search(clause)):
                clause = inner.group("answer")
            return _clause(clause), rule
    if len(sentence) <= _SHORT and not _prose(sentence):
        return sentence, "last_line"
    return None


def _clause(text: str) -> str:
    return _END.split(text.strip(), maxsplit=1)[0].strip(" :*")


def _prose(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 4
