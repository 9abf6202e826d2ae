import re

from eurosat_core.data.classes import CLASS_COLOURS, CLASS_NAMES, CLASSES, EUROSAT_TILES, colours_for


def test_classes_are_the_published_ones() -> None:
    assert {each.name: each.tiles for each in CLASSES} == {
        "AnnualCrop": 3000,
        "Forest": 3000,
        "HerbaceousVegetation": 3000,
        "Highway": 2500,
        "Industrial": 2500,
        "Pasture": 2000,
        "PermanentCrop": 2500,
        "Residential": 3000,
        "River": 2500,
        "SeaLake": 3000,
    }
    assert EUROSAT_TILES == 27_000
    assert list(CLASS_NAMES) == sorted(CLASS_NAMES)


def test_ten_different_colours() -> None:
    assert len(set(CLASS_COLOURS)) == len(CLASSES)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in CLASS_COLOURS)


def test_a_class_keeps_its_colour_in_any_set() -> None:
    colours = colours_for(("Beach", "Forest", "SeaLake"))
    own = dict(zip(CLASS_NAMES, CLASS_COLOURS, strict=True))
    assert (colours["Forest"], colours["SeaLake"]) == (own["Forest"], own["SeaLake"])
    assert colours["Beach"] in CLASS_COLOURS
    assert len(colours_for(tuple(f"class {number}" for number in range(25)))) == 25, "more than there are colours"
