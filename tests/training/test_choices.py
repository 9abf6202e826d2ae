"""Settings in words, and smaller versions of a long run."""

from dataclasses import replace

from eurosat_core.training import choices
from eurosat_core.training.config import TrainConfig, workshop_config


def test_changed_settings_leave_out_what_has_no_effect() -> None:
    base = workshop_config()
    assert choices.changed(base, base) == {}
    assert choices.changed(replace(base, workers=7, batch_size=32), base) == {
        "batch_size": ("32", str(base.batch_size))
    }
    from_files = replace(base, source="loader")
    assert set(choices.changed(replace(from_files, workers=7), from_files)) == {"workers"}


def test_settings_are_worded() -> None:
    table = choices.settings_table(TrainConfig())
    assert table["Tiles"] == "all"
    assert table["Optimizer"] == "SGD"
    assert table["Tiles come from"] == "picture files (DataLoader)"
    assert table["Share for training"] == "75 %"
    assert table["Device"] == "CPU"
    assert table["Channels-last layout"] == "off"
    assert "Loader workers" not in choices.settings_table(workshop_config())


def _seconds(config: TrainConfig) -> float:
    return config.epochs * min(config.tiles or 24_300, 24_300) / 200


def test_a_long_training_is_offered_smaller() -> None:
    assert choices.smaller_version(workshop_config(), _seconds, 24_300) is None
    assert choices.smaller_version(TrainConfig(), lambda _: None, 24_300) is None
    smaller = choices.smaller_version(TrainConfig(epochs=3), _seconds, 24_300)
    assert smaller is not None
    assert (smaller[0].tiles, smaller[0].epochs, smaller[1]) == (6000, 3, 90.0)
    patient = choices.smaller_version(TrainConfig(epochs=3), _seconds, 24_300, limit=200)
    assert patient is not None
    assert (patient[0].tiles, patient[0].epochs) == (12_000, 3)


def test_the_smallest_version_is_offered_when_none_is_short_enough() -> None:
    slow = choices.smaller_version(TrainConfig(), lambda config: 1000 * _seconds(config), 24_300)
    assert slow is not None
    assert (slow[0].tiles, slow[0].epochs) == (1500, 1)
    assert choices.smaller_version(TrainConfig(epochs=1, tiles=1000), lambda _: 999.0, 24_300) is None
