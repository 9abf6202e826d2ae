"""How long the lesson's training takes where it is started: reckoned with so many seconds an epoch."""

from dataclasses import replace

import pytest

from eurosat_core.training.choices import fitting_version
from eurosat_core.training.config import recipe_config

LESSON = recipe_config("baseline", "fast", epochs=5, tiles=6000, stratified=True)


@pytest.mark.parametrize(
    ("device", "epoch_seconds", "epochs"),
    [
        ("cpu", 1.0, 15),  # 15 s are aimed at where 10 are not reached
        ("cpu", 0.1, 20),
        ("cpu", 4.0, 5),
        ("cpu", 10.0, 3),  # no more than 40 s
        ("cuda:0", 0.1, 30),
        ("cuda:0", 0.001, 100),
        ("cuda:0", 1.0, 10),  # a curve has ten points at least
        ("mps", 0.1, 30),
        ("cuda:0", 10.0, 3),
    ],
)
def test_the_lesson_takes_some_seconds_on_every_device(device: str, epoch_seconds: float, epochs: int) -> None:
    config = replace(LESSON, device=device)
    found = fitting_version(config, lambda each: each.epochs * epoch_seconds * (each.tiles or 6000) / 6000, 27000)
    assert found is not None and found == replace(config, epochs=epochs)


def test_nothing_is_fitted_before_anything_was_measured() -> None:
    assert fitting_version(LESSON, lambda _config: None, 27000) is None
