"""Weights of the evidence, and the probabilities that proposals need."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import pairwise, product
from math import isfinite
from typing import Any

import msgspec

from bulklink.finding.verdicts import ChangeKind, Tier

_MAX_LOG_ODDS = 30.0


class Weights(msgspec.Struct, frozen=True):
    """Weights of the evidence.

    Args:
        log_odds: what each evidence adds to the logarithm of the odds.
        sentences: what each evidence means, for users.
        thresholds: least probability of the deal for a kind of change and a tier.
    """

    log_odds: Mapping[str, float]
    sentences: Mapping[str, str]
    thresholds: Mapping[tuple[ChangeKind, Tier], float]

    def tier(self, kind: ChangeKind, probability: float) -> Tier | None:
        """Return the tier of a change whose deal has this probability; None if it is too low."""
        for tier in Tier:
            if probability >= self.thresholds[kind, tier]:
                return tier
        return None


class WeightsError(ValueError):
    """Raised when a text is not a file of weights; the message says where and why."""


def load_weights(text: str, default: Weights | None = None) -> Weights:
    """Return the weights of a TOML text.

    Args:
        text: tables `weights` and `thresholds`, as in the default file.
        default: weights that the text may leave out, and whose names it must keep to; None for a
            text with all weights.

    Raises:
        WeightsError: if it is not valid TOML, has a name that is unknown, or a value that is not
            valid.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"not valid TOML: {error}") from None
    _check_names(tables, ("weights", "thresholds"), "the file")
    log_odds = dict(default.log_odds) if default else {}
    sentences = dict(default.sentences) if default else {}
    for name, table in _table(tables, "weights", "the file").items():
        if default is not None and name not in default.log_odds:
            raise WeightsError(f"weights.{name}: no evidence has this name")
        log_odds[name], sentence = _weight(name, table)
        sentences[name] = sentence or sentences.get(name, "")
    thresholds = dict(default.thresholds) if default else {}
    thresholds |= _thresholds(_table(tables, "thresholds", "the file"))
    for kind, tier in product(ChangeKind, Tier):
        if (kind, tier) not in thresholds:
            raise WeightsError(f"thresholds.{kind}: {tier} is missing")
    for kind in ChangeKind:
        for tier, lower in pairwise(Tier):
            if thresholds[kind, tier] < thresholds[kind, lower]:
                raise WeightsError(f"thresholds.{kind}: {tier} is less than {lower}")
    return Weights(log_odds, sentences, thresholds)


def _weight(name: str, value: Any) -> tuple[float, str]:
    where = f"weights.{name}"
    if not isinstance(value, dict):
        return _number(value, where, -_MAX_LOG_ODDS, _MAX_LOG_ODDS), ""
    _check_names(value, ("log_odds", "meaning"), where)
    meaning = value.get("meaning", "")
    if not isinstance(meaning, str):
        raise WeightsError(f"{where}.meaning: not a text")
    if "log_odds" not in value:
        raise WeightsError(f"{where}: log_odds is missing")
    return _number(value["log_odds"], f"{where}.log_odds", -_MAX_LOG_ODDS, _MAX_LOG_ODDS), meaning


def _thresholds(table: Mapping[str, Any]) -> dict[tuple[ChangeKind, Tier], float]:
    _check_names(table, tuple(ChangeKind), "thresholds")
    thresholds: dict[tuple[ChangeKind, Tier], float] = {}
    for kind in table:
        tiers = _table(table, kind, "thresholds")
        _check_names(tiers, tuple(Tier), f"thresholds.{kind}")
        for tier, probability in tiers.items():
            where = f"thresholds.{kind}.{tier}"
            thresholds[ChangeKind(kind), Tier(tier)] = _number(probability, where, 0.0, 1.0)
    return thresholds


def _table(tables: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise WeightsError(f"{where}: {name} is not a table")
    return table


def _check_names(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            raise WeightsError(f"{where}: {name} is unknown; known are {', '.join(known)}")


def _number(value: Any, where: str, least: float, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not isfinite(value)):
        raise WeightsError(f"{where}: not a number")
    if not least <= value <= most:
        raise WeightsError(f"{where}: not from {least:g} to {most:g}")
    return float(value)
