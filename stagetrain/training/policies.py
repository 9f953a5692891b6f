"""What follows from a stage's evaluations: the best one, a lower learning rate, an early end. Pure functions of their values.

There is no state beside the values themselves, so a resumed stage decides as an uninterrupted one, and the next stage, which
has values of its own, begins anew.

    values = [0.31, 0.35, 0.34, None, 0.33]         # of one metric, oldest first; None where it could not be measured
    best_index(values, 'max')                       # 1
    should_stop(values, schema.EarlyStopping(patience=3), 'max')      # True: three evaluations without a better one
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stagetrain.config import metric_names, schema
from stagetrain.errors import ConfigError, known_names, suggestion

Values = Sequence[float | None]


def metric_of(metrics: Mapping[str, float | None], name: str) -> float | None:
    """Returns the metric that decides, or None when it could not be measured.

    Raises:
      ConfigError: the stage has no such metric.
    """
    if metric_names.canonical(name) not in metrics:
        raise ConfigError(
            f"train.best_metric: '{name}' is not measured in this stage. Known here: {known_names(metrics)}."
            f'{suggestion(name, metrics)}'
        )
    return metrics[metric_names.canonical(name)]


def best_index(values: Values, mode: str) -> int | None:
    """Returns the place of the best value, the first of equal ones; None when nothing was measured."""
    return next((index for index, is_better in reversed(list(enumerate(_improvements(values, mode, 0.0)))) if is_better), None)


def should_stop(values: Values, settings: schema.EarlyStopping, mode: str) -> bool:
    """Returns whether the last `patience` evaluations brought nothing better by more than `min_delta`."""
    return _waited(list(_improvements(values, mode, settings.min_delta))) >= settings.patience


def rate_factor(values: Values, settings: schema.ReduceOnPlateau, mode: str) -> float:
    """Returns what the learning rate is multiplied by after these evaluations.

    Each time that `patience` evaluations in a row bring nothing better, it is multiplied by `factor`, and counting starts again
    behind `cooldown` evaluations; it never falls below `min_factor`.
    """
    result, waited, resting = 1.0, 0, 0
    for is_better in _improvements(values, mode, settings.min_delta):
        if is_better or resting:
            waited, resting = 0, max(resting - 1, 0)
            continue
        waited += 1
        if waited >= settings.patience:
            result = max(result * settings.factor, settings.min_factor)
            waited, resting = 0, settings.cooldown
    return result


def _improvements(values: Values, mode: str, min_delta: float) -> Iterator[bool]:
    """Yields, for each value, whether it beats the best one before it by more than `min_delta`."""
    best: float | None = None
    sign = 1.0 if mode == 'max' else -1.0
    for value in values:
        is_better = value is not None and (best is None or sign * (value - best) > min_delta)
        best = value if is_better else best
        yield is_better


def _waited(improvements: Sequence[bool]) -> int:
    """Returns how many evaluations lie behind the last better one; 0 before anything was measured."""
    last = next((index for index in reversed(range(len(improvements))) if improvements[index]), None)
    return 0 if last is None else len(improvements) - 1 - last
